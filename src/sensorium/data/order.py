"""Seeded chance as arithmetic: the n-th draw, and the n-th place of a shuffled order, without the ones before it."""

from __future__ import annotations

from dataclasses import dataclass

_MASK = (1 << 64) - 1


def scramble(*numbers: int) -> int:
    """64 bits that depend on all of these numbers, the same on every machine (splitmix64; Steele et al. 2014)."""
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        state = (state ^ (number & _MASK)) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state


def chance(*numbers: int) -> float:
    """0 up to 1, from `scramble`."""
    return (scramble(*numbers) >> 11) / (1 << 53)


@dataclass(frozen=True, slots=True)
class Permutation:
    """The numbers below `size` in a seeded order, any of them found alone: a Feistel network of four rounds over the next
    power of four, walked until the result is below `size` (Black & Rogaway 2002).
    """

    size: int
    seed: int

    def __getitem__(self, place: int) -> int:
        assert 0 <= place < self.size
        half = max(1, (self.size - 1).bit_length() + 1 >> 1)
        low = (1 << half) - 1
        while True:
            left, right = place >> half, place & low
            for turn in range(4):
                left, right = right, left ^ (scramble(self.seed, turn, right) & low)
            place = left << half | right
            if place < self.size:
                return place
