"""Scaled dot-product attention with shared key-value heads (GQA), one fused call or step by step when a trace asks for it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def attend(
    q_BNLH: Tensor,
    k_BKSH: Tensor,
    v_BKSH: Tensor,
    *,
    bias_BNLS: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """`softmax(q k' * scale + bias) v`, as `(B, N, L, H)`.

    Args:
        q_BNLH, k_BKSH, v_BKSH: N is a multiple of K; each key-value head serves N/K query heads.
        bias_BNLS: added to the scores, broadcastable; see `bias_of`.
        causal: query l sees keys 0..l (without bias, L = S).
        scale: 1/sqrt(H) when None.
    """
    if q_BNLH.dtype == torch.bfloat16 and q_BNLH.device.type == "cpu" and q_BNLH.requires_grad:
        # torch's fused backward is three times slower than plain products here
        if causal:
            order_1L = torch.arange(q_BNLH.shape[2])[None]
            bias_BNLS = bias_of(visible(order_1L, k_BKSH.shape[2]), q_BNLH.dtype)
        return attend_openly(q_BNLH, k_BKSH, v_BKSH, bias_BNLS=bias_BNLS, scale=scale)[0]
    return F.scaled_dot_product_attention(
        q_BNLH,
        k_BKSH,
        v_BKSH,
        attn_mask=bias_BNLS,
        is_causal=causal,
        scale=scale,
        enable_gqa=q_BNLH.shape[1] != k_BKSH.shape[1],
    )


def attend_documents(
    q_BNLH: Tensor,
    k_BKLH: Tensor,
    v_BKLH: Tensor,
    lengths: Sequence[int],
    *,
    window: int | None = None,
    scale: float | None = None,
    softcap: float | None = None,
) -> Tensor:
    """Causal attention within each of the documents that lie end to end in L, one after another: none sees another.

    Args:
        lengths: of the documents; their sum is L.
        window: see `visible`. softcap: see `attend_openly`.
    """
    outs = []
    for q, k, v in zip(*(torch.split(x, list(lengths), dim=2) for x in (q_BNLH, k_BKLH, v_BKLH)), strict=True):
        count = q.shape[2]
        if softcap is None and (window is None or window >= count):
            outs.append(attend(q, k, v, causal=True, scale=scale))
            continue
        bias = bias_of(visible(torch.arange(count, device=q.device)[None], count, window), q.dtype)
        if softcap is None:
            outs.append(attend(q, k, v, bias_BNLS=bias, scale=scale))
        else:
            outs.append(attend_openly(q, k, v, bias_BNLS=bias, scale=scale, softcap=softcap)[0])
    return torch.cat(outs, dim=2)


def attend_openly(
    q_BNLH: Tensor,
    k_BKSH: Tensor,
    v_BKSH: Tensor,
    *,
    bias_BNLS: Tensor | None = None,
    scale: float | None = None,
    softcap: float | None = None,
) -> tuple[Tensor, Tensor]:
    """The same result as `attend`, with the probabilities `(B, N, L, S)` beside it; slower.

    Args:
        softcap: scores are squeezed to +-softcap by a tanh before the bias (Gemma 2).
    """
    rows, heads, count, _ = q_BNLH.shape
    shared, keys = k_BKSH.shape[1:3]
    q_BKGH = q_BNLH.reshape(rows, shared, -1, q_BNLH.shape[3])  # the N/K heads of one key head, and their queries
    scores_BKGS = (q_BKGH * (q_BNLH.shape[3] ** -0.5 if scale is None else scale)) @ k_BKSH.transpose(2, 3)
    scores_BNLS = scores_BKGS.view(rows, heads, count, keys)
    if softcap is not None:
        scores_BNLS = (scores_BNLS / softcap).tanh() * softcap
    if bias_BNLS is not None:
        scores_BNLS = scores_BNLS + bias_BNLS
    weights_BNLS = scores_BNLS.softmax(-1)
    out_BKGH = weights_BNLS.view(scores_BKGS.shape) @ v_BKSH
    return out_BKGH.view(q_BNLH.shape), weights_BNLS


def visible(positions_BL: Tensor, keys: int, window: int | None = None) -> Tensor:
    """Which of the keys 0..`keys`-1 a query at each position sees, bool `(B, L, S)`: itself and what came before, at most
    `window` keys in all."""
    key_S = torch.arange(keys, device=positions_BL.device)
    ahead_BLS = key_S - positions_BL[:, :, None]
    seen_BLS = ahead_BLS <= 0
    return seen_BLS if window is None else seen_BLS & (ahead_BLS > -window)


def bias_of(seen_BLS: Tensor, dtype: torch.dtype) -> Tensor:
    """A boolean mask (True is seen) as a bias on the scores, `(B, 1, L, S)`: 0 or the dtype's lowest number."""
    bias_BLS = torch.zeros(seen_BLS.shape, dtype=dtype, device=seen_BLS.device)
    return bias_BLS.masked_fill_(~seen_BLS, torch.finfo(dtype).min)[:, None]
