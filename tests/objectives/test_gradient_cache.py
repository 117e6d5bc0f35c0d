"""Gradients in chunks are those of the whole batch, and only one chunk's activations are alive at a time."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.objectives.contrastive import Contrast
from sensorium.objectives.gradient_cache import in_chunks


class Tower(nn.Module):
    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 32), nn.GELU(), nn.Dropout(dropout), nn.Linear(32, 8))
        self.seen: list[int] = []

    def forward(self, x_PD: Tensor) -> Tensor:
        self.seen.append(len(x_PD))
        return F.normalize(self.body(x_PD), dim=-1)


def gradients(chunk: int | None, form: str = "softmax") -> tuple[list[Tensor], list[int]]:
    torch.manual_seed(0)
    images, texts, objective = Tower().double(), Tower().double(), Contrast(form).double()  # type: ignore[arg-type]
    x_PD, y_PD = torch.randn(2, 22, 5, dtype=torch.float64)
    if chunk is None:
        loss = objective(images(x_PD), texts(y_PD))
    else:
        loss = objective(in_chunks(images, x_PD, chunk), in_chunks(texts, y_PD, chunk))
    parameters = [*images.parameters(), *texts.parameters(), *objective.parameters()]
    return list(torch.autograd.grad(loss.total, parameters)), images.seen


@pytest.mark.parametrize("form", ["softmax", "sigmoid"])
@pytest.mark.parametrize("chunk", [1, 4, 22, 100])
def test_chunks_give_the_gradient_of_the_whole_batch(form: str, chunk: int) -> None:
    whole, _ = gradients(None, form)
    parts, seen = gradients(chunk, form)
    assert max(seen) == min(chunk, 22)
    assert all(float((one - other).abs().max()) < 1e-6 for one, other in zip(whole, parts, strict=True))
    assert any(float(one.abs().max()) > 1e-3 for one in whole)


def test_dropout_draws_the_same_in_both_passes() -> None:
    torch.manual_seed(0)
    tower, x_PD = Tower(0.5).double(), torch.randn(22, 5, dtype=torch.float64)
    grads = []
    for chunked in (False, True):
        torch.manual_seed(1)
        out = in_chunks(tower, x_PD, 22) if chunked else tower(x_PD)
        torch.manual_seed(7)  # the second pass must not go on from here
        grads.append(torch.autograd.grad(out.pow(3).sum(), list(tower.parameters())))
    assert all(torch.equal(one, other) for one, other in zip(*grads, strict=True))


def test_no_more_than_one_chunk_of_activations_is_alive() -> None:
    alive: list[weakref.ref[Any]] = []
    most = 0

    def encode(x_PD: Tensor) -> Tensor:
        nonlocal most
        wide_PD = (x_PD @ weight).sigmoid()
        alive.append(weakref.ref(wide_PD))
        most = max(most, sum(len(kept) for ref in alive if (kept := ref()) is not None))
        return (wide_PD * wide_PD).sum(1, keepdim=True)

    weight = torch.randn(3, 64, requires_grad=True)
    in_chunks(encode, torch.randn(40, 3), 8).square().sum().backward()
    assert len(alive) == 10
    assert most <= 8
    assert weight.grad is not None


def test_without_gradients_nothing_is_made_twice() -> None:
    tower = Tower()
    with torch.no_grad():
        assert in_chunks(tower, torch.randn(10, 5), 4).shape == (10, 8)
    assert tower.seen == [4, 4, 2]
