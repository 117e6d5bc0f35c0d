"""Masked regions: which are hidden, and both losses against torch's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from sensorium.errors import RequestError
from sensorium.fusion.pairs import Pairs
from sensorium.objectives.masked_region import MaskedRegion, restore
from tests.objectives.joint_toys import pairs, toy


def test_every_picture_loses_a_region_and_padding_none() -> None:
    regions = pairs().regions.take([2] * 3000)
    masked_BG = MaskedRegion("features").hide(regions, 0)
    assert bool(masked_BG.any(1).all())
    assert float(masked_BG.sum(1).float().mean()) == pytest.approx(3 * 0.15 + 0.85**3, abs=0.05)
    short = pairs().regions.take([1] * 50)
    assert MaskedRegion("features", 0.9).hide(short, 0).sum(1).tolist() == [1] * 50
    assert torch.equal(MaskedRegion("features").hide(regions, 0), masked_BG)


def test_features_cost_their_squared_error() -> None:
    model, both = toy(), pairs()
    masked_BG = torch.tensor([[True, False, False], [True, False, False], [False, True, True]])
    loss = restore(model, both, masked_BG, "features")
    hidden_BGD = model(both, masked_BG).regions.x_BTD
    rebuilt_BGF = model.region_head.rebuild(hidden_BGD, model.embedding.features.weight)
    wanted = (rebuilt_BGF - both.regions.x_BGD)[masked_BG].square().sum()
    assert float(loss.total.detach()) == pytest.approx(float(wanted), rel=1e-5)
    assert loss.size == 4.0


def test_classes_cost_the_divergence_from_the_detector() -> None:
    model, both = toy(), pairs()
    masked_BG = torch.tensor([[False, True, False], [True, False, False], [True, False, False]])
    loss = restore(model, both, masked_BG, "classes")
    assert model.region_head.classes is not None
    assert both.regions.classes_BGC is not None
    logits_TC, wanted_TC = (
        model.region_head.classes(model(both, masked_BG).regions.x_BTD[masked_BG]),
        both.regions.classes_BGC[masked_BG],
    )
    wanted = (wanted_TC * (wanted_TC.log() - F.log_softmax(logits_TC, -1))).sum()
    assert float(loss.total.detach()) == pytest.approx(float(wanted), abs=1e-4)
    assert loss.terms["regions_right"][1] == 3.0


def test_what_is_hidden_cannot_be_copied() -> None:
    model, both = toy(), pairs()
    objective = MaskedRegion("classes")
    masked_BG = objective.hide(both.regions, 5)
    shifted_BGD = both.regions.x_BGD + 5.0 * masked_BG[..., None]
    shifted = Pairs(both.words, replace(both.regions, x_BGD=shifted_BGD))
    assert float(objective(model, both, 5).total.detach()) == float(objective(model, shifted, 5).total.detach())


def test_classes_that_are_not_there_are_asked_for() -> None:
    both = pairs()
    with pytest.raises(RequestError, match="cannot be classified: the regions have no classes"):
        MaskedRegion("classes")(toy(), Pairs(both.words, replace(both.regions, classes_BGC=None)), 0)
