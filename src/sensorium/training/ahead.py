"""Work done ahead by one thread, in order: what is asked for next is being made while the caller is busy with the last."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """Calls `make` again and again, never twice at once, and hands out what came of it in the order of the calls.

    What a call raises is raised where its result would have been handed out; later calls go on from there.

    Args:
        make: told of a wish to stop by an event that it should look at now and then; what it then returns is thrown away.
        count: calls begun or waiting at most, beside the one handed out; this bounds the memory.
    """

    def __init__(self, make: Callable[[Event], T], count: int) -> None:
        assert count > 0, "otherwise call it yourself"
        self._make, self._count, self._stop = make, count, Event()
        self._thread = ThreadPoolExecutor(1, "sensorium-rows")
        self._waiting: deque[Future[T]] = deque()
        weakref.finalize(self, self._stop.set)  # nobody waits for what is being made

    def take(self) -> T:
        """The next result, waited for if need be."""
        while len(self._waiting) <= self._count:
            self._waiting.append(self._thread.submit(self._make, self._stop))
        return self._waiting.popleft().result()

    def close(self) -> None:
        """Begin nothing more, and come back when nothing is being made."""
        self._stop.set()
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._waiting.clear()
