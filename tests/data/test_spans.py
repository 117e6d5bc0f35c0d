"""Where records begin and end, found without parsing them."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.data import spans
from sensorium.data.fault import RowError
from sensorium.data.lookup import Lookup
from sensorium.data.record import Record
from sensorium.data.spans import elements, first_sign, lines, members
from sensorium.data.table import Table
from sensorium.errors import DataError
from tests.data import dialects

text = st.text(st.one_of(st.sampled_from('"\\{}[],:\n ü'), st.characters(exclude_categories=["Cs"])), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
objects = st.lists(st.dictionaries(text, values, max_size=4), max_size=6)


@settings(max_examples=60, deadline=None)
@given(objects, st.integers(1, 40), st.sampled_from([None, 1]), st.booleans())
def test_elements_of_any_array_are_found_in_blocks_of_any_size(
    rows: list[dict[str, Any]], block: int, indent: int | None, escaped: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(spans, "_BLOCK", block)
        path = Path(folder, "rows.json")
        path.write_text(json.dumps(rows, indent=indent, ensure_ascii=escaped), "utf-8")
        assert [json.loads(path.read_bytes()[start:stop]) for start, stop in elements(str(path))] == rows
        whole = {"info": {"rows": [1, "]"]}, "note": "rows", "rows": rows, "after": [[]]}
        path.write_text(json.dumps(whole, indent=indent, ensure_ascii=escaped), "utf-8")
        assert [json.loads(path.read_bytes()[start:stop]) for start, stop in elements(str(path), "rows")] == rows
        assert list(dict(members(str(path)))) == list(whole) and dict(members(str(path)))["note"] == "rows"
        path.write_text("".join(json.dumps(row, ensure_ascii=escaped) + "\n" for row in rows), "utf-8")
        assert [json.loads(path.read_bytes()[start:stop]) for start, stop in lines(str(path))] == rows


@settings(max_examples=60, deadline=None)
@given(st.text('[]{}",:\\ \n1a', max_size=30), st.integers(1, 7))
def test_nothing_makes_it_fail_or_go_out_of_the_file(content: str, block: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(spans, "_BLOCK", block)
        path = Path(folder, "rows.json")
        path.write_text(content)
        for key in (None, "a"):
            found = list(elements(str(path), key))
            assert all(0 <= start <= stop <= len(content) for start, stop in found) and found == sorted(found)
        list(members(str(path)))
        for record in Table(str(path), "array").records():
            assert isinstance(record.record, Record | RowError)


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path: Path) -> None:
    for layout, content in (("array", b'[{"a": 1}]'), ("lines", b'{"a": 1}\n')):
        path = tmp_path / layout
        path.write_bytes(b"\xef\xbb\xbf" + content)
        assert first_sign(str(path)) == chr(content[0])
        (found,) = Table(str(path), layout).records()  # type: ignore[arg-type]
        assert isinstance(found.record, Record) and found.record.values == {"a": 1}


def test_an_element_that_never_ends_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensorium.data.table.LIMIT", 100)
    path = tmp_path / "rows.json"
    path.write_text('[{"a": 1}, {"b": [1}' + ', {"a": 1}' * 50 + "]")
    first, second = Table(str(path), "array").records()
    assert isinstance(first.record, Record) and isinstance(second.record, RowError)
    assert "over the limit of 100; rows after it may be a part of it" in second.record.reason
    assert "never closed" in second.record.fix


def test_positions_are_kept_and_follow_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = dialects.lines(tmp_path / "rows.jsonl", [{"a": number} for number in range(10)])
    table = Table(str(path), "lines")
    assert len(table) == 10
    with monkeypatch.context() as patch:
        patch.setattr(Table, "spans", lambda self: pytest.fail("scanned again"))
        found = Table(str(path), "lines").record(7).record
        assert isinstance(found, Record) and found.values == {"a": 7}
    dialects.lines(path, [{"b": number} for number in range(3)])
    assert len(Table(str(path), "lines")) == 3


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = dialects.lines(tmp_path / "rows.jsonl", [{"a": 1}])
    monkeypatch.setenv("SENSORIUM_CACHE", str(path))
    with pytest.raises(DataError, match=r"cannot keep where the rows of data are .*Let SENSORIUM_CACHE name a folder"):
        len(Table(str(path), "lines"))


def test_a_lookup_finds_ids_of_any_kind(tmp_path: Path) -> None:
    ids = [3, "3", 2**70, "ü", None, 3]
    path = dialects.array(tmp_path / "rows.json", [{"id": value, "n": number} for number, value in enumerate(ids)])
    lookup = Lookup(Table(str(path), "array"), "id")
    assert len(lookup) == 5
    found = [lookup.find(value) for value in (3, "3", 2**70, "ü", 4)]
    assert [None if record is None else record.values["n"] for record in found] == [0, 1, 2, 3, None]
