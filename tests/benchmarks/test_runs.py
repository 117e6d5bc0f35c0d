"""The named runs: what they stand for, and one of them from the command line to its scores."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import spoken_questions, unseen_speakers
from sensorium.estimate import Estimate, estimate
from sensorium.evaluation.kept import read_results
from sensorium.evaluation.tasks.captions import Photo, flickr8k
from sensorium.evaluation.tasks.registry import find_tasks
from sensorium.media.audio import Sound
from sensorium.model import checkpoint
from sensorium.model.generate import Assistant
from sensorium.model.presets import tiny
from sensorium.parts import Reading
from tests.evaluation.tasks import published


def test_every_run_names_tasks_and_those_without_the_split_are_left_out() -> None:
    assert all(find_tasks(run.tasks.split(",")) for run in benchmarks.RUNS.values())
    assert list(benchmarks.with_split("test")) == list(benchmarks.RUNS)
    assert set(benchmarks.RUNS) - set(benchmarks.with_split("dev")) == {"digits", "digits_features"}


def test_a_run_is_that_of_evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint.save(tiny(), tmp_path / "model")
    rows = [
        {"image": f"{place}.jpg", "split": split, "question": "what is on the floor ?", "answer": "cup"}
        for split in ("train", "test")
        for place in range(3)
    ]
    published.lines(tmp_path / "daquar" / "questions.jsonl", rows)
    for place in range(3):
        published.photo(tmp_path / "daquar" / f"{place}.jpg", 40 * place)
    words = ["--data", tmp_path, "--model", tmp_path / "model", "--only", "daquar", "--limit", "2", "--bf16", "--out", tmp_path]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *map(str, words)])
    benchmarks.main()
    (result,) = read_results(tmp_path / "daquar-test-bf16").tasks
    assert result.about["split"] == "test" and result.about["n"] == 2
    assert set(result.outcomes) == {"as it is", "blind", "shuffled", "blanked"}
    told = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("  daquar ")]
    assert len(told) == len(result.outcomes) + len(result.floors) and all(line[-1] == "n=2" for line in told)


def test_spoken_questions_are_kept_and_told_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    published.flickr8k(tmp_path)
    checkpoint.save(tiny(), tmp_path / "model")
    asked: list[Photo] = []

    def measure(model: Assistant, photos: Sequence[Photo]) -> dict[str, Estimate]:
        assert not model.model.reader.policy.words_in_images
        asked.extend(photos)
        return {"same answer": estimate([1.0, 0.0])}

    monkeypatch.setattr(spoken_questions, "measure", measure)
    words = ["--data", tmp_path, "--model", tmp_path / "model", "--only", "spoken_questions", "--out", tmp_path]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *map(str, words)])
    benchmarks.main()
    assert asked == list(flickr8k(tmp_path, "test"))
    assert json.loads((tmp_path / "spoken_questions-test" / "scores.json").read_text())["same answer"]["value"] == 0.5
    assert "  spoken_questions same answer" in capsys.readouterr().out


def test_a_name_that_is_no_run_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--data", "data", "--only", "captions,colours"])
    with pytest.raises(SystemExit):
        benchmarks.main()
    assert "--only colours: choose from retrieval, captions, " in capsys.readouterr().err


def test_a_speaker_is_heard_with_words_and_without(tmp_path: Path) -> None:
    published.fsdd(tmp_path)
    held = list(find_tasks(["fsdd"])[0].items(tmp_path, "test"))
    model, listened = Assistant(tiny().eval(), "tiny"), list[Sound]()

    def listen(sound: Sound) -> tuple[Reading, ...]:
        listened.append(sound)
        return ()

    model.model.reader = replace(model.model.reader, listen=listen)
    reader = model.model.reader
    found = unseen_speakers.measure(model, held)
    assert {name: value.n for name, value in found.items()} == dict.fromkeys(("features alone", "with the words heard"), 1)
    assert len(listened) == 1 and model.model.reader is reader
