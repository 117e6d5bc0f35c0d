"""Intervals: closed forms, clusters that widen them, skew, and the same numbers every time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sensorium.estimate import Estimate, NotMeasured, Rows, _student, estimate, mcnemar, mean, median


def test_the_interval_of_a_mean_is_the_closed_form() -> None:
    items = np.random.default_rng(0).normal(3, 2, 2000)
    found = estimate(items, rounds=2000)
    half = 1.96 * items.std() / np.sqrt(len(items))
    assert found.value == pytest.approx(items.mean())
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)
    assert found.n == 2000


def test_a_mean_of_few_items_has_students_interval() -> None:
    items = np.random.default_rng(3).normal(0, 1, 12)
    found = estimate(items, rounds=20000)
    half = stats.t.ppf(0.975, 11) * items.std(ddof=1) / np.sqrt(12)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.12)
    assert (found.high - found.low) / 2 > 1.1 * 1.96 * items.std() / np.sqrt(12)


def test_scores_of_0_and_1_have_wilsons_interval() -> None:
    for right, count in ((0, 10), (7, 10), (50, 50), (1, 1)):
        found = estimate([1.0] * right + [0.0] * (count - right))
        wanted = stats.binomtest(right, count).proportion_ci(method="wilson")
        assert found == pytest.approx((right / count, wanted.low, wanted.high, count))


def test_clusters_of_one_item_are_no_clusters() -> None:
    for items in ([1.0, 0.0, 1.0], [0.5, 0.2, 0.4]):
        assert estimate(items, clusters="abc") == estimate(items)


def test_items_of_one_cluster_are_drawn_together() -> None:
    items = np.repeat(np.random.default_rng(1).integers(0, 2, 100), 10).astype(float)
    alone, together = estimate(items), estimate(items, clusters=list(np.repeat(np.arange(100), 10)))
    assert together.high - together.low > 2.5 * (alone.high - alone.low)
    assert together.value == alone.value
    halves = estimate(items / 2, clusters=list(np.repeat(np.arange(100), 10)))  # by the bootstrap, not by Wilson
    assert halves.high - halves.low == pytest.approx((together.high - together.low) / 2, rel=0.15)


def test_clusters_that_are_all_right_are_as_few_as_they_are() -> None:
    found = estimate([1.0] * 40, clusters=[place // 10 for place in range(40)])
    assert found.low < estimate([1.0] * 4).low < estimate([1.0] * 40).low
    assert found.high == 1.0


def test_a_skewed_score_has_a_lopsided_interval() -> None:
    items = np.random.default_rng(2).lognormal(0, 1, 60)
    found = estimate(items)
    assert found.high - found.value > 1.2 * (found.value - found.low)


@pytest.mark.parametrize("count", [6, 20, 60, 301])
def test_a_median_lies_between_the_items_of_the_exact_interval(count: int) -> None:
    """One item of 1, 2, ... n is the unit: at most one inside scipy's, which covers at least 95 %."""
    exact = stats.quantile_test(np.arange(1.0, count + 1)).confidence_interval(0.95)
    found = estimate(np.arange(1.0, count + 1), median)
    assert exact.low <= found.low < exact.low + 1
    assert found.low + found.high == pytest.approx(count + 1)
    assert found.value == (count + 1) / 2


def test_a_median_holds_the_truth_as_often_as_it_says() -> None:
    chance = np.random.default_rng(5)
    found = [estimate(chance.lognormal(4, 1.2, 40), median) for _ in range(2000)]
    held = np.mean([one.low <= math.exp(4) <= one.high for one in found])
    assert 0.94 <= held <= 0.96  # two standard errors


def test_a_median_of_clusters_is_one_of_fewer_items() -> None:
    items = np.random.default_rng(6).normal(0, 1, 12).repeat(5)
    found, alone = estimate(items, median, clusters=list(np.arange(12).repeat(5))), estimate(items, median)
    assert found.low < alone.low < found.value < alone.high < found.high
    assert estimate(items, median, clusters=[0] * 60)[1:3] == (-math.inf, math.inf)


def test_a_median_of_few_or_endless_ranks() -> None:
    assert estimate([1.0, 2.0, 3.0, 4.0, 5.0], median)[1:3] == (-math.inf, math.inf)
    found = estimate([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, math.inf, math.inf], median)
    assert (found.value, found.high) == (4.5, math.inf)
    assert 1 <= found.low < 2
    assert math.isnan(estimate([], median).value)
    assert estimate([3.0] * 9, median) == Estimate(3.0, 3.0, 3.0, 9)


def test_one_cluster_says_nothing_about_others() -> None:
    assert estimate([0.3]) == Estimate(0.3, -math.inf, math.inf, 1)
    assert estimate([0.3, 0.4], clusters="aa")[1:3] == (-math.inf, math.inf)
    assert estimate([1.0, 0.0], clusters="aa")[1:3] == (0.0, 1.0)


def test_the_same_items_give_the_same_interval() -> None:
    items = np.random.default_rng(4).random(30)
    assert estimate(items) == estimate(items)
    assert estimate(items) != estimate(items, seed=1)
    assert str(estimate([1.0, 1.0])) == "1.000 [0.342, 1.000] n=2"
    assert str(NotMeasured("no Java")) == "not measured: no Java"


def test_scores_all_alike_give_a_point() -> None:
    assert estimate([0.5] * 5) == Estimate(0.5, 0.5, 0.5, 5)


def test_another_measure() -> None:
    rows = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert estimate(rows, lambda rows: float(rows[:, 1].sum())).value == 6.0


def test_draws_without_a_value_are_left_out() -> None:
    def share(rows: Rows) -> float:
        return float(rows[:, 0].sum() / rows[:, 1].sum()) if rows[:, 1].any() else math.nan

    found = estimate(np.array([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]), share)
    assert found.value == 0.5
    assert 0 <= found.low <= 0.5 <= found.high <= 1
    nothing = estimate(np.zeros((3, 2)), share)
    assert math.isnan(nothing.value) and math.isnan(nothing.low)
    assert math.isnan(mean(np.array([])))


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 9, 30, 200, 10000])
def test_students_point(freedom: int) -> None:
    assert _student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=2e-3)


def test_mcnemar_is_the_exact_test_of_a_fair_coin() -> None:
    first, second = [True] * 9 + [False] * 3, [False] * 8 + [True] * 2 + [False] * 2
    assert mcnemar(first, second) == pytest.approx(stats.binomtest(1, 9).pvalue)
