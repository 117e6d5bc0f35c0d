"""Intervals: the closed form for a mean, clusters that widen it, and the same numbers every time."""

from __future__ import annotations

import numpy as np
import pytest

from sensorium.estimate import estimate


def test_the_interval_of_a_mean_is_the_closed_form() -> None:
    items = np.random.default_rng(0).normal(3, 2, 2000)
    found = estimate(items, rounds=2000)
    half = 1.96 * items.std() / np.sqrt(len(items))
    assert found.value == pytest.approx(items.mean())
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)
    assert found.n == 2000


def test_items_of_one_cluster_are_drawn_together() -> None:
    items = np.repeat(np.random.default_rng(1).integers(0, 2, 100), 10).astype(float)
    alone, together = estimate(items), estimate(items, clusters=list(np.repeat(np.arange(100), 10)))
    assert together.high - together.low > 2.5 * (alone.high - alone.low)
    assert together.value == alone.value


def test_the_same_items_give_the_same_interval() -> None:
    assert estimate([0.0, 1.0, 1.0]) == estimate([0.0, 1.0, 1.0])
    assert str(estimate([1.0, 1.0])) == "1.000 [1.000, 1.000] n=2"


def test_another_measure() -> None:
    assert estimate(np.array([[1.0, 2.0], [3.0, 4.0]]), lambda rows: float(rows[:, 1].sum())).value == 6.0
