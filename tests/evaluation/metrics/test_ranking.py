"""Rankings against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score, ndcg_score

from sensorium.errors import RequestError
from sensorium.estimate import estimate
from sensorium.evaluation.metrics.ranking import (
    average_precision,
    median_rank,
    ndcg,
    ndcg_of,
    places,
    places_of,
    recall_at,
    reciprocal_rank,
)


def tables() -> list[tuple[np.ndarray, np.ndarray]]:
    """Scores, some of them equal, and which candidates are right."""
    chance = np.random.default_rng(0)
    rows = []
    for number in range(60):
        count = int(chance.integers(2, 30))
        scores = chance.normal(size=count) if number % 2 else chance.integers(0, 4, count).astype(float)
        right = chance.random(count) < 0.3
        right[chance.integers(count)] = True
        rows.append((scores, right))
    return rows


def test_average_precision_is_scikit_learns() -> None:
    for scores, right in tables():
        found = average_precision(places(scores, np.flatnonzero(right).tolist()))
        assert found == pytest.approx(average_precision_score(right, scores), abs=1e-12)


def test_ndcg_is_scikit_learns() -> None:
    chance = np.random.default_rng(1)
    for scores, right in tables():
        gains = right * chance.integers(1, 4, len(right))
        for depth in (None, 1, 5, 50):
            assert ndcg(gains, scores, depth) == pytest.approx(ndcg_score([gains], [scores], k=depth), abs=1e-12)


def test_the_reciprocal_rank_is_scikit_learns_with_one_right_label() -> None:
    for scores, right in tables():
        one = np.zeros(len(right), bool)
        one[np.flatnonzero(right)[0]] = True
        wanted = label_ranking_average_precision_score([one], [scores])
        assert reciprocal_rank(places(scores, np.flatnonzero(one).tolist())) == pytest.approx(wanted, abs=1e-12)


def test_equal_scores_share_the_worst_place() -> None:
    assert places([1.0, 1.0, 1.0, 1.0], [2]) == [4]
    assert places([3.0, 2.0, 2.0, 1.0], [1, 3]) == [3, 4]
    assert recall_at(places([0.0] * 10, [0]), 5) == 0.0


def test_recall_counts_any_or_the_share() -> None:
    assert recall_at([2, 9], 5) == 1.0
    assert recall_at([2, 9], 5, share=True) == 0.5
    assert recall_at([6], 5) == 0.0


def test_names_in_order_of_rank() -> None:
    ranked = ["c", "a", "b", "a"]
    assert places_of(ranked, ["a", "b", "a"]) == [2, 3]
    assert places_of(ranked, ["x", "a"]) == [2, math.inf]
    assert average_precision(places_of(ranked, ["x", "a"])) == pytest.approx((1 / 2 + 0) / 2)
    assert reciprocal_rank(places_of(ranked, ["x"])) == 0.0
    assert ndcg_of(["b", "a"], {"a": 1.0}) == pytest.approx(1 / math.log2(3))
    assert ndcg_of(["b"], {"a": 1.0}, depth=1) == 0.0
    assert ndcg_of([], {}) == 0.0


def test_nothing_worth_anything_is_nothing() -> None:
    assert ndcg([0, 0], [1.0, 2.0]) == ndcg_score([[0, 0]], [[1.0, 2.0]]) == 0.0


def test_the_median_rank_is_estimated_from_first_places() -> None:
    found = estimate(np.arange(1.0, 42.0), median_rank)
    assert found.value == 21.0
    assert found.low < 21 < found.high
    assert math.isnan(median_rank(np.array([])))


def test_what_cannot_be_ranked_is_named() -> None:
    with pytest.raises(RequestError, match=r"ranking: has the right candidates \[5\] among 2"):
        places([1.0, 2.0], [5])
    with pytest.raises(RequestError, match="has the right candidates"):
        places([1.0], [])
    with pytest.raises(RequestError, match="has 1 scores that are no numbers"):
        places([1.0, float("nan")], [0])
    with pytest.raises(RequestError, match="has no right candidate"):
        places_of(["a"], [])
    with pytest.raises(RequestError, match=r"got gains \(1,\) and scores \(2,\)"):
        ndcg([1.0], [1.0, 2.0])
    with pytest.raises(RequestError, match=r"got a gain of -1\.0, below 0"):
        ndcg([-1.0], [1.0])
