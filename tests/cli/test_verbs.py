"""The other verbs: transcripts, words with boxes, vectors, models."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw

from sensorium.batch import Features
from sensorium.cli.scene import lay_out
from sensorium.encoders.audio import AudioEncoder
from sensorium.media.audio import encode_wav
from tests.cli.conftest import Run


def test_vectors_are_unit_and_in_input_order(run: Run, photo: Path) -> None:
    result = run("embed", photo, "--text", "a red wall", "--text", "a dog")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [next(iter(row)) for row in found] == ["media", "text", "text"]
    assert all(math.hypot(*row["vector"]) == pytest.approx(1, abs=1e-4) for row in found)


@pytest.mark.slow
def test_words_in_a_picture_come_with_boxes(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "sign.png"
    picture = Image.new("RGB", (400, 120), "white")
    ImageDraw.Draw(picture).text((30, 40), "HELLO 42", fill="black", font_size=40)
    picture.save(path)
    (row,) = (json.loads(line) for line in run("read", path, "--json", model=False).stdout.splitlines())
    assert row["text"] == "HELLO 42"
    top, left, bottom, right = row["readings"][0]["box"]
    assert 0.2 < top < bottom < 0.8
    assert 0 < left < right < 0.7


def test_words_of_a_page_are_its_text_layer(run: Run, tmp_path: Path) -> None:
    page = lay_out(tmp_path)["page"]
    (row,) = (json.loads(line) for line in run("read", page, "--json", model=False).stdout.splitlines())
    assert "On Saturday it is open from 10 am to 4 pm." in row["text"]
    assert {reading["page"] for reading in row["readings"]} == {1}


def test_reading_a_recording_is_refused_with_the_right_verb(run: Run, hush: Path) -> None:
    result = run("read", hush, model=False)
    assert result.exit_code == 2
    assert "transcribe" in result.output


@pytest.mark.parametrize("form", ["text", "srt", "vtt", "json"])
def test_every_form_of_a_transcript(run: Run, hush: Path, form: str) -> None:
    result = run("transcribe", hush, "--format", form)
    assert result.exit_code == 0
    if form == "vtt":
        assert result.stdout.startswith("WEBVTT")
    if form == "json":
        (row,) = (json.loads(line) for line in result.stdout.splitlines())
        assert row["usage"]["media"][0]["seconds"] == pytest.approx(0.5)
        assert isinstance(row["segments"], list)


def test_careful_hears_a_recording_again(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "noise.wav"
    path.write_bytes(encode_wav(0.1 * torch.randn(8_000, generator=torch.Generator().manual_seed(0)), 16_000))
    heard: list[int] = []
    encode = AudioEncoder.encode

    def count(encoder: AudioEncoder, mels: list[torch.Tensor]) -> Features:
        heard.append(len(mels))
        return encode(encoder, mels)

    monkeypatch.setattr(AudioEncoder, "encode", count)
    assert run("transcribe", path).exit_code == 0
    assert heard == [1]
    assert run("transcribe", path, "--careful").exit_code == 0
    assert heard == [1, 1, 1], "with silence in front; without timestamps the features are the same"


def test_what_a_model_holds(run: Run, toy: Path) -> None:
    said = json.loads(run("models", "info", toy, model=False).stdout)
    assert said["parameters"]["total"] > 0
    assert set(said["encoders"]) == {"image", "audio", "video"}
