"""Several sources as one endless, weighted, seeded sequence of rows that is the same however many workers read it.

The sequence is made of slots. Which source a slot falls to, and which of its rows, is arithmetic; so a worker reads only its
own slots, and going on from a position reads nothing before it. A stream is fetched by every worker, in order, but made
samples of only by the worker whose slots they are.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, Self, TypeVar

from sensorium.data.blocks import Blocks
from sensorium.data.fault import Fault, refuse
from sensorium.data.order import Permutation, chance, scramble
from sensorium.data.row import Indexed, Row, Source, Streamed, Unread
from sensorium.errors import DataError
from sensorium.parts import Json

T = TypeVar("T")
_PATIENCE = 1000


class Slot(NamedTuple):
    """One place of the sequence: the `number`-th row drawn from a source, and the row itself, unread, if that is a stream."""

    source: int
    number: int
    item: Unread | None = None


class Mixture:
    """Rows of several sources.

    Args:
        weights: how often a slot falls to each source; by default as often as it has rows.
        seed: of the choices and of the order.
        epochs: how often each source is gone through; None is endless. When one is through, the others share its slots.
        shuffle: a counted source is shuffled as a whole, a streamed one in blocks of `block` rows.
        broken: told each broken row of this worker's share; `refuse` stops, a `Tally` counts and goes on.

    Raises:
        DataError: no rows, no weights where a source cannot be counted, or weights that are not positive.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        weights: Sequence[float] | None = None,
        seed: int = 0,
        *,
        epochs: int | None = None,
        shuffle: bool = True,
        block: int = 1024,
        broken: Callable[[Fault], None] = refuse,
    ) -> None:
        self.sources, self.seed, self.epochs, self.broken = tuple(sources), seed, epochs, broken
        self.weights = _checked(self.sources, weights)
        self._shuffle, self._block = shuffle, block if shuffle else 1
        self._rank, self._world = 0, 1
        self._begin()

    def __iter__(self) -> Iterator[Row]:
        """This worker's rows from where it stands; broken ones go to `broken`."""
        for slot in self.slots():
            item = None if slot is None else self.read(slot)
            if item is not None and self.heed(item) and not isinstance(item, Fault):
                yield item

    def take(self, count: int) -> list[Row] | None:
        """The rows of this worker's next `count` slots; fewer where rows are broken, None when the sequence is over.

        Workers that take equally many slots stay side by side whatever is broken: this is how a batch is shared out.
        """
        slots = list(islice(self.slots(), count))
        read = [self.read(slot) for slot in slots if slot is not None]
        return [item for item in read if self.heed(item) and not isinstance(item, Fault)] if slots else None

    def slots(self) -> Iterator[Slot | None]:
        """This worker's slots, unread; None stands at the end for one that only other workers have."""
        while True:
            turn = [self._draw() for _ in range(self._world)]
            if turn[0] is None:
                return
            yield turn[self._rank]

    def read(self, slot: Slot) -> Row | Fault:
        """The row of a slot; may be called from any thread."""
        if slot.item is not None:
            return slot.item()
        source = self.sources[slot.source]
        assert isinstance(source, Indexed)
        size = len(source)
        epoch, place = divmod(slot.number, size)
        if self._shuffle:
            place = Permutation(size, scramble(self.seed, slot.source, epoch))[place]
        return source.row(place)

    def heed(self, item: T | Fault) -> bool:
        """Whether something that was read is whole; a fault is told to `broken`.

        Raises:
            DataError: nothing but faults for a thousand slots, or what `broken` raises.
        """
        if not isinstance(item, Fault):
            self._streak = 0
            return True
        self.broken(item)
        self._streak += 1
        if self._streak == _PATIENCE:
            problem = f"{item.reason}; so were the {_PATIENCE:,} rows before it broken, one way or another"
            raise DataError(f"{item.file}, row {item.row}, {item.field}", problem, "Check the data before training on them")
        return False

    def position(self) -> Json:
        """Plain JSON for `seek`; the same on every worker that has taken as many slots."""
        blocks = [None if block is None else block.position() for block in self._blocks]
        return {"slot": self._slot, "drawn": list(self._drawn), "blocks": blocks, "of": self._identity()}

    def seek(self, position: Json) -> None:
        """Go on from a position, whatever the number of workers was there.

        Raises:
            DataError: it is of other sources, weights or another seed.
        """
        if position["of"] != self._identity():
            problem = f"is of {position['of']}, not of {self._identity()}"
            raise DataError(
                "place in the data", problem, "Go on with the same sources, weights, seed and settings, or begin anew"
            )
        self._slot, self._drawn = position["slot"], list(position["drawn"])
        for block, place in zip(self._blocks, position["blocks"], strict=True):
            if block is not None:
                block.seek(place)

    def shard(self, rank: int, world: int) -> Self:
        """The share of worker `rank` of `world`, from the first slot on; every `world`-th slot. A share can be shared again."""
        assert 0 <= rank < world
        share = copy.copy(self)
        share._rank, share._world = self._rank + self._world * rank, self._world * world
        share._begin()
        return share

    def fingerprint(self) -> str:
        """SHA-256 over the sources' fingerprints, the weights and the seed."""
        what = [[source.fingerprint() for source in self.sources], self._identity()]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()

    def _begin(self) -> None:
        self._slot, self._drawn, self._streak = 0, [0] * len(self.sources), 0
        self._blocks = [
            Blocks(source, self._block, scramble(self.seed, number), self.epochs) if isinstance(source, Streamed) else None
            for number, source in enumerate(self.sources)
        ]
        self._sizes = [len(source) if isinstance(source, Indexed) else 0 for source in self.sources]

    def _draw(self) -> Slot | None:
        """The next slot of the whole sequence, or None when every source is through."""
        alive = [number for number in range(len(self.sources)) if self._has_more(number)]
        if not alive:
            return None
        left = chance(self.seed, self._slot) * sum(self.weights[number] for number in alive)
        self._slot += 1
        for number in alive:
            left -= self.weights[number]
            if left < 0:
                break
        self._drawn[number] += 1
        blocks = self._blocks[number]
        return Slot(number, self._drawn[number] - 1, None if blocks is None else blocks.take())

    def _has_more(self, number: int) -> bool:
        blocks = self._blocks[number]
        if self.epochs is None:
            return True
        return blocks.ready() if blocks is not None else self._drawn[number] < self.epochs * self._sizes[number]

    def _identity(self) -> Json:
        names = [source.name for source in self.sources]
        settings = {"seed": self.seed, "epochs": self.epochs, "shuffle": self._shuffle, "block": self._block}
        return {"sources": names, "sizes": self._sizes, "weights": list(self.weights), **settings}


def _checked(sources: Sequence[Source], weights: Sequence[float] | None) -> tuple[float, ...]:
    if not sources:
        raise DataError("mixture", "has no sources", "Give at least one")
    for source in sources:
        if not isinstance(source, Indexed | Streamed):
            problem = "can neither be counted nor gone on with"
            raise DataError(source.name, problem, "Give it a length and row(index), or walk(bookmark)")
        if isinstance(source, Indexed) and not len(source):
            raise DataError(source.name, "has no rows", "Check the file, or leave it out")
    if weights is None:
        uncounted = [source.name for source in sources if not isinstance(source, Indexed)]
        if uncounted and len(sources) > 1:
            raise DataError(uncounted[0], "is a stream whose rows cannot be counted", "Give weights")
        return tuple(float(len(source)) if isinstance(source, Indexed) else 1.0 for source in sources)
    if len(weights) != len(sources) or min(weights) <= 0:
        problem = f"has {len(sources)} sources, but the weights {list(weights)}"
        raise DataError("mixture", problem, "Give one weight above 0 for each source")
    return tuple(float(weight) for weight in weights)
