"""Answers from a list: the loss against torch's, and answers that are not in it."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sensorium.errors import RequestError
from sensorium.objectives.answering import answering, places
from tests.objectives.joint_toys import pairs, toy


def test_the_loss_is_the_cross_entropy_over_the_list() -> None:
    model, both = toy(), pairs()
    loss = answering(model, both, ["no", "yes", "no"])
    assert model.answer is not None
    logits_BA = model.answer(model(both).pooled_BD)
    wanted = F.cross_entropy(logits_BA, torch.tensor([1, 0, 1]), reduction="sum")
    assert float(loss.total.detach()) == pytest.approx(float(wanted), abs=1e-5)
    assert loss.terms["answers_right"] == (float((logits_BA.argmax(-1) == torch.tensor([1, 0, 1])).sum()), 3.0)


def test_an_answer_outside_the_list_is_named() -> None:
    with pytest.raises(RequestError, match="answer 'maybe': is not among the 2 answers"):
        places(toy(), ["yes", "maybe"])
    model = toy()
    model.answer = None
    with pytest.raises(RequestError, match="not possible with a model without answers"):
        places(model, ["yes"])
