"""Every dialect of conversations is read as the same samples."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sensorium.data.fault import Fault
from sensorium.data.reader import Indexed, Row, open_source
from sensorium.errors import DataError
from sensorium.parts import Sample
from tests.data import dialects


def samples(path: str, **how: object) -> list[Sample]:
    rows = list(open_source(path, **how).rows())  # type: ignore[arg-type]
    assert not [row for row in rows if isinstance(row, Fault)], rows
    return [row.sample for row in rows if isinstance(row, Row)]


@pytest.mark.parametrize("write", dialects.EVERY, ids=lambda write: write.__name__)
def test_a_dialect_is_read_as_the_same_samples(write: Callable[[Path], str], folder: Path) -> None:
    assert samples(write(folder)) == dialects.expected(folder)


@pytest.mark.parametrize("write", dialects.EVERY, ids=lambda write: write.__name__)
def test_rows_are_read_alone_or_from_any_on(write: Callable[[Path], str], folder: Path) -> None:
    source = open_source(write(folder))
    assert isinstance(source, Indexed) and len(source) == 3
    rows = list(source.rows())
    assert [source.row(index) for index in (2, 0, 1)] == [rows[2], rows[0], rows[1]]
    assert [list(source.rows(start)) for start in range(4)] == [rows[start:] for start in range(4)]
    assert [row.row for row in rows] == [1, 2, 3]


def test_a_folder_with_a_registry_is_opened_by_it(folder: Path) -> None:
    dialects.registered_sharegpt(folder)
    assert samples(f"{folder}#talks") == dialects.expected(folder)


def test_prompt_and_completion_learn_the_completion_only(folder: Path) -> None:
    assert samples(dialects.trl_completion(folder)) == dialects.last_only(dialects.expected(folder))


def test_media_start_from_the_given_folder(folder: Path) -> None:
    path = dialects.llava(folder)
    image = samples(path, media="/elsewhere")[0].messages[1].parts[0]
    assert image.source == "/elsewhere/cat.png"  # type: ignore[union-attr]


def test_a_fingerprint_follows_the_content(folder: Path) -> None:
    path = Path(dialects.llava(folder))
    before = open_source(path).fingerprint()
    assert before == open_source(path).fingerprint()
    path.write_text(path.read_text("utf-8").replace("Grey", "Gray"), "utf-8")
    assert open_source(path).fingerprint() != before


def test_a_file_of_no_known_dialect_is_refused_with_its_columns(tmp_path: Path) -> None:
    path = dialects.lines(tmp_path / "odd.jsonl", [{"title": "x", "body": "y"}])
    with pytest.raises(
        DataError, match=r"of no known dialect; its first row: columns \['body', 'title'\]\. Rename the columns"
    ):
        open_source(path)
    with pytest.raises(DataError, match="is not there"):
        open_source(tmp_path / "nowhere.json")
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(DataError, match="has no rows"):
        open_source(tmp_path / "empty.jsonl")


def test_the_dialect_is_found_past_broken_rows(folder: Path) -> None:
    path = folder / "rows.jsonl"
    path.write_text('{"broken\n\n' + json.dumps({"messages": [{"role": "assistant", "content": "Yes."}]}) + "\n")
    kinds = [row.kind if isinstance(row, Fault) else row.sample.messages[0].role for row in open_source(path).rows()]
    assert kinds == ["bad-json", "empty-row", "assistant"]
