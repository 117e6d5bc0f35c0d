"""Fused projections: same numbers, same names, no second copy."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sensorium.nn.fused import PACKED_ROWS, Fused, fuse


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("rows", [1, 2, 32, 33])
def test_outputs_lie_side_by_side(bias: bool, packed: bool, rows: int) -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(16, width, bias=bias) for width in (8, 24)]
    x_BLD = torch.randn(rows, 1, 16)
    expected = torch.cat([layer(x_BLD) for layer in layers], dim=-1)
    fused = fuse(layers, packed)
    assert fused is not None
    assert (fused(x_BLD) - expected).abs().max() < 1e-6
    assert (torch.cat([layer(x_BLD) for layer in layers], dim=-1) - expected).abs().max() < 1e-6


def test_gradient_flows_through_to_the_input_even_when_packed() -> None:
    layer = nn.Linear(8, 4)
    fused, x_BLD = Fused([layer], packed=True), torch.randn(PACKED_ROWS[0], 8, requires_grad=True)
    fused(x_BLD).sum().backward()
    assert x_BLD.grad is not None
    assert (x_BLD.grad - layer.weight.sum(0)).abs().max() < 1e-6


def test_a_weight_written_in_place_is_written_in_both() -> None:
    layers = [nn.Linear(8, 4), nn.Linear(8, 2)]
    fused = fuse(layers)
    assert fused is not None
    with torch.no_grad():
        layers[1].weight.fill_(1.0)
    assert fused(torch.ones(1, 8))[0, 4:].tolist() == pytest.approx((8 + layers[1].bias).tolist())
    assert fused.weight.untyped_storage().nbytes() == 6 * 8 * 4


def test_an_embedding_serves_as_a_head() -> None:
    embedding, hidden_BD = nn.Embedding(20, 8), torch.randn(4, 8)
    head = Fused([embedding], packed=True)
    assert (head(hidden_BD) - hidden_BD @ embedding.weight.T).abs().max() < 1e-5


def test_only_plain_layers_of_one_kind_are_fused() -> None:
    assert fuse([nn.Linear(4, 4), nn.Linear(4, 4, bias=False)]) is None
    assert fuse([nn.Linear(4, 4), nn.Identity()]) is None


def test_other_dtypes_are_never_packed() -> None:
    fused = Fused([nn.Linear(8, 4).double()], packed=True)
    assert fused.packed is None
    assert fused(torch.ones(4, 8).double()).shape == (4, 4)


def test_a_deep_copy_is_not_fused() -> None:
    assert copy.deepcopy(Fused([nn.Linear(4, 4)])) is None
