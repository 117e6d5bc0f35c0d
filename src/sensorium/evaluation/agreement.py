"""How far several raters agree beyond chance: Krippendorff's alpha, for any number of raters and with votes missing."""

from __future__ import annotations

from itertools import starmap

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def krippendorff(counts_UV: Array, distance_VV: Array) -> float:
    """Alpha: 1 is full agreement, 0 is what chance would give (Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011).

    Args:
        counts_UV: for each unit, how many raters gave it each value; units of fewer than two votes say nothing.
        distance_VV: how far two values are apart, 0 on the diagonal, symmetric.

    Returns:
        nan where nothing was rated twice, or where only one value was ever given.
    """
    pairable_UV = counts_UV[counts_UV.sum(1) >= 2]
    if not len(pairable_UV):
        return float("nan")
    votes_U = pairable_UV.sum(1)
    pairs_UVV = np.stack(list(starmap(_pairs, zip(pairable_UV, votes_U, strict=True))))
    seen_VV = pairs_UVV.sum(0)
    totals_V = seen_VV.sum(1)
    expected_VV = (np.outer(totals_V, totals_V) - np.diag(totals_V)) / (totals_V.sum() - 1)
    apart = float((expected_VV * distance_VV).sum())
    return 1 - float((seen_VV * distance_VV).sum()) / apart if apart else float("nan")


def nominal(values: int) -> Array:
    """Values are alike or not."""
    return 1 - np.eye(values)


def interval(values: Array) -> Array:
    """The squared difference of values that are numbers."""
    return np.asarray((values[:, None] - values[None, :]) ** 2, dtype=np.float64)


def _pairs(counts_V: Array, votes: float) -> Array:
    return np.asarray((np.outer(counts_V, counts_V) - np.diag(counts_V)) / (votes - 1))
