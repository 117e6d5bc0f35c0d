"""Attention: the fused call, the open one and a plain formula agree."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sensorium.nn.attention import attend, attend_openly, bias_of, visible


def heads(dtype: torch.dtype = torch.float32, keys: int = 7) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    q_BNLH = torch.randn(2, 5, 6, 8, dtype=dtype).transpose(1, 2)  # as the decoder hands it over: not contiguous
    return q_BNLH, torch.randn(2, 2, keys, 8, dtype=dtype), torch.randn(2, 2, keys, 8, dtype=dtype)


def by_hand(q_BNLH: Tensor, k_BKSH: Tensor, v_BKSH: Tensor, seen_BLS: Tensor, scale: float) -> Tensor:
    out_BNLH = torch.zeros_like(q_BNLH)
    for b in range(2):
        for n in range(6):
            scores_LS = q_BNLH[b, n] @ k_BKSH[b, n // 3].T * scale
            out_BNLH[b, n] = scores_LS.masked_fill(~seen_BLS[b], -torch.inf).softmax(-1) @ v_BKSH[b, n // 3]
    return out_BNLH


@pytest.mark.parametrize("scale", [None, 0.2])
def test_shared_heads_with_a_mask(scale: float | None) -> None:
    q, k, v = heads()
    seen_BLS = torch.rand(2, 5, 7) > 0.4
    seen_BLS[..., 0] = True
    expected = by_hand(q, k, v, seen_BLS, scale or 8**-0.5)
    bias = bias_of(seen_BLS, q.dtype)
    assert (attend(q, k, v, bias_BNLS=bias, scale=scale) - expected).abs().max() < 1e-5
    out, weights = attend_openly(q, k, v, bias_BNLS=bias, scale=scale)
    assert (out - expected).abs().max() < 1e-5
    assert weights.masked_select(~seen_BLS[:, None]).abs().max() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_causal_in_both_dtypes_with_and_without_gradient(dtype: torch.dtype) -> None:
    q, k, v = heads(dtype, keys=5)
    seen_BLS = torch.ones(2, 5, 5, dtype=torch.bool).tril()
    expected = by_hand(q.float(), k.float(), v.float(), seen_BLS, 8**-0.5)
    bound = 1e-5 if dtype == torch.float32 else 0.03
    assert (attend(q, k, v, causal=True) - expected).abs().max() < bound
    learning = attend(q.clone().requires_grad_(), k, v, causal=True)
    assert (learning - expected).abs().max() < bound


def test_softcap_squeezes_the_scores() -> None:
    q, k, v = heads()
    _, weights = attend_openly(q * 100, k, v, softcap=1.0)
    assert (weights.amax(-1) / weights.amin(-1)).max() <= torch.e**2 + 1e-3
    _, free = attend_openly(q * 100, k, v)
    assert (free.amax(-1) / free.amin(-1)).max() > 1e6


def test_a_row_that_sees_nothing_stays_finite() -> None:
    q, k, v = heads()
    bias = bias_of(torch.zeros(2, 5, 7, dtype=torch.bool), q.dtype)
    assert attend(q, k, v, bias_BNLS=bias).isfinite().all()


def test_who_sees_whom() -> None:
    positions_BL = torch.tensor([[0, 1], [2, 3]])
    full = visible(positions_BL, 4).int().tolist()
    assert full == [[[1, 0, 0, 0], [1, 1, 0, 0]], [[1, 1, 1, 0], [1, 1, 1, 1]]]
    near = visible(positions_BL, 4, window=2).int().tolist()
    assert near == [[[1, 0, 0, 0], [1, 1, 0, 0]], [[0, 1, 1, 0], [0, 0, 1, 1]]]
