"""Nearness by hand, and what it asks for."""

from __future__ import annotations

import math

import pytest
import torch

from sensorium.objectives.nearness import nearness


def test_two_codes_by_hand() -> None:
    loss = nearness(torch.tensor([[0.6, -0.6]]), torch.tensor([0]), smoothing=0.0, scale=2.0)
    assert float(loss.total) == pytest.approx(math.log(1 + math.exp(-2 * 2 * 0.6)) + 1 - 0.6, abs=1e-6)
    assert (loss.size, loss.terms["right"]) == (1, (1.0, 1))


def test_smoothing_does_not_hold_the_right_cosine_down() -> None:
    cosines = torch.zeros(1, 10, requires_grad=True)
    optimizer = torch.optim.SGD([cosines], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        nearness(cosines.clamp(-1, 1), torch.tensor([3])).total.backward()
        optimizer.step()
    assert float(cosines[0, 3].detach()) > 0.85
