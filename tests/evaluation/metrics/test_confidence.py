"""Confidence against torchmetrics and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss, roc_auc_score
from torchmetrics.functional.classification import binary_calibration_error

from sensorium.errors import RequestError
from sensorium.estimate import estimate
from sensorium.evaluation.metrics.confidence import (
    aurc,
    auroc,
    brier,
    calibration_error,
    confidence_rows,
    reliability,
    risk_at,
    risk_coverage,
)


def rows(seed: int, count: int = 200, *, coarse: bool = False) -> np.ndarray:
    chance = np.random.default_rng(seed)
    sure = chance.integers(0, 10, count) / 10 if coarse else chance.random(count)
    return confidence_rows(sure.tolist(), (chance.random(count) < sure).astype(float).tolist())


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_the_calibration_error_is_torchmetrics(bins: int) -> None:
    for seed in range(5):
        some = rows(seed).astype(np.float32).astype(np.float64)
        wanted = binary_calibration_error(torch.tensor(some[:, 0]), torch.tensor(some[:, 1]).int(), n_bins=bins)
        assert calibration_error(bins)(some) == pytest.approx(float(wanted), abs=1e-6)


def test_calibration_by_hand_and_at_the_edges() -> None:
    some = confidence_rows([0.0, 0.5, 1.0, 1.0], [0, 1, 1, 0])
    assert calibration_error(2)(some) == pytest.approx(abs(2.5 - 2) / 4 + 0)
    assert reliability(some, 2) == [(1, 0.0, 0.0), (3, pytest.approx(2.5 / 3), pytest.approx(2 / 3))]
    assert math.isnan(calibration_error()(confidence_rows([], [])))


def test_brier_and_auroc_are_scikit_learns() -> None:
    for seed in range(5):
        for coarse in (False, True):
            some = rows(seed, coarse=coarse)
            assert brier(some) == pytest.approx(brier_score_loss(some[:, 1], some[:, 0]), abs=1e-12)
            assert auroc(some) == pytest.approx(roc_auc_score(some[:, 1], some[:, 0]), abs=1e-12)


def test_auroc_needs_both_kinds() -> None:
    assert math.isnan(auroc(confidence_rows([0.5, 0.6], [1, 1])))
    assert auroc(confidence_rows([0.5, 0.5], [1, 0])) == 0.5


def test_the_risk_falls_when_the_unsure_are_left_out() -> None:
    some = confidence_rows([0.9, 0.8, 0.3, 0.1], [1, 1, 0, 1])
    coverage, risk = risk_coverage(some)
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert risk.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 4])
    assert aurc(some) == pytest.approx((1 / 3 + 1 / 4) / 4)
    assert risk_at(0.5)(some) == 0.0
    assert risk_at(0.51)(some) == pytest.approx(1 / 3)


def test_answers_as_sure_as_one_another_have_no_order() -> None:
    some = confidence_rows([0.5, 0.5, 0.5, 0.5], [1, 0, 1, 0])
    assert risk_coverage(some)[1].tolist() == [0.5] * 4
    assert aurc(some[[1, 3, 0, 2]]) == aurc(some) == 0.5
    assert math.isnan(aurc(confidence_rows([], [])))
    assert math.isnan(risk_at(1.0)(confidence_rows([], [])))


@pytest.mark.parametrize("measure", [calibration_error(), brier, auroc, aurc, risk_at(0.8)])
def test_each_can_be_estimated(measure: object) -> None:
    assert callable(measure)
    found = estimate(rows(0), measure, rounds=200)
    assert found.low <= found.value <= found.high
    assert found.high > found.low


def test_what_is_no_confidence_is_named() -> None:
    with pytest.raises(RequestError, match=r"confidence: got 1 for 2 answers\. Give one for each answer"):
        confidence_rows([0.5], [1, 0])
    for bad in (1.5, -0.1, float("nan")):
        with pytest.raises(RequestError, match=r"holds a value out of 0\.\.1"):
            confidence_rows([bad], [1])
