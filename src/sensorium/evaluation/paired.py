"""Differences of paired scores: an interval, a test, an effect size, and the correction for several tests."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from sensorium.estimate import Estimate, Rows, estimate, mean

FLIPS = 10_000


class Paired(NamedTuple):
    """A difference, and how often one so large comes by chance; `test` says by which test."""

    difference: Estimate
    p: float
    test: str


def holm(values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, step down (Holm 1979)."""
    corrected, least = [0.0] * len(values), 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        least = max(least, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = least
    return corrected


def difference(values: Sequence[float], clusters: Sequence[str], seed: int = 0) -> Estimate:
    """The mean of paired differences with its 95 % interval, clusters drawn together.

    Differences of 0 and 1 scores that all have one sign, or are all 0, tell a bootstrap nothing of the other sign: they get
    Agresti and Min's interval (2005), half an item added to each cell of the table, for as many items as there are clusters.
    """
    rows = np.array(values, float)
    if np.isin(rows, (-1.0, 0.0, 1.0)).all() and not ((rows > 0).any() and (rows < 0).any()):
        size, value = len(set(clusters)), float(rows.mean())
        apart, middle = abs(value) * size, value * size / (size + 2)
        half = 1.96 * math.sqrt(apart + 1 - (value * size) ** 2 / (size + 2)) / (size + 2)
        return Estimate(value, max(-1.0, min(middle - half, value)), min(1.0, max(middle + half, value)), len(rows))
    return estimate(rows, _mean, clusters=clusters, seed=seed)


def sign_flips(values: Sequence[float], clusters: Sequence[str], seed: int = 0) -> float:
    """How often a difference this large comes by chance if A and B may change places cluster by cluster, two-sided.

    All ways of changing places are tried up to 2 ** 13 of them, else `FLIPS` random ones, the one at hand among them.
    """
    _, group = np.unique(np.array(clusters), return_inverse=True)
    sums = np.bincount(group, np.array(values, float))
    sums = sums[sums != 0]
    least = abs(float(sums.sum())) * (1 - 1e-9) - 1e-12
    if len(sums) <= 13:
        signs = 1 - 2 * (np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums)) & 1)
        return float((np.abs(signs @ sums) >= least).mean())
    dice = np.random.default_rng(seed)
    far = sum(int((np.abs((1 - 2 * dice.integers(0, 2, (500, len(sums)))) @ sums) >= least).sum()) for _ in range(FLIPS // 500))
    return (far + 1) / (FLIPS + 1)


def by_items(values: Sequence[float], clusters: Sequence[str], exact: float | None, seed: int = 0) -> Paired:
    """Their mean, tested by sign flips; of items that stand alone by McNemar's test, where `exact` is its p."""
    found, alone = difference(values, clusters, seed), len(set(clusters)) == len(clusters)
    if exact is not None and alone:
        return Paired(found, exact, "McNemar's test, exact")
    return Paired(found, sign_flips(values, clusters, seed), "sign flips" if alone else "sign flips by cluster")


def effect(values: Sequence[float], clusters: Sequence[str], binary: bool, seed: int = 0) -> Estimate | None:
    """How large a difference is: for 0 and 1 scores Cohen's g, the share of the items on which they differ that A got right,
    less a half; else Cohen's d, the mean difference in units of its deviation. None where they nowhere differ.
    """
    if not binary:
        return estimate(values, _spread, clusters=clusters, seed=seed) if len(set(values)) > 1 else None
    apart = [(float(value > 0), cluster) for value, cluster in zip(values, clusters, strict=True) if value]
    if not apart:
        return None
    share = estimate([value for value, _ in apart], mean, clusters=[cluster for _, cluster in apart], seed=seed)
    return Estimate(share.value - 0.5, share.low - 0.5, share.high - 0.5, share.n)


def corpus_difference(one: Rows, two: Rows, clusters: Sequence[str], measure: Callable[[Rows], float], seed: int = 0) -> Paired:
    """Of a score of all answers at once, and its p when A and B change places cluster by cluster (Noreen 1989).

    Args:
        one, two: what of each item goes into the score, `(n, k)`.
    """
    width = one.shape[1]

    def apart(rows: Rows) -> float:
        return measure(rows[:, :width]) - measure(rows[:, width:])

    found = estimate(np.hstack([one, two]), apart, clusters=clusters, seed=seed)
    dice = np.random.default_rng(seed)
    names, group = np.unique(np.array(clusters), return_inverse=True)
    far, turns = 0, FLIPS // 10
    for _ in range(turns):
        swap = dice.integers(0, 2, len(names))[group][:, None] == 1
        far += abs(apart(np.hstack([np.where(swap, two, one), np.where(swap, one, two)]))) >= abs(found.value) - 1e-12
    return Paired(found, (far + 1) / (turns + 1), "approximate randomisation")


def _mean(rows: Rows) -> float:
    return float(rows.mean())


def _spread(rows: Rows) -> float:
    """Cohen's d of paired differences: their mean in units of their own deviation."""
    deviation = float(rows.std(ddof=1)) if len(rows) > 1 else 0.0
    return float(rows.mean()) / deviation if deviation > 0 else math.nan
