"""What a confidence is worth: calibration error, Brier score, AUROC and the risk that is left when the unsure are not answered.

All work on rows `(n, 2)` of confidence and whether the answer is right (0..1), so that `estimate` can draw them anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensorium.errors import RequestError
from sensorium.estimate import Rows

BINS = 15


def confidence_rows(confidences: Sequence[float], right: Sequence[float]) -> Rows:
    """The two as columns.

    Raises:
        RequestError: not equally many, or one out of 0..1.
    """
    if len(confidences) != len(right):
        raise RequestError("confidence", f"got {len(confidences)} for {len(right)} answers", "Give one for each answer")
    rows = np.array([confidences, right], dtype=np.float64).T.reshape(-1, 2)
    if not ((rows >= 0) & (rows <= 1)).all():
        raise RequestError("confidence", "holds a value out of 0..1", "Give probabilities, and 0 or 1 for wrong or right")
    return rows


def calibration_error(bins: int = BINS) -> Callable[[Rows], float]:
    """Expected calibration error (Naeini et al. 2015): over bins of equal width, how far the mean confidence is from the share
    that is right, weighted by size. A confidence on an edge belongs to the bin above it, 1 to the last, as in torchmetrics.

    The value of few answers is too high even for a perfect model, since chance alone moves the shares; the interval does not
    mend that.
    """
    assert bins >= 1
    return partial(_calibration_error, bins)


def _calibration_error(bins: int, rows: Rows) -> float:
    if not len(rows):
        return math.nan
    _, sure, right = _binned(bins, rows)
    return float(np.abs(sure - right).sum() / len(rows))


def reliability(rows: Rows, bins: int = BINS) -> list[tuple[int, float, float]]:
    """Of each bin that holds an answer: how many, their mean confidence and the share that is right."""
    sizes, sure, right = _binned(bins, rows)
    return [(int(n), float(one / n), float(two / n)) for n, one, two in zip(sizes, sure, right, strict=True) if n]


def _binned(bins: int, rows: Rows) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Of each bin the size, the sum of confidences and the sum of right ones."""
    edges = np.linspace(0, 1, bins + 1)
    place = np.minimum(np.searchsorted(edges, rows[:, 0], side="right") - 1, bins - 1)
    sizes = np.bincount(place, minlength=bins)
    return sizes, np.bincount(place, rows[:, 0], bins), np.bincount(place, rows[:, 1], bins)


def brier(rows: Rows) -> float:
    """The mean squared distance of confidence from truth (Brier 1950); 0 is best, 0.25 is what always 0.5 earns."""
    return float(((rows[:, 0] - rows[:, 1]) ** 2).mean()) if len(rows) else math.nan


def auroc(rows: Rows) -> float:
    """How often a right answer is surer than a wrong one, ties counting half (Hanley and McNeil 1982); nan without both."""
    right = rows[:, 1] > 0.5
    ups, downs = int(right.sum()), int((~right).sum())
    if not ups or not downs:
        return math.nan
    _, group, sizes = np.unique(rows[:, 0], return_inverse=True, return_counts=True)
    ranks = np.cumsum(sizes) - (sizes - 1) / 2
    return float((ranks[group[right]].sum() - ups * (ups + 1) / 2) / (ups * downs))


def risk_coverage(rows: Rows) -> tuple[Rows, Rows]:
    """The curve: answering only the surest 1, 2, ... n of the answers, the share answered and the share of those that is wrong.

    Answers of equal confidence cannot be told apart: each counts as wrong as they are on the average.
    """
    _, group, sizes = np.unique(-rows[:, 0], return_inverse=True, return_counts=True)
    wrong = np.repeat(np.bincount(group, 1 - rows[:, 1]) / sizes, sizes)
    answered = np.arange(1, len(rows) + 1)
    return answered / max(len(rows), 1), np.cumsum(wrong) / answered


def aurc(rows: Rows) -> float:
    """The mean risk over all coverages (Geifman et al. 2019, arXiv:1805.08206): lower is better."""
    return float(risk_coverage(rows)[1].mean()) if len(rows) else math.nan


def risk_at(coverage: float) -> Callable[[Rows], float]:
    """The share wrong among the surest `coverage` of the answers, rounded up to whole answers."""
    assert 0 < coverage <= 1
    return partial(_risk_at, coverage)


def _risk_at(coverage: float, rows: Rows) -> float:
    return float(risk_coverage(rows)[1][math.ceil(round(coverage * len(rows), 9)) - 1]) if len(rows) else math.nan
