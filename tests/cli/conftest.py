"""A toy checkpoint on disk, and media to ask it about."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from sensorium.cli.main import app
from sensorium.errors import SensoriumError
from sensorium.model import checkpoint
from sensorium.model.presets import tiny

Run = Callable[..., Result]


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy") / "model"
    checkpoint.save(tiny(), folder)
    return folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.new("RGB", (60, 40), (200, 30, 30)).save(path)
    return path


@pytest.fixture
def hush(tmp_path: Path) -> Path:
    """Half a second of silence."""
    path = tmp_path / "hush.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(b"\0" * 16_000)
    return path


@pytest.fixture
def run(toy: Path) -> Run:
    """Runs a command with the toy model, as the console script would: errors become exit codes."""

    def call(*words: str | Path, model: bool = True, stdin: bytes | None = None) -> Result:
        arguments: Sequence[str] = [str(word) for word in words]
        if model:
            arguments = [*arguments, "--model", str(toy)]
        result = CliRunner().invoke(app, arguments, input=io.BytesIO(stdin).read() if stdin is not None else None)
        if result.exception is not None and not isinstance(result.exception, SystemExit | SensoriumError):
            raise result.exception
        return result

    return call
