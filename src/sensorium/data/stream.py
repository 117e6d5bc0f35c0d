"""Batches of a mixture, read and prepared by threads, handed out in order, resumable between any two of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Generic, TypeVar

from sensorium.data.fault import Fault
from sensorium.data.mixture import Mixture, Slot
from sensorium.data.row import Row
from sensorium.errors import MediaError, RequestError
from sensorium.parts import Json

T = TypeVar("T")


class Stream(Generic[T]):
    """Batches of `size` slots of this worker's share. A broken row leaves its batch shorter and is told to `mixture.broken`.

    Args:
        prepare: what to make of a row: decode its media, tokenise; called in threads. Its MediaError or RequestError makes the
            row a broken one.
        workers: threads; they do not change what comes out.
        ahead: batches begun before they are asked for; this bounds the memory.
    """

    def __init__(self, mixture: Mixture, size: int, prepare: Callable[[Row], T], *, workers: int = 1, ahead: int = 2) -> None:
        assert size > 0 and workers > 0 and ahead > 0
        self._mixture, self._size, self._prepare = mixture, size, prepare
        self._workers, self._ahead = workers, ahead
        self._position = mixture.position()

    def __iter__(self) -> Iterator[list[T]]:
        """Batches from where the stream stands on; the last may be short, and is there for every worker if it is for one."""
        self._mixture.seek(self._position)
        slots = self._mixture.slots()
        waiting: deque[tuple[list[Future[T | Fault]], Json]] = deque()
        with ThreadPoolExecutor(self._workers, "sensorium-data") as threads:
            try:
                while True:
                    while len(waiting) < self._ahead and (batch := list(islice(slots, self._size))):
                        futures = [threads.submit(self._one, slot) for slot in batch if slot is not None]
                        waiting.append((futures, self._mixture.position()))
                    if not waiting:
                        return
                    futures, position = waiting.popleft()
                    items = [future.result() for future in futures]
                    self._position = position
                    yield [item for item in items if self._mixture.heed(item) and not isinstance(item, Fault)]
            finally:
                threads.shutdown(wait=True, cancel_futures=True)

    def position(self) -> Json:
        """Plain JSON for `seek`: after the last batch that was handed out, whatever was read ahead."""
        return self._position

    def seek(self, position: Json) -> None:
        """Let the next iteration begin at a position.

        Raises:
            DataError: it is of other data, see `Mixture.seek`.
        """
        self._mixture.seek(position)
        self._position = position

    def _one(self, slot: Slot) -> T | Fault:
        row = self._mixture.read(slot)
        if isinstance(row, Fault):
            return row
        try:
            return self._prepare(row)
        except (MediaError, RequestError) as error:
            kind = "unreadable-media" if isinstance(error, MediaError) else "unusable"
            return Fault(row.file, row.row, error.thing, kind, error.problem, error.remedy)
