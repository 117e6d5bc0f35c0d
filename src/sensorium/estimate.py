"""A number with how many items it rests on and its 95 % interval: no score stands without them."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]


class Estimate(NamedTuple):
    """`value` and the interval from `low` to `high`, over `n` items."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] n={self.n}"


def mean(rows: Rows) -> float:
    """The plain average."""
    return float(np.mean(rows))


def estimate(
    items: Sequence[float] | NDArray[Any],
    measure: Callable[[Rows], float] = mean,
    *,
    clusters: Sequence[Hashable] | None = None,
    rounds: int = 1000,
    seed: int = 0,
) -> Estimate:
    """`measure` of the items, whose first axis counts them, with a percentile bootstrap (Efron 1979).

    Args:
        clusters: for each item what it belongs to, such as its picture; items of one cluster are drawn together, since their
            scores depend on one another.
    """
    rows = np.asarray(items, dtype=np.float64)
    chance = np.random.default_rng(seed)
    if clusters is None:
        drawn = [measure(rows[chance.integers(0, len(rows), len(rows))]) for _ in range(rounds)]
    else:
        assert len(clusters) == len(rows), "every item belongs to a cluster"
        places: dict[Hashable, list[int]] = {}
        for place, name in enumerate(clusters):
            places.setdefault(name, []).append(place)
        groups = [np.array(group) for group in places.values()]
        drawn = [
            measure(rows[np.concatenate([groups[index] for index in chance.integers(0, len(groups), len(groups))])])
            for _ in range(rounds)
        ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(float(measure(rows)), float(low), float(high), len(rows))


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> float:
    """The two-sided p of McNemar's exact test: how odd so uneven a split of the items where the two differ would be."""
    better = sum(one and not other for one, other in zip(first, second, strict=True))
    worse = sum(other and not one for one, other in zip(first, second, strict=True))
    total, least = better + worse, min(better, worse)
    tail = sum(math.comb(total, count) for count in range(least + 1))
    return min(1.0, float(Fraction(2 * tail, 2**total)))
