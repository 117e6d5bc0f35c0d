"""Joint pretraining: the weighted sum of its terms, which can be left out, and whose similarities find wrong partners."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sensorium.batch import Features
from sensorium.fusion.pairs import Pairs
from sensorium.objectives.masked_language import MaskedLanguage
from sensorium.objectives.masked_region import MaskedRegion
from sensorium.objectives.pretraining import Glance, Pretraining, Shown, Weights
from tests.objectives.joint_toys import TEXTS, pairs, toy


def test_the_total_is_the_weighted_sum_of_the_means() -> None:
    model, both = toy(), pairs()
    weights = Weights(masked_language=2.0, masked_region=0.5, matching=0.0, contrast=0.0)
    loss = Pretraining(16, weights, "classes").terms(model, both, list(TEXTS), 5)
    words, regions = MaskedLanguage(0.15)(model, both, 5), MaskedRegion("classes", 0.15)(model, both, 5)
    wanted = 3 * (2.0 * words.total / words.size + 0.5 * regions.total / regions.size)
    assert float(loss.total.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)
    assert loss.size == 3.0
    assert loss.terms == {"loss": (pytest.approx(float(wanted.detach()), rel=1e-5), 3.0), **words.terms, **regions.terms}


def test_all_terms_reach_all_parts() -> None:
    model, objective = toy(), Pretraining(16, Weights(), "classes")
    loss = objective.terms(model, pairs(), list(TEXTS), 0)
    assert {"masked_language", "masked_region_classes", "matching", "word_region", "contrast"} <= loss.terms.keys()
    loss.total.backward()
    without = {name for name, parameter in (*model.named_parameters(), *objective.named_parameters()) if parameter.grad is None}
    assert {name.split(".")[0] for name in without} <= {"answer", "region_head"}
    assert all(name.startswith(("answer.", "region_head.features", "region_head.bias")) for name in without)


def test_equal_texts_are_never_wrong_partners() -> None:
    model, both = toy(), pairs().take([0, 0, 1], [0, 1, 2])
    objective = Pretraining(16, Weights(masked_language=0, masked_region=0, word_region=0, contrast=0))
    losses = {objective.terms(model, both, ["a", "a", "b"], seed).terms["matching"][0] for seed in range(12)}
    assert len(losses) == 2  # text 2 draws picture 0 or 1; every other choice is between equal texts, or none


def test_a_glance_is_of_what_is_there() -> None:
    glance = Glance(4)
    x_BTD = torch.randn(2, 3, 4)
    side = Features(x_BTD, torch.tensor([[True, True, False], [True, True, True]]))
    other = Features(torch.cat([x_BTD[:, :2], torch.full((2, 1, 4), 9.0)], 1), side.valid_BT)
    assert torch.allclose(glance(side, side)[0][0], glance(other, other)[0][0])
    torch.testing.assert_close(glance(side, side)[1].norm(dim=-1), torch.ones(2))


def test_masked_features_are_a_target_that_may_be_chosen() -> None:
    both = pairs()
    plain = Pairs(both.words, replace(both.regions, classes_BGC=None))
    loss = Pretraining(16, Weights(contrast=0.0)).terms(toy(), plain, list(TEXTS), 0)
    assert "masked_region_features" in loss.terms


def test_an_evaluation_hides_the_same_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model, objective = toy(), Pretraining(16, Weights(), "classes")
    both = pairs()
    monkeypatch.setattr(model, "look", lambda views: both.regions)
    batch = Shown(both.words, [], list(TEXTS))
    assert len({float(objective(model, batch).total.detach()) for _ in range(4)}) > 1
    objective.eval()
    assert len({float(objective(model, batch).total.detach()) for _ in range(4)}) == 1
