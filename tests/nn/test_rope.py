"""Rotary tables against the library's, kind by kind, and the property that they are for."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sensorium.nn.rope import Rope, rotate, turn

KINDS: list[tuple[Rope, dict[str, Any]]] = [
    (Rope(500.0), {"rope_type": "default"}),
    (Rope(1e4, "linear", factor=4.0), {"rope_type": "linear", "factor": 4.0}),
    (
        Rope(5e5, "llama3", factor=8.0, original_positions=64, low_freq_factor=1.0, high_freq_factor=4.0),
        {
            "rope_type": "llama3",
            "factor": 8.0,
            "original_max_position_embeddings": 64,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
        },
    ),
    (
        Rope(1e4, "yarn", factor=4.0, original_positions=64),
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
    ),
    (
        Rope(1e4, "yarn", factor=8.0, original_positions=32, attention_factor=0.7, beta_fast=16.0, beta_slow=2.0),
        {
            "rope_type": "yarn",
            "factor": 8.0,
            "original_max_position_embeddings": 32,
            "attention_factor": 0.7,
            "beta_fast": 16.0,
            "beta_slow": 2.0,
        },
    ),
    (
        Rope(1e4, "yarn", factor=8.0, original_positions=32, mscale=0.8, mscale_all_dim=0.5, truncate=False),
        {
            "rope_type": "yarn",
            "factor": 8.0,
            "original_max_position_embeddings": 32,
            "mscale": 0.8,
            "mscale_all_dim": 0.5,
            "truncate": False,
        },
    ),
]


@pytest.mark.parametrize(("rope", "scaling"), KINDS, ids=lambda value: str(value)[:40])
def test_tables_equal_the_librarys(rope: Rope, scaling: dict[str, Any]) -> None:
    import transformers
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    config = transformers.LlamaConfig(
        hidden_size=64,
        num_attention_heads=2,
        max_position_embeddings=512,
        rope_parameters={"rope_theta": rope.theta, **scaling},
    )
    positions_BL = torch.tensor([[0, 1, 2, 63, 64, 300], [5, 6, 7, 8, 9, 511]])
    cos_BLH, sin_BLH = LlamaRotaryEmbedding(config)(torch.zeros(1), positions_BL)
    ours = turn(rope, positions_BL, 32, torch.float32)
    assert (ours.cos_BL1H[:, :, 0] - cos_BLH).abs().max() < 1e-5
    assert (ours.sin_BL1H[:, :, 0, 16:] - sin_BLH[..., 16:]).abs().max() < 1e-5
    assert (ours.sin_BL1H[:, :, 0, :16] + sin_BLH[..., :16]).abs().max() < 1e-5


def test_scores_depend_on_the_distance_alone() -> None:
    torch.manual_seed(0)
    q_BLNH, k_BLNH = torch.randn(1, 1, 1, 16).double(), torch.randn(1, 1, 1, 16).double()

    def score(query_at: int, key_at: int) -> float:
        turned = (
            rotate(x, turn(Rope(100.0), torch.tensor([[at]]), 16, torch.float64))
            for x, at in ((q_BLNH, query_at), (k_BLNH, key_at))
        )
        first, second = turned
        return float((first * second).sum())

    assert score(9, 4) == pytest.approx(score(105, 100), abs=1e-4)
    assert score(9, 4) != pytest.approx(score(9, 5), abs=1e-4)


def test_position_zero_turns_nothing() -> None:
    x_BLNH = torch.randn(1, 1, 3, 8)
    assert rotate(x_BLNH, turn(Rope(), torch.zeros(1, 1, dtype=torch.long), 8, torch.float32)).equal(x_BLNH)
