"""`data check` on corpora with known faults: each is named with its file, row and field, and nothing else is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from sensorium.data.checking.check import Checks, Report, check
from sensorium.data.checking.fit import fits
from sensorium.data.checking.policy import Policy, load_identifier
from sensorium.data.checking.repair import write_repaired
from sensorium.data.fault import Fault, RowError
from sensorium.data.reader import Row, open_source
from sensorium.data.synthetic import FAULTS, World, write_corpus
from sensorium.data.synthetic.corpus import Dialect
from sensorium.data.synthetic.planted import FORMS
from sensorium.errors import RequestError
from sensorium.model.presets import tiny
from sensorium.parts import Message, Sample, Text
from tests.data import oracle

IDENTIFY = load_identifier()
SEED = 3


def faults_of(path: Path, report: Report | None = None, **checks: object) -> list[Fault]:
    judged = {"policy": Policy(identify=IDENTIFY), "embed": partial(oracle.embed, World(SEED))} | checks
    return list(check(open_source(path), Checks(**judged), report=report))  # type: ignore[arg-type]


def places(faults: list[Fault]) -> set[tuple[str, int, str, str]]:
    return {(fault.file, fault.row, fault.field, fault.kind) for fault in faults}


@pytest.mark.parametrize("dialect", list(FORMS))
def test_every_planted_fault_is_named_and_nothing_else(dialect: Dialect, tmp_path: Path) -> None:
    assert len(FAULTS) >= 25 and IDENTIFY is not None
    planted = write_corpus(tmp_path, 110, SEED, dialect, FAULTS)
    assert {fault.kind for fault in planted} == set(FAULTS)
    report = Report()
    found = faults_of(tmp_path / FORMS[dialect].file, report)
    assert places(found) == places(planted)
    assert report.finished and report.rows == 110 and sum(report.kinds.values()) == len(found)
    assert all(fault.reason and fault.fix and not fault.reason.endswith(".") for fault in found)


@pytest.mark.parametrize("dialect", list(FORMS))
def test_the_clean_copy_raises_no_alarm(dialect: Dialect, tmp_path: Path) -> None:
    assert write_corpus(tmp_path, 150, SEED, dialect) == []
    report = Report()
    assert faults_of(tmp_path / FORMS[dialect].file, report) == []
    assert report.media == {"image": 135, "audio": 15}
    assert any("pairs judged" in note for note in report.notes)


def test_what_the_test_split_holds_is_a_leak(tmp_path: Path) -> None:
    write_corpus(tmp_path / "train", 20, SEED)
    write_corpus(tmp_path / "test", 20, SEED, start=500)
    train, test = (tmp_path / name / "rows.jsonl" for name in ("train", "test"))
    assert list(check(open_source(train), against=open_source(test))) == []
    row = json.loads(test.read_text("utf-8").splitlines()[0])
    row["images"] = [f"../test/{row['images'][0]}"]
    other = json.loads(test.read_text("utf-8").splitlines()[1])
    other["images"] = [f"../test/{other['images'][0]}"]
    other["messages"][0]["content"] = "<image>\nWhat is the meaning of this picture, please?"
    with train.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n" + json.dumps(other) + "\n")
    found = list(check(open_source(train), against=open_source(test)))
    assert [(fault.row, fault.field, fault.kind) for fault in found] == [(21, "messages", "leak"), (22, "images[0]", "leak")]
    assert found[0].reason == f"is the same as row 1 of {test}, which this data must not share"


def test_kinds_can_be_ignored_and_rows_limited(tmp_path: Path) -> None:
    write_corpus(tmp_path, 20, SEED, faults=("echo", "empty-answer"))
    path = tmp_path / "rows.jsonl"
    assert {fault.kind for fault in faults_of(path)} == {"echo", "empty-answer"}
    assert {fault.kind for fault in faults_of(path, ignore=("echo",))} == {"empty-answer"}
    report = Report()
    list(check(open_source(path), report=report, limit=5))
    assert report.rows == 5 and not report.finished


def test_a_repaired_copy_keeps_what_is_sound_and_is_clean(tmp_path: Path) -> None:
    kinds = ("mojibake", "control-character", "wrong-extension", "echo", "duplicate-row", "bad-json", "missing-media")
    write_corpus(tmp_path / "bad", 40, SEED, faults=kinds)
    path, target = tmp_path / "bad/rows.jsonl", tmp_path / "good.jsonl"
    broken: dict[tuple[str, int], set[str]] = {}
    for fault in faults_of(path):
        broken.setdefault((fault.file, fault.row), set()).add(fault.kind)
    assert write_repaired(open_source(path), broken, target) == (34, 2, 4)
    assert {fault.kind for fault in faults_of(target)} == {"wrong-extension"}
    assert "hangs in a café." in target.read_text("utf-8")
    first = json.loads(target.read_text("utf-8").splitlines()[0])
    assert first["messages"][0]["content"][0]["path"] == "bad/media/000000.png"


def test_a_model_says_which_rows_it_cannot_take_and_which_teach_nothing(tmp_path: Path) -> None:
    write_corpus(tmp_path, 3, SEED)
    rows = [item.sample for item in open_source(tmp_path / "rows.jsonl").rows() if isinstance(item, Row)]
    model = tiny()
    assert list(fits(model)(rows[0])) == []
    asked, answer = rows[0].messages
    long = Sample("long", (asked, Message("assistant", (Text("red star, " * 2000),), learn=True)))
    (error,) = fits(model)(long)
    assert error.kind == "refused-by-model" and "the model holds" in error.reason
    mute = Sample("mute", (asked, Message("assistant", answer.parts)))
    (error,) = fits(model)(mute)
    assert error.kind == "nothing-learned" and "of which none is learned" in error.reason


def test_a_check_of_the_caller_is_made_where_media_are_sound(tmp_path: Path) -> None:
    write_corpus(tmp_path, 4, SEED, faults=("missing-media",))
    seen = []

    def extra(sample: Sample) -> Iterator[RowError]:
        seen.append(sample.id)
        yield RowError("messages", "dull", "is dull", "Try harder")

    found = faults_of(tmp_path / "rows.jsonl", extra=extra)
    assert len(seen) == 3 and sum(fault.kind == "dull" for fault in found) == 3


def test_a_corpus_cannot_be_written_in_unknown_ways(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"corpus with 'xml': cannot be written\. Use one of messages, sharegpt, llava"):
        write_corpus(tmp_path, 4, dialect="xml")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match=r"corpus with 'typo': cannot be written\. Use one of bad-json"):
        write_corpus(tmp_path, 4, faults=("typo",))
    with pytest.raises(RequestError, match=r"corpus of 3 rows: is too small for 2 faults\. Write at least 4"):
        write_corpus(tmp_path, 3, faults=("echo", "bad-json"))
