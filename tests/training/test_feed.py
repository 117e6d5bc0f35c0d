"""Broken rows make batches smaller and never move processes apart."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from threading import Event, Thread, active_count
from typing import Any

import pytest
import torch

from sensorium.data.fault import Fault
from sensorium.data.mixture import Mixture
from sensorium.data.row import Row
from sensorium.errors import DataError, MediaError
from sensorium.parts import Sample
from sensorium.training.corpus import Share
from sensorium.training.feed import Cycle, Rows, UnlearnableError
from sensorium.training.loop import Loop
from sensorium.training.optimizer import Group
from sensorium.training.rig import Alone, Rig, Step
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


def rows_of(rank: int, ranks: int, size: int = 4, **more: Any) -> Rows[str, Sequence[str]]:
    mixture = Mixture([Share("rows.jsonl", 12, row, "mark")], seed=3, epochs=more.pop("epochs", None))
    mine = mixture.shard(rank, ranks) if ranks > 1 else mixture
    feed: Rows[str, Sequence[str]] = Rows(mine, more.pop("lay", lay), lambda laid: [laid], size // ranks, **more)
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


@pytest.mark.parametrize("ahead", [1, 3])
def test_batches_made_ahead_are_those_made_in_time_with_the_same_places_and_counts(ahead: int) -> None:
    plain, early = rows_of(0, 1), rows_of(0, 1, ahead=ahead)
    places = [plain.position()]
    assert early.position() == places[0]
    for step in range(9):
        assert drawn(early) == drawn(plain)
        places.append(plain.position())
        assert early.position() == places[-1]
        assert early.dropped.kinds == plain.dropped.kinds
        assert early.dropped.first == plain.dropped.first
        if step == 4:
            early.close()  # as at the end of a run, after which it is asked for its place and may go on
            assert early.position() == places[-1]
    for place in (places[2], places[7]):
        for feed in (plain, early):
            feed.seek(place)
        assert early.position() == place
        assert [drawn(early) for _ in range(3)] == [drawn(plain) for _ in range(3)]
    early.close()


def test_an_error_ahead_is_raised_at_its_own_row_and_batch() -> None:
    def picky(given: Row) -> str:
        if given.sample.id == "7":
            raise UnlearnableError("row 8", "has no token to learn", "Give it an answer")
        return given.sample.id

    def until_it_stops(feed: Rows[Any, Any]) -> tuple[list[list[str]], str]:
        seen = list[list[str]]()
        try:
            while True:
                seen.append(drawn(feed))
        except DataError as error:
            return seen, str(error)

    for more in ({"lay": picky}, {"strict": True}, {"epochs": 2}):
        wanted, text = until_it_stops(rows_of(0, 1, **more))
        early = rows_of(0, 1, ahead=3, **more)
        assert until_it_stops(early) == (wanted, text), more
        early.close()
    assert text == "the data: ended before the run did. Let the mixture repeat, or train fewer steps."
    assert len(wanted) == 6


def test_rows_are_laid_out_while_the_batch_before_is_used_and_never_too_many() -> None:
    laid, third = list[str](), Event()

    def count(given: Row) -> str:
        laid.append(given.sample.id)
        if len(laid) == 9:
            third.set()
        return given.sample.id

    mixture = Mixture([Share("rows", 50, lambda number: Row(Sample(str(number), ()), "rows", number + 1), "mark")])
    feed: Rows[str, Sequence[str]] = Rows(mixture, count, lambda some: [some], 3, ahead=2)
    feed.draw()
    assert third.wait(20), "two more batches than the one that was asked for"
    time.sleep(0.05)
    assert len(laid) == 9
    feed.close()


def test_closing_stops_within_a_row() -> None:
    begun, laid = Event(), list[str]()

    def slow(given: Row) -> str:
        begun.set()
        time.sleep(0.05)
        laid.append(given.sample.id)
        return given.sample.id

    mixture = Mixture([Share("rows", 500, lambda number: Row(Sample(str(number), ()), "rows", number + 1), "mark")])
    feed: Rows[str, Sequence[str]] = Rows(mixture, slow, lambda some: [some], 200, ahead=2)
    waiting = Thread(target=lambda: suppressed(feed), daemon=True)
    waiting.start()
    assert begun.wait(20)
    feed.close()
    waiting.join(20)
    assert not waiting.is_alive()
    assert len(laid) < 100


def suppressed(feed: Rows[Any, Any]) -> None:
    """Draw; closing the feed in another thread takes what was waited for away."""
    with suppress(CancelledError):
        feed.draw()


def test_an_interrupted_loop_leaves_no_thread() -> None:
    model, before = Towers(), active_count()
    mixture = Mixture([Share("rows", 50, lambda number: Row(Sample(str(number), ()), "rows", number + 1), "mark")])
    feed: Rows[Any, Any] = Rows(mixture, lambda _: ("words", torch.ones(6)), lambda some: [some], 3, ahead=2)

    def interrupt(step: Step) -> None:
        if step.step == 2:
            raise KeyboardInterrupt

    group, rig = Group(dict(model.named_parameters()), 0.1), Rig(tell=interrupt)
    loop = Loop(model, [Task("squares", Squares(), feed)], [group], Plan(steps=9), rig)
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    assert active_count() == before
    assert feed.position()["stream"]["slot"] == 6


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
