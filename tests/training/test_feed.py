"""Broken rows make batches smaller and never move processes apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from sensorium.data.fault import Fault
from sensorium.data.mixture import Mixture
from sensorium.data.row import Row
from sensorium.errors import DataError, MediaError
from sensorium.parts import Sample
from sensorium.training.corpus import Share
from sensorium.training.feed import Cycle, Rows
from sensorium.training.loop import Alone, Group, Loop, Rig, Step
from sensorium.training.schedule import Plan
from sensorium.training.task import Task
from tests.training.together import Squares, Towers

BROKEN, UNREADABLE = {2, 3, 11}, {5, 6}
"""Numbers of rows that the reader finds broken, and of rows that cannot be laid out."""


def row(number: int) -> Row | Fault:
    if number in BROKEN:
        return Fault("rows.jsonl", number + 1, "image", "bad-json", "is no JSON", "Correct it")
    return Row(Sample(str(number), ()), "rows.jsonl", number + 1)


def lay(given: Row) -> str:
    if int(given.sample.id) in UNREADABLE:
        raise MediaError("photo.jpg", "is no picture", "Replace it")
    return given.sample.id


def rows_of(rank: int, ranks: int, size: int = 4) -> Rows[str, Sequence[str]]:
    mixture = Mixture([Share("rows.jsonl", 12, row, "mark")], seed=3)
    mine = mixture.shard(rank, ranks) if ranks > 1 else mixture
    feed: Rows[str, Sequence[str]] = Rows(mine, lay, lambda laid: [laid], size // ranks)
    mine.broken = feed.drop
    return feed


def drawn(feed: Rows[Any, Sequence[str]]) -> list[str]:
    return [name for part in feed.draw() for name in part]


def test_two_processes_draw_the_batches_of_one_whatever_is_broken() -> None:
    alone, halves = rows_of(0, 1), [rows_of(rank, 2) for rank in (0, 1)]
    lengths = set()
    for _ in range(12):
        batch = drawn(alone)
        shares = [drawn(half) for half in halves]
        assert sorted(name for share in shares for name in share) == sorted(batch)
        assert [half.position()["stream"] for half in halves] == [alone.position()["stream"]] * 2
        lengths.add(tuple(len(share) for share in shares))
    assert any(0 in pair for pair in lengths), "a process without a row at some steps"
    assert len(lengths) > 2
    assert alone.dropped.kinds == halves[0].dropped.kinds + halves[1].dropped.kinds
    assert set(alone.dropped.kinds) == {"bad-json", "unreadable-media"}


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_position_of_one_process_is_gone_on_from_in_two(ranks: int) -> None:
    first, after = rows_of(0, 1), [rows_of(rank, ranks) for rank in range(ranks)]
    for _ in range(5):
        first.draw()
    for feed in after:
        feed.seek(first.position())
    for _ in range(5):
        assert sorted(name for feed in after for name in drawn(feed)) == sorted(drawn(first))


def test_ten_batches_without_a_good_row_are_an_error_that_names_the_last() -> None:
    mixture = Mixture([Share("rows.jsonl", 1, lambda _: row(2), "mark")])
    feed: Rows[str, Sequence[str]] = Rows(mixture, lay, lambda laid: [laid], 4)
    mixture.broken = feed.drop
    assert [list(feed.draw()) for _ in range(9)] == [[]] * 9
    with pytest.raises(DataError, match=r"rows\.jsonl, row 3: was dropped, as were all rows of the 10 batches.*is no JSON"):
        feed.draw()
    ended: Rows[str, Sequence[str]] = Rows(
        Mixture([Share("a", 4, lambda n: row(0), "m")], epochs=1), lay, lambda laid: [laid], 4
    )
    ended.draw()
    with pytest.raises(DataError, match="the data: ended before the run did"):
        ended.draw()


def test_a_step_without_a_good_row_learns_nothing_and_is_told() -> None:
    model, said = Towers(), list[Step]()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    group = Group(dict(model.named_parameters()), 0.1, 0.1)
    Loop(
        model, [Task("squares", Squares(), Cycle([[]]))], [group], Plan(steps=1), Rig(tell=said.append, exchange=Alone())
    ).run()
    assert (said[0].terms, said[0].sizes, said[0].norm) == ({}, {"squares": 0}, 0.0)
    assert all(bool((tensor == before[name]).all()) for name, tensor in model.state_dict().items())
