"""One sequence, whoever reads it, however often it is interrupted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.data.fault import Fault, Tally
from sensorium.data.mixture import Mixture
from sensorium.data.order import Permutation, chance
from sensorium.data.row import Indexed, Remarks, Row, Source, Streamed, Unread
from sensorium.data.stream import Stream
from sensorium.errors import DataError, MediaError
from sensorium.parts import Json, Message, Sample, Text


class Counted:
    """Rows that say where they are from; those in `broken` are faults."""

    def __init__(self, name: str, size: int, broken: frozenset[int] = frozenset()) -> None:
        self.name, self.size, self.broken = name, size, broken
        self.remarks, self.reads = Remarks(), 0

    def __len__(self) -> int:
        return self.size

    def row(self, index: int) -> Row | Fault:
        self.reads += 1
        return made(self.name, index, self.broken)

    def rows(self, start: int = 0) -> Iterator[Row | Fault]:
        return map(self.row, range(start, self.size))

    def fingerprint(self) -> str:
        return f"{self.name} {self.size}"


class Flowing:
    """The same, read in order only."""

    def __init__(self, name: str, size: int, broken: frozenset[int] = frozenset()) -> None:
        self.name, self.size, self.broken = name, size, broken
        self.remarks, self.reads, self.told = Remarks(), 0, list[int]()

    def rows(self, start: int = 0) -> Iterator[Row | Fault]:
        return (unread() for unread in self.walk({"at": start}))

    def walk(self, bookmark: Json | None = None) -> FlowingWalk:
        return FlowingWalk(self, 0 if bookmark is None else bookmark["at"])

    def fingerprint(self) -> str:
        return f"{self.name} {self.size}"


class FlowingWalk(Iterator[Unread]):
    def __init__(self, source: Flowing, at: int) -> None:
        self.source, self.at = source, at

    def __next__(self) -> Unread:
        if self.at == self.source.size:
            raise StopIteration
        self.at += 1
        self.source.reads += 1
        return partial(self.tell, self.at - 1)

    def tell(self, index: int) -> Row | Fault:
        self.source.told.append(index)
        return made(self.source.name, index, self.source.broken)

    def bookmark(self) -> Json:
        return {"at": self.at}


def made(name: str, index: int, broken: frozenset[int]) -> Row | Fault:
    if index in broken:
        return Fault(name, index + 1, "image", "missing-image", "is not there", "Add it")
    return Row(Sample(f"{name}{index}", (Message("assistant", (Text("x"),), learn=True),)), name, index + 1)


def ids(rows: Iterator[Row]) -> list[str]:
    return [row.sample.id for row in rows]


def again(position: Json) -> Json:
    """As it comes back from a file."""
    value: Json = json.loads(json.dumps(position))
    return value


sources = st.lists(
    st.tuples(st.sampled_from([Counted, Flowing]), st.integers(5, 40), st.frozensets(st.integers(0, 39), max_size=4)),
    min_size=1,
    max_size=4,
)


@st.composite
def plans(draw: st.DrawFn) -> tuple[list[Source], dict[str, object]]:
    made = [kind("abcd"[number], size, broken) for number, (kind, size, broken) in enumerate(draw(sources))]
    how: dict[str, object] = {
        "weights": [draw(st.floats(0.1, 10)) for _ in made],
        "seed": draw(st.integers(0, 2**32)),
        "epochs": draw(st.sampled_from([None, 1, 2])),
        "shuffle": draw(st.booleans()),
        "block": draw(st.integers(1, 9)),
    }
    return list(made), how


def test_the_sources_of_these_tests_are_what_they_say() -> None:
    assert isinstance(Counted("a", 1), Indexed) and not isinstance(Counted("a", 1), Streamed)
    assert isinstance(Flowing("a", 1), Streamed) and not isinstance(Flowing("a", 1), Indexed)


@settings(max_examples=50, deadline=None)
@given(plans(), st.integers(0, 120), st.integers(1, 80))
def test_a_sequence_goes_on_as_if_it_had_not_been_interrupted(
    plan: tuple[list[Source], dict[str, object]], before: int, after: int
) -> None:
    sources, how = plan
    whole = ids(islice(iter(Mixture(sources, broken=Tally(), **how)), before + after))  # type: ignore[arg-type]
    first = Mixture(sources, broken=Tally(), **how)  # type: ignore[arg-type]
    begun = ids(islice(iter(first), before))
    second = Mixture(sources, broken=Tally(), **how)  # type: ignore[arg-type]
    second.seek(again(first.position()))
    assert begun + ids(islice(iter(second), after)) == whole


@settings(max_examples=50, deadline=None)
@given(plans(), st.integers(1, 5), st.integers(1, 5), st.integers(1, 7), st.integers(0, 12))
def test_any_number_of_workers_share_one_sequence_and_hand_it_over(
    plan: tuple[list[Source], dict[str, object]], world: int, later: int, size: int, batches: int
) -> None:
    """`world` ranks take `batches` batches; then `later` ranks go on; together they see what one sees."""
    sources, how = plan
    enough = world * size * batches + later * 20
    whole = ids(islice(iter(Mixture(sources, broken=Tally(), **how)), enough + 1))  # type: ignore[arg-type]
    mixture = Mixture(sources, broken=Tally(), **how)  # type: ignore[arg-type]
    shares, positions = [], []
    for rank in range(world):
        stream = Stream(mixture.shard(rank, world), size, lambda row: row.sample.id, workers=1 + rank % 2, ahead=1 + rank)
        shares.append(list(islice(iter(stream), batches)))
        positions.append(stream.position())
    assert all(position == positions[0] for position in positions)
    assert len({len(share) for share in shares}) == 1
    seen = Counter(item for share in shares for batch in share for item in batch)
    taken = sum(seen.values())
    assert seen == Counter(whole[:taken])
    rest = []
    for rank in range(later):
        share = mixture.shard(rank, later)
        share.seek(again(positions[0]))
        rest.append([None if slot is None else share.read(slot) for slot in islice(share.slots(), 8)])
    merged = [item for turn in zip(*rest, strict=True) for item in turn if isinstance(item, Row)]
    assert [row.sample.id for row in merged] == whole[taken : taken + len(merged)]


@settings(max_examples=25, deadline=None)
@given(plans())
def test_finite_passes_show_every_row_that_often(plan: tuple[list[Source], dict[str, object]]) -> None:
    sources, how = plan
    tally = Tally(1000)
    seen = Counter(ids(iter(Mixture(sources, broken=tally, **{**how, "epochs": 2}))))  # type: ignore[arg-type]
    rows = [row for source in sources for row in source.rows()]
    assert seen == Counter({row.sample.id: 2 for row in rows if isinstance(row, Row)})
    assert Counter(tally.first) == Counter({row: 2 for row in rows if isinstance(row, Fault)})


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 1000), st.integers(0, 2**40))
def test_a_shuffled_order_holds_every_place_once(size: int, seed: int) -> None:
    order = Permutation(size, seed)
    assert sorted(order[place] for place in range(size)) == list(range(size))


def test_a_shuffled_order_is_no_order() -> None:
    order = Permutation(10_000, 3)
    values = [order[place] for place in range(10_000)]
    rising = sum(later > earlier for earlier, later in pairwise(values))
    assert 4_700 < rising < 5_300
    assert values[:100] != [Permutation(10_000, 4)[place] for place in range(100)]
    assert abs(sum(values[:1000]) / 1000 - 5_000) < 400
    assert abs(sum(chance(1, number) for number in range(10_000)) / 10_000 - 0.5) < 0.02


def test_weights_are_kept() -> None:
    mixture = Mixture([Counted("a", 50), Counted("b", 500), Flowing("c", 7)], [6, 3, 1], seed=4)
    seen = Counter(name[0] for name in ids(islice(iter(mixture), 10_000)))
    assert 5_800 < seen["a"] < 6_200 and 2_800 < seen["b"] < 3_200 and 850 < seen["c"] < 1_150


def test_going_on_reads_nothing_but_what_comes() -> None:
    counted, flowing = Counted("a", 100_000), Flowing("b", 100_000)
    mixture = Mixture([counted, flowing], [1, 1], block=16)
    mixture.seek(_far(mixture, 5_000))
    counted.reads = flowing.reads = 0
    next(iter(mixture))
    assert counted.reads <= 1 and flowing.reads <= 16


def _far(mixture: Mixture, rows: int) -> Json:
    other = Mixture(mixture.sources, mixture.weights, block=16)
    for _ in islice(iter(other), rows):
        pass
    return again(other.position())


def test_a_worker_reads_only_its_own_rows() -> None:
    source = Counted("a", 1000)
    share = Mixture([source], epochs=1).shard(1, 4)
    assert len(ids(iter(share))) == 250 and source.reads == 250


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(1, 9), st.integers(0, 2**31), st.integers(0, 20), st.frozensets(st.integers(0, 39)))
def test_of_a_stream_each_worker_reads_only_its_own_rows(
    world: int, block: int, seed: int, before: int, broken: frozenset[int]
) -> None:
    """The sequence is that of one worker, also after an interruption; rows of others are fetched and left unread."""
    tally, alone = Tally(), Flowing("a", 40, broken)
    whole = list(islice(Mixture([alone], seed=seed, block=block).slots(), world * 20))
    wanted = [Mixture([alone], seed=seed).read(slot) for slot in whole if slot is not None]
    alone.told.clear()
    found: list[list[Row | Fault]] = []
    for rank in range(world):
        source = Flowing("a", 40, broken)
        share = Mixture([source], seed=seed, block=block, broken=tally).shard(rank, world)
        begun = [share.read(slot) for slot in islice(share.slots(), before) if slot is not None]
        other = Mixture([source], seed=seed, block=block, broken=tally).shard(rank, world)
        other.seek(again(share.position()))
        found.append(begun + [other.read(slot) for slot in islice(other.slots(), 20 - before) if slot is not None])
        assert len(source.told) == 20
    assert [row for turn in zip(*found, strict=True) for row in turn] == wanted


def test_workers_take_equal_shares_of_a_batch_whatever_is_broken() -> None:
    mixture = Mixture([Counted("a", 20, frozenset({3, 4, 11}))], seed=2, epochs=1, broken=Tally())
    shares = [mixture.shard(rank, 3) for rank in range(3)]
    batches = []
    for _ in range(4):
        taken = [share.take(2) for share in shares]
        assert len({json.dumps(share.position()) for share in shares}) == 1
        batches += [row.sample.id for rows in taken for row in rows or ()]
    assert sorted(batches) == sorted(ids(iter(mixture))) and len(batches) == 17
    assert [share.take(2) for share in shares] == [None, None, None]


def test_a_share_of_a_share() -> None:
    mixture = Mixture([Counted("a", 100)], seed=1, epochs=1)
    direct = [ids(iter(mixture.shard(rank, 4))) for rank in range(4)]
    nested = [ids(iter(mixture.shard(rank, 2).shard(worker, 2))) for worker in range(2) for rank in range(2)]
    assert sorted(map(tuple, direct)) == sorted(map(tuple, nested))
    assert ids(iter(mixture)) == [name for turn in zip(*direct, strict=True) for name in turn]


def test_a_broken_row_stops_by_default_and_is_counted_on_request() -> None:
    source = Counted("rows.jsonl", 5, frozenset({2}))
    with pytest.raises(DataError, match=r"^rows\.jsonl, row 3, image: is not there\. Add it\.$"):
        ids(iter(Mixture([source], shuffle=False)))
    tally = Tally()
    assert ids(iter(Mixture([source], epochs=1, shuffle=False, broken=tally))) == [f"rows.jsonl{n}" for n in (0, 1, 3, 4)]
    assert tally.kinds == {"missing-image": 1} and tally.first[0].row == 3


def test_nothing_but_broken_rows_is_no_endless_loop() -> None:
    mixture = Mixture([Counted("a", 2, frozenset({0, 1}))], broken=Tally())
    with pytest.raises(DataError, match="is not there; so were the 1,000 rows before it broken"):
        next(iter(mixture))


def test_what_cannot_be_prepared_is_a_fault_of_its_row() -> None:
    def prepare(row: Row) -> str:
        if row.row == 2:
            raise MediaError("a.jpg", "is empty (0 bytes)", "Give a file with content")
        return row.sample.id

    tally = Tally()
    stream = Stream(Mixture([Counted("a", 4)], epochs=1, shuffle=False, broken=tally), 3, prepare, workers=2)
    assert list(stream) == [["a0", "a2"], ["a3"]]
    assert tally.first == [Fault("a", 2, "a.jpg", "unreadable-media", "is empty (0 bytes)", "Give a file with content")]


def test_a_position_of_other_data_is_refused() -> None:
    position = Mixture([Counted("a", 4)], seed=1).position()
    with pytest.raises(DataError, match="Go on with the same sources, weights, seed and settings, or begin anew"):
        Mixture([Counted("a", 5)], seed=1).seek(position)


def test_sources_that_cannot_be_mixed_are_refused() -> None:
    with pytest.raises(DataError, match="mixture: has no sources"):
        Mixture([])
    with pytest.raises(DataError, match="a: has no rows"):
        Mixture([Counted("a", 0)])
    with pytest.raises(DataError, match="b: has no rows"):
        next(iter(Mixture([Flowing("b", 0)])))
    with pytest.raises(DataError, match=r"b: is a stream whose rows cannot be counted\. Give weights"):
        Mixture([Counted("a", 2), Flowing("b", 2)])
    with pytest.raises(DataError, match=r"has 1 sources, but the weights \[1, 2\]"):
        Mixture([Counted("a", 2)], [1, 2])
