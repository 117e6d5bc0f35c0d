"""What each step learns from: a feed gives the parts of the next batch and knows its place, so that a run resumes exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from sensorium.data.fault import Fault, Tally
from sensorium.data.row import Row
from sensorium.errors import DataError, SensoriumError
from sensorium.objectives.loss import Loss
from sensorium.training.ahead import Ahead

Thunk = Callable[[], Loss]
Epoch = Callable[[int], Sequence[Sequence[Thunk]]]
"""The batches of epoch n, each as the losses of its shards. A pure function of n, or else resuming is not exact."""

B = TypeVar("B")
Given = TypeVar("Given", covariant=True)
R = TypeVar("R")
_PATIENCE = 10
"""Batches without a row that can be used which end the run."""


class Feed(Protocol[Given]):
    """Batches in an order of its own."""

    def draw(self) -> Sequence[Given]:
        """The next step's batch in parts that go through the model one by one (or side by side, a thread each)."""
        ...

    def position(self) -> dict[str, Any]:
        """Where the next draw begins: plain JSON."""
        ...

    def seek(self, position: dict[str, Any]) -> None:
        """Go there."""
        ...

    def close(self) -> None:
        """Stop whatever is being done ahead; position and batches are those that would have come."""
        ...


class UnlearnableError(DataError):
    """A row without a supervised token: it would be read and nothing learned from it, so it is never dropped in silence."""


class Stream(Protocol):
    """Rows in a seeded order: what `data.mixture.Mixture` is."""

    def take(self, count: int) -> list[Row] | None:
        """The rows of the next `count` places; fewer where rows are broken, None at the end."""
        ...

    def position(self) -> Any:
        """Where the next row is."""
        ...

    def seek(self, position: Any) -> None:
        """Go there."""
        ...


class Epochs:
    """Whole epochs as a function of their number.

    Raises:
        DataError: an epoch without a batch.
    """

    def __init__(self, epoch: Epoch) -> None:
        self._make, self.epoch, self.batch = epoch, 0, 0
        self._batches: Sequence[Sequence[Thunk]] | None = None

    def draw(self) -> Sequence[Thunk]:
        """The next batch; after the last one comes the next epoch."""
        while self._batches is None or self.batch >= len(self._batches):
            if self._batches is not None:
                self.epoch, self.batch = self.epoch + 1, 0
            self._batches = self._make(self.epoch)
            if not self._batches:
                raise DataError(f"epoch {self.epoch}", "has no batch", "Give more rows than one batch takes")
        self.batch += 1
        return self._batches[self.batch - 1]

    def position(self) -> dict[str, Any]:
        """Epoch and batch."""
        return {"epoch": self.epoch, "batch": self.batch}

    def seek(self, position: dict[str, Any]) -> None:
        """Go there."""
        self.epoch, self.batch, self._batches = position["epoch"], position["batch"], None
        if self.batch:
            self._batches = self._make(self.epoch)

    def close(self) -> None:
        """Nothing is done ahead."""


class Cycle(Generic[B]):
    """Given batches in turn, without end: for overfitting on purpose, and for tests."""

    def __init__(self, batches: Sequence[Sequence[B]]) -> None:
        self.batches, self.turn = batches, 0

    def draw(self) -> Sequence[B]:
        """The next one."""
        self.turn += 1
        return self.batches[(self.turn - 1) % len(self.batches)]

    def position(self) -> dict[str, Any]:
        """Batches drawn."""
        return {"turn": self.turn}

    def seek(self, position: dict[str, Any]) -> None:
        """Go there."""
        self.turn = position["turn"]

    def close(self) -> None:
        """Nothing is done ahead."""


class Watched(Generic[B]):
    """Another feed, whose last batch is kept to be counted."""

    def __init__(self, feed: Feed[B]) -> None:
        self.feed = feed
        self.last: Sequence[B] = ()

    @property
    def dropped(self) -> Tally | None:
        """Rows left out, of a feed that leaves rows out."""
        return self.feed.dropped if isinstance(self.feed, Rows) else None

    def draw(self) -> Sequence[B]:
        """The feed's next one."""
        self.last = self.feed.draw()
        return self.last

    def position(self) -> dict[str, Any]:
        """The feed's."""
        return self.feed.position()

    def seek(self, position: dict[str, Any]) -> None:
        """The feed's."""
        self.feed.seek(position)

    def close(self) -> None:
        """The feed."""
        self.feed.close()


class _Made(NamedTuple, Generic[B]):
    """A batch before it is handed out: its parts, what was dropped on the way, and where the stream stood after it."""

    parts: Sequence[B]
    faults: Sequence[Fault]
    position: Any
    ended: bool


class Rows(Generic[R, B]):
    """Batches made of the rows of a stream.

    Args:
        lay: one row to what the model takes in; a row that it refuses is dropped, unless `strict`. `UnlearnableError` stops.
        join: laid-out rows to the parts of a batch.
        size: rows a batch. A row that cannot be used is dropped and counted, and the batch is smaller by it, even empty: so
            processes that share a batch stay side by side, and batches do not depend on their number.
        ahead: batches made by a thread before they are asked for; 0 makes each when it is. It changes nothing that is drawn,
            counted or raised, nor any position. `lay` and `join` then must not draw from torch's generator.
    """

    def __init__(
        self,
        stream: Stream,
        lay: Callable[[Row], R],
        join: Callable[[Sequence[R]], Sequence[B]],
        size: int,
        *,
        strict: bool = False,
        ahead: int = 0,
    ) -> None:
        self.stream, self.lay, self.join, self.size = stream, lay, join, size
        self.strict, self.dropped, self.ahead = strict, Tally(), ahead
        self._last: Fault | None = None
        self._empty = 0
        self._thread: Ahead[_Made[B]] | None = None
        self._place: Any = None  # of the stream after the last batch drawn, where it may stand further on
        self._faults: list[Fault] | None = None  # of the batch that is being made

    def draw(self) -> Sequence[B]:
        """The parts of the next batch; none where none of its rows can be used.

        Raises:
            DataError: the stream ends, or none of the rows of ten batches can be used; with `strict` also the first bad row.
        """
        made = self._next()
        for fault in made.faults:
            self._count(fault)
        if made.ended:
            raise DataError("the data", "ended before the run did", "Let the mixture repeat, or train fewer steps")
        self._empty = 0 if made.parts else self._empty + 1
        if self._empty >= _PATIENCE and self._last is not None:
            problem = f"was dropped, as were all rows of the {_PATIENCE} batches up to it: {self._last.reason}"
            raise DataError(f"{self._last.file}, row {self._last.row}", problem, self._last.fix)
        return made.parts

    def position(self) -> dict[str, Any]:
        """The stream's after the last batch drawn, and what was dropped so far."""
        place = self.stream.position() if self._place is None else self._place
        return {"stream": place, "dropped": dict(self.dropped.kinds)}

    def seek(self, position: dict[str, Any]) -> None:
        """Go there."""
        self.close()
        self.stream.seek(position["stream"])
        self._place, self.dropped = None, Tally()
        self.dropped.kinds.update(position["dropped"])

    def close(self) -> None:
        """End the thread; a batch drawn after that begins another where this one was left."""
        if self._thread is not None:
            self._thread.close()
            self._thread = None

    def _next(self) -> _Made[B]:
        if not self.ahead:
            return self._make(Event())
        if self._thread is None:
            if self._place is not None:
                self.stream.seek(self._place)
            self._place = self.stream.position()
            self._thread = Ahead(self._make, self.ahead)
        made = self._thread.take()
        self._place = made.position
        return made

    def _make(self, stop: Event) -> _Made[B]:
        """The next batch of the stream; what `drop` is told meanwhile belongs to it."""
        faults: list[Fault] = []
        self._faults = faults
        try:
            rows = self.stream.take(self.size)
            laid = [done for row in rows or () if not stop.is_set() and (done := self.laid(row)) is not None]
            return _Made(self.join(laid) if laid else (), faults, self.stream.position(), rows is None)
        finally:
            self._faults = None

    def laid(self, row: Row) -> R | None:
        """One row laid out, or None if it is dropped.

        Raises:
            UnlearnableError: it has no learned token. DataError: it cannot be used, with `strict`.
        """
        try:
            return self.lay(row)
        except UnlearnableError:
            raise
        except SensoriumError as error:
            kind = {"MediaError": "unreadable-media", "LimitError": "over-a-limit"}.get(type(error).__name__, "refused")
            self.drop(Fault(row.file, row.row, "messages", kind, f"{error.thing}: {error.problem}", error.remedy))
            return None

    def drop(self, fault: Fault) -> None:
        """Count a row that is left out; what a mixture tells of its broken rows.

        Raises:
            DataError: with `strict`.
        """
        if self.strict:
            raise DataError(f"{fault.file}, row {fault.row}, {fault.field}", fault.reason, fault.fix)
        if self._faults is None:
            self._count(fault)
        else:
            self._faults.append(fault)

    def _count(self, fault: Fault) -> None:
        self._last = fault
        self.dropped(fault)
