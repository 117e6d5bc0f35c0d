"""A score with its number of items and the 95 % interval of a percentile bootstrap over items."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np


class Estimate(NamedTuple):
    """`value` and the interval from `low` to `high`, over `n` items."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] n={self.n}"


def estimate(
    items: Sequence[float] | np.ndarray, measure: Callable[[np.ndarray], float] = np.mean, rounds: int = 1000, seed: int = 0
) -> Estimate:
    """`measure` of the items, whose first axis counts them."""
    rows = np.asarray(items, dtype=float)
    chance = np.random.default_rng(seed)
    drawn = [float(measure(rows[chance.integers(0, len(rows), len(rows))])) for _ in range(rounds)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(float(measure(rows)), float(low), float(high), len(rows))


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> float:
    """The two-sided p of McNemar's exact test: how odd so uneven a split of the items where the two differ would be."""
    better = sum(one and not other for one, other in zip(first, second, strict=True))
    worse = sum(other and not one for one, other in zip(first, second, strict=True))
    total, least = better + worse, min(better, worse)
    tail = sum(math.comb(total, count) for count in range(least + 1))
    return min(1.0, float(Fraction(2 * tail, 2**total)))
