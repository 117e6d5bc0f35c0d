"""Where what was asked for stands in a ranking: recall at k, reciprocal rank, average precision, nDCG, median rank.

Each gives one query's score, whose mean over queries is the corpus score. Average precision and nDCG equal scikit-learn's, and
the reciprocal rank its label ranking average precision with one right label. Recall at k is retrieval's: whether any of the
right ones is among the first k (Hodosh et al. 2013), or with `share` how many of them, as information retrieval has it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from sensorium.errors import RequestError
from sensorium.estimate import median


def places(scores: ArrayLike, right: Sequence[int]) -> list[int]:
    """Where each of the `right` candidates stands by score, from 1, in ascending order.

    Candidates of equal score share the worst of their places, so that a model which scores all alike earns nothing.

    Args:
        scores: of every candidate, one dimension.

    Raises:
        RequestError: no right candidate, or one that does not exist.
    """
    values = np.asarray(scores, dtype=np.float64)
    if not right or min(right) < 0 or max(right) >= len(values):
        problem = f"has the right candidates {list(right)[:5]} among {len(values)}"
        raise RequestError("ranking", problem, "Give at least 1, counted from 0")
    if np.isnan(values).any():
        raise RequestError(
            "ranking", f"has {int(np.isnan(values).sum())} scores that are no numbers", "Mend the model's scores"
        )
    order = sorted(set(right), key=lambda place: -values[place])
    return [int((values >= values[place]).sum()) for place in order]


def places_of(ranked: Sequence[str], right: Sequence[str]) -> list[float]:
    """The same for candidates already in order of rank, by name; one that is not in the ranking stands at infinity.

    Raises:
        RequestError: no right candidate.
    """
    if not right:
        raise RequestError("ranking", "has no right candidate", "Give at least 1")
    where = {name: float(place) for place, name in reversed(list(enumerate(ranked, 1)))}
    return sorted(where.get(name, math.inf) for name in dict.fromkeys(right))


def recall_at(found: Sequence[float], depth: int, *, share: bool = False) -> float:
    """1 when any of the right ones is among the first `depth`, else 0; or the share of them that is."""
    inside = sum(place <= depth for place in found)
    return inside / len(found) if share else float(inside > 0)


def reciprocal_rank(found: Sequence[float]) -> float:
    """One over the place of the first right one; the mean over queries is the MRR."""
    return 1 / min(found)


def average_precision(found: Sequence[float]) -> float:
    """The mean over the right ones of the precision at their place; the mean over queries is the mAP.

    Right ones of equal score, which share a place, all count there, as in scikit-learn's `average_precision_score`.
    """
    ordered = np.sort(np.asarray(found, dtype=np.float64))
    return float((np.searchsorted(ordered, ordered, side="right") / ordered).mean())


def ndcg(gains: ArrayLike, scores: ArrayLike, depth: int | None = None) -> float:
    """Discounted gain of the ranking by `scores` over the best there is (Järvelin and Kekäläinen 2002), as scikit-learn's
    `ndcg_score` counts it: gains as they are, candidates of equal score sharing the mean of their gains.

    Args:
        gains: what each candidate is worth, at least 0. depth: only the first count; None is all.

    Returns:
        0..1; 0 where nothing is worth anything.

    Raises:
        RequestError: gains and scores are not equally many, or a gain is below 0.
    """
    worth, values = np.asarray(gains, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if worth.shape != values.shape or worth.ndim != 1:
        raise RequestError("ndcg", f"got gains {worth.shape} and scores {values.shape}", "Give one of each a candidate")
    if len(worth) and worth.min() < 0:
        raise RequestError("ndcg", f"got a gain of {worth.min()}, below 0", "Give gains of at least 0")
    discounts = 1 / np.log2(np.arange(len(worth)) + 2.0)
    discounts[len(worth) if depth is None else depth :] = 0
    best = float((np.sort(worth)[::-1] * discounts).sum())
    if best == 0:
        return 0.0
    _, group, sizes = np.unique(-values, return_inverse=True, return_counts=True)
    shared = np.bincount(group, worth) / sizes
    ends = np.cumsum(sizes)
    weights = np.concatenate(([0.0], np.cumsum(discounts)))
    return float((shared * (weights[ends] - weights[ends - sizes])).sum() / best)


def ndcg_of(ranked: Sequence[str], gains: Mapping[str, float], depth: int | None = None) -> float:
    """The same for candidates already in order of rank, by name; those without a gain are worth nothing.

    The ideal ranking is of all candidates with a gain, in the ranking or not.
    """
    names = [*ranked, *(name for name in gains if name not in set(ranked))]
    return ndcg([gains.get(name, 0.0) for name in names], -np.arange(len(names), dtype=np.float64), depth)


median_rank = median
"""The middle of the first right ones' places: a measure for `estimate`, not a mean."""
