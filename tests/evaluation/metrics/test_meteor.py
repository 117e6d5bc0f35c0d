"""METEOR's formula against numbers of its own program, the program itself, and SPICE's errand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sensorium.errors import RequestError
from sensorium.estimate import NotMeasured
from sensorium.evaluation.metrics import meteor as module
from sensorium.evaluation.metrics.meteor import meteor, meteor_rows, spice

SAID = ["a black dog runs on the grass", "", "a man", "a person riding bicycle"]
RIGHT = [["a dog runs on grass", "the dog is running"], ["a man"], [""], ["a man rides a bike"]]
ROWS = np.array(
    [
        [7, 5, 3, 2, 3, 3, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 5, 5],
        [0, 2, 0, 1, *[0] * 19],
        [2, 0, 1, *[0] * 20],
        [4, 5, 1, 2, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 3, 3],
    ],
    dtype=float,
)
EACH, ALL = [0.434568019004046, 0.0, 0.0, 0.21976343682412564], 0.28172577419842265
"""What METEOR 1.5 itself scores."""


def test_the_formula_gives_what_the_program_gives() -> None:
    assert [meteor(row[None]) for row in ROWS] == pytest.approx(EACH, abs=1e-12)
    assert meteor(ROWS) == pytest.approx(ALL, abs=1e-12)


def test_an_answer_equal_to_its_reference_has_no_chunks() -> None:
    whole = np.array([[5, 5, 2, 2, 3, 3, 2, 2, *[0] * 12, 1, 5, 5], [1, 1, 0, 0, 1, 1, *[0] * 14, 1, 1, 1]], dtype=float)
    turned = np.array([[2, 2, 0, 0, 2, 2, *[0] * 14, 2, 2, 2]], dtype=float)
    assert meteor(whole) == 1.0
    assert meteor(turned) == pytest.approx(0.4, abs=1e-12)
    assert meteor(np.concatenate([whole, turned])) == pytest.approx(0.5452850300468806, abs=1e-12)


@pytest.mark.slow
def test_the_program_aligns_these() -> None:
    found = meteor_rows(SAID, RIGHT)
    if isinstance(found, NotMeasured):
        assert "Java" in found.reason
        return
    assert found.tolist() == ROWS.tolist()


def test_without_java_neither_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "missing_program", lambda _: NotMeasured("no Java"))
    assert meteor_rows(SAID, RIGHT) == NotMeasured("no Java") == spice(SAID, RIGHT)


def program(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts another `java` first on the path."""
    java = folder / "java"
    java.write_text(script)
    java.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/local/bin:/bin:/usr/bin")


def test_a_program_that_breaks_off_is_no_score(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(tmp_path, "#!/bin/sh\nread line\necho 1.0 2.0\n", monkeypatch)
    assert meteor_rows(SAID, RIGHT) == NotMeasured("METEOR gave 2 numbers, not 23, for answer 0")


def test_spice_asks_its_program_and_reads_what_it_wrote(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "stanford-corenlp-3.6.0-models.jar").touch()
    monkeypatch.setattr(module, "missing_program", lambda _: tmp_path / "spice-1.0.jar")
    told = [{"image_id": 1, "scores": {"All": {"f": 0.25}}}, {"image_id": 0, "scores": {"All": {"f": 0.5}}}]
    (tmp_path / "told").write_text(json.dumps(told))
    script = f'#!/bin/sh\ncp "$5" {tmp_path}/asked\nwhile [ "$1" != -out ]; do shift; done\ncp {tmp_path}/told "$2"\n'
    program(tmp_path, script, monkeypatch)
    assert spice(["a ||| dog", "two"], [["the dog"], ["2", "two\nof"]]) == [0.5, 0.25]
    assert json.loads((tmp_path / "asked").read_text()) == [
        {"image_id": 0, "test": "a dog", "refs": ["the dog"]},
        {"image_id": 1, "test": "two", "refs": ["2", "two of"]},
    ]
    program(tmp_path, "#!/bin/sh\nexit 1\n", monkeypatch)
    assert spice(["a"], [["a"]]) == NotMeasured("SPICE's program ended with 1")


def test_spice_without_its_parser_is_not_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "missing_program", lambda _: tmp_path / "spice-1.0.jar")
    found = spice(["a"], [["a"]])
    assert isinstance(found, NotMeasured)
    assert "lacks Stanford's parser models" in found.reason


@pytest.mark.parametrize("score", [meteor_rows, spice])
def test_references_are_needed(score: object) -> None:
    assert callable(score)
    with pytest.raises(RequestError, match="answer 0: has no reference"):
        score(["a"], [[]])
    with pytest.raises(RequestError, match="are 1, and their lists of references 0"):
        score(["a"], [])
