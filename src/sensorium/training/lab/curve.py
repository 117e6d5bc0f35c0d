"""A scaling curve, `loss = floor + scale * rows ** -power`, fitted to a few sizes to foretell a larger one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sensorium.errors import RequestError


class Curve(NamedTuple):
    """The law of Hestness et al. 2017 (arXiv:1712.00409) with its irreducible part."""

    floor: float
    scale: float
    power: float

    def __call__(self, rows: float) -> float:
        """The loss foretold for so many training questions."""
        return float(self.floor + self.scale * rows**-self.power)


def fit(rows: Sequence[float], losses: Sequence[float]) -> Curve:
    """The curve with the least squared relative error: the power by search, floor and scale, neither negative, in closed form.

    Raises:
        RequestError: fewer than three different sizes, which no such curve is held by.
    """
    if len(set(rows)) < 3:
        raise RequestError("scaling curve", f"has {len(set(rows))} sizes and needs 3", "Ask for more --sizes")
    x, y = np.asarray(rows, float), np.asarray(losses, float)
    best = min((_linear(x, y, power) for power in np.linspace(0.02, 2.0, 199)), key=lambda found: found[0])
    return best[1]


def _linear(x: np.ndarray, y: np.ndarray, power: float) -> tuple[float, Curve]:
    terms = np.stack([np.ones_like(x), x**-power], axis=1) / y[:, None]
    floor, scale = np.linalg.lstsq(terms, np.ones_like(y), rcond=None)[0]
    if floor < 0:
        floor, scale = 0.0, float(terms[:, 1].sum() / (terms[:, 1] ** 2).sum())
    if scale < 0:
        floor, scale = float(terms[:, 0].sum() / (terms[:, 0] ** 2).sum()), 0.0
    curve = Curve(float(floor), float(scale), float(power))
    return float(((terms @ np.array([floor, scale]) - 1) ** 2).sum()), curve
