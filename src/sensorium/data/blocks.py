"""A source that can only be read in order, shuffled within blocks: bounded memory, and a place to go on from that is exact."""

from __future__ import annotations

from itertools import islice

from sensorium.data.order import Permutation, scramble
from sensorium.data.row import Streamed, Unread
from sensorium.errors import DataError
from sensorium.parts import Json


class Blocks:
    """One row after the other, pass after pass.

    Going on from a position fetches the block it is in again, and nothing before it.

    Args:
        size: rows held and shuffled at once; 1 keeps the order.
        epochs: passes at most; None is endless.
    """

    def __init__(self, source: Streamed, size: int, seed: int, epochs: int | None) -> None:
        self._source, self._size, self._seed, self._epochs = source, size, seed, epochs
        self._epoch = self._number = self._place = 0
        self._walk = source.walk()
        self._bookmark = self._walk.bookmark()
        self._rows: list[Unread] = []

    def take(self) -> Unread:
        """The next row, unread; there must be one."""
        assert self.ready()
        order = Permutation(len(self._rows), scramble(self._seed, self._epoch, self._number))
        row = self._rows[order[self._place]]
        self._place += 1
        return row

    def ready(self) -> bool:
        """Whether there is a next row.

        Raises:
            DataError: the source has none at all.
        """
        while self._place == len(self._rows):
            if self._epoch == self._epochs:
                return False
            self._number += bool(self._rows)
            self._bookmark = self._walk.bookmark()
            self._place, self._rows = 0, list(islice(self._walk, self._size))
            if self._rows:
                continue
            if self._number == 0:
                raise DataError(self._source.name, "has no rows", "Check the path and the split")
            self._epoch, self._number, self._walk = self._epoch + 1, 0, self._source.walk()
        return True

    def position(self) -> Json:
        """Plain JSON for `seek`."""
        return {"epoch": self._epoch, "block": self._number, "place": self._place, "bookmark": self._bookmark}

    def seek(self, position: Json) -> None:
        """Go on from a position, on a source that has not changed."""
        self._epoch, self._number, self._place = position["epoch"], position["block"], position["place"]
        self._bookmark = position["bookmark"]
        self._walk = self._source.walk(self._bookmark)
        over = self._epoch == self._epochs
        self._rows = [] if over else list(islice(self._walk, self._size))
        self._place = 0 if over else self._place
