"""A scaling curve fitted to a few sizes to foretell a larger one: a power law that may bend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sensorium.errors import RequestError

_BENDS = np.linspace(-4.0, 1.0, 201)
_UNIT = 1000.0


class Curve(NamedTuple):
    """`log y = level - slope * (x ** bend - 1) / bend` at x thousand rows, of a loss or of a share of wrong answers.

    Without a bend it is the power law of Hestness et al. 2017 (arXiv:1712.00409), falling with `rows ** -slope`. A bend below 0
    levels off to a floor; one above 0 falls ever faster, as a stretched exponential does, where everything can be learned
    (WBL4 of Viering and Loog 2021, arXiv:2103.10948).
    """

    level: float
    slope: float
    bend: float

    def __call__(self, rows: float) -> float:
        """What is foretold for so many training questions."""
        return math.exp(self.level - self.slope * float(_bent(np.asarray(rows, float), self.bend)))


def fit(rows: Sequence[float], table: Sequence[Sequence[float]]) -> list[Curve]:
    """One curve a row of the table, each with its own level and slope (never rising), all with the bend that suits them best.

    The bend is the exam's: one of its own for each row would follow the noise of a few sizes.

    Args:
        table: for each family what came at each size, above 0.

    Raises:
        RequestError: fewer than three different sizes, which no such curve is held by.
    """
    if len(set(rows)) < 3:
        raise RequestError("scaling curve", f"has {len(set(rows))} sizes and needs 3", "Ask for more --halvings")
    x, y = np.asarray(rows, float), np.log(np.asarray(table, float))
    return min((_straight(x, y, float(bend)) for bend in _BENDS), key=lambda found: found[0])[1]


def _straight(x: np.ndarray, y: np.ndarray, bend: float) -> tuple[float, list[Curve]]:
    """The squared error of the log and the curves, all with this bend."""
    across = _bent(x, bend)
    off = across - across.mean()
    slopes = np.maximum(0.0, -(y @ off) / (off @ off))
    levels = y.mean(1) + slopes * across.mean()
    left = levels[:, None] - slopes[:, None] * across - y
    return float((left**2).sum()), [Curve(float(a), float(b), bend) for a, b in zip(levels, slopes, strict=True)]


def _bent(x: np.ndarray, bend: float) -> np.ndarray:
    """Box and Cox's transform of thousands; its limit, the logarithm, without a bend."""
    thousands = x / _UNIT
    bent: np.ndarray = np.log(thousands) if abs(bend) < 1e-9 else (thousands**bend - 1) / bend
    return bent
