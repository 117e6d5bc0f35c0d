"""Draws that are the same in every process, on every platform and under every version of the libraries."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from random import Random
from typing import TypeVar

Item = TypeVar("Item")


class Dice:
    """A stream of draws named by its key.

    It rests on `random.Random.random`, the one generator whose numbers Python promises to keep, seeded from a hash of the key.
    """

    def __init__(self, *key: object) -> None:
        digest = blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
        self._random = Random(int.from_bytes(digest, "big")).random

    def below(self, count: int) -> int:
        """A whole number in 0..count-1."""
        return int(self._random() * count)

    def between(self, low: int, high: int) -> int:
        """A whole number in low..high, both included."""
        return low + int(self._random() * (high - low + 1))

    def pick(self, items: Sequence[Item]) -> Item:
        """One of the items."""
        return items[int(self._random() * len(items))]

    def chance(self, share: float) -> bool:
        """True in this share of draws."""
        return self._random() < share

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        """The items in another order (Fisher and Yates)."""
        order = list(items)
        for last in range(len(order) - 1, 0, -1):
            other = int(self._random() * (last + 1))
            order[last], order[other] = order[other], order[last]
        return order
