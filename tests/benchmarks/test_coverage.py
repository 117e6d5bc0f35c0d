"""The simulation that counts how often intervals hold the truth."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.coverage import Kind, covered, tied
from sensorium.estimate import median


def test_what_ties_alone_make_of_a_medians_bounds() -> None:
    """Without ties the exact interval of 60 (97.3 % by the binomial distribution), with nothing else than ties all of them."""
    assert tied(Kind(np.arange(2001.0), 60, median)) == pytest.approx(0.973, abs=1e-3)
    assert tied(Kind(np.full(50, 3.0), 60, median)) == 1.0
    assert 0.99 < tied(Kind(np.arange(999.0) // 111, 60, median)) < 1.0


def test_a_few_experiments_hold_the_truth_mostly() -> None:
    held = covered(Kind(np.random.default_rng(0).normal(0, 1, 2000), 60, median), 200, seed=1)
    assert len(held) == 200
    assert 0.9 <= np.mean(held) <= 0.99
