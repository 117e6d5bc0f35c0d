"""The gated MLP and its fused form."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sensorium.nn.mlp import ACTIVATIONS, GatedMlp


def test_swiglu_by_hand() -> None:
    torch.manual_seed(0)
    mlp, x_BLD = GatedMlp(6, 10, "silu"), torch.randn(2, 3, 6)
    weights = mlp.state_dict()
    inner_BLE = F.silu(x_BLD @ weights["gate_proj.weight"].T) * (x_BLD @ weights["up_proj.weight"].T)
    assert (mlp(x_BLD) - inner_BLE @ weights["down_proj.weight"].T).abs().max() < 1e-6


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("packed", [False, True])
def test_fused_equals_one_by_one(activation: str, packed: bool) -> None:
    torch.manual_seed(0)
    mlp = GatedMlp(16, 32, activation)
    for rows in (1, 4, 40):
        x_BLD = torch.randn(rows, 1, 16)
        mlp.unfuse()
        expected_BLD = mlp(x_BLD)
        mlp.fuse(packed)
        assert mlp.gate_up is not None
        assert (mlp(x_BLD) - expected_BLD).abs().max() < 1e-6


def test_the_activations_differ() -> None:
    x = torch.linspace(-3, 3, 50)
    outs = [activate(x) for activate in ACTIVATIONS.values()]
    assert all((one - other).abs().max() > 1e-5 for i, one in enumerate(outs) for other in outs[:i])
