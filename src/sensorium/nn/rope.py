"""Rotary position embedding (Su et al. 2021) and its stretched forms: linear, Llama 3's, YaRN."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Rope:
    """How positions turn queries and keys; the names are those of a Hugging Face `rope_scaling`.

    Args:
        theta: base of the wavelengths.
        kind: "default"; "linear" divides every frequency by `factor` (kaiokendev 2023); "llama3" only the slow ones, with a
            ramp between `low_freq_factor` and `high_freq_factor`; "yarn" by a ramp between `beta_slow` and `beta_fast` turns
            (Peng et al. 2023), with the cosines scaled by `attention_factor`.
        original_positions: context length before stretching, of llama3 and yarn.
        attention_factor: None is the paper's `0.1 ln(factor) + 1`, or the ratio of `mscale` and `mscale_all_dim` where both
            are set.
        truncate: yarn's ramp starts and ends at whole dimensions.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # where a checkpoint's config.json holds it

    theta: float = 10_000.0
    kind: Literal["default", "linear", "llama3", "yarn"] = "default"
    factor: float = 1.0
    original_positions: int = 0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None
    mscale: float | None = None
    mscale_all_dim: float | None = None
    truncate: bool = True


DEFAULT = Rope()
"""Plain rotary positions, base 10,000."""


class Turn(NamedTuple):
    """Cosines and signed sines of one call's positions, `(B or 1, L, 1, H)`; the first half of the sines is negated."""

    cos_BL1H: Tensor
    sin_BL1H: Tensor


def turn(rope: Rope, positions_BL: Tensor, head_dim: int, dtype: torch.dtype) -> Turn:
    """The tables for `positions_BL` (int64), computed in fp32, given in `dtype`."""
    frequencies, scale = _frequencies(rope, head_dim)
    angles_BL1H = positions_BL[:, :, None, None] * frequencies.to(positions_BL.device)
    sign = torch.ones(head_dim, device=positions_BL.device)
    sign[: head_dim // 2] = -1.0
    return Turn((angles_BL1H.cos() * scale).to(dtype), (angles_BL1H.sin() * (sign * scale)).to(dtype))


def rotate(x_BLNH: Tensor, by: Turn) -> Tensor:
    """Turn each pair (i, i + H/2) of every head by its position's angle."""
    swapped_BLNH = x_BLNH.roll(x_BLNH.shape[-1] // 2, dims=-1)
    return torch.addcmul(x_BLNH * by.cos_BL1H, swapped_BLNH, by.sin_BL1H)


@lru_cache(maxsize=64)
def _frequencies(rope: Rope, head_dim: int) -> tuple[Tensor, float]:
    """Angle a position for each of H dimensions, fp32 `(H,)`, and the factor on cosines and sines."""
    base_H2 = 1.0 / (rope.theta ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim))
    scale = 1.0
    if rope.kind == "linear":
        base_H2 = base_H2 / rope.factor
    elif rope.kind == "llama3":
        base_H2 = _llama3(rope, base_H2)
    elif rope.kind == "yarn":
        ramp_H2 = _yarn_ramp(rope, head_dim)
        base_H2 = base_H2 / rope.factor * ramp_H2 + base_H2 * (1 - ramp_H2)
        scale = _yarn_scale(rope)
    return torch.cat((base_H2, base_H2)), scale


def _llama3(rope: Rope, base_H2: Tensor) -> Tensor:
    turns_H2 = rope.original_positions * base_H2 / (2 * math.pi)  # whole turns within the original context
    keep_H2 = (turns_H2 - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor)
    keep_H2 = keep_H2.clamp(0, 1)
    return base_H2 * (keep_H2 + (1 - keep_H2) / rope.factor)


def _yarn_ramp(rope: Rope, head_dim: int) -> Tensor:
    """0 where a dimension keeps its frequency, 1 where it is divided by `factor`."""

    def dimension(turns: float) -> float:
        return head_dim * math.log(rope.original_positions / (turns * 2 * math.pi)) / (2 * math.log(rope.theta))

    low, high = dimension(rope.beta_fast), dimension(rope.beta_slow)
    if rope.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)
    width = high - low or 0.001
    return ((torch.arange(head_dim // 2, dtype=torch.float32) - low) / width).clamp(0, 1)


def _yarn_scale(rope: Rope) -> float:
    if rope.attention_factor is not None:
        return rope.attention_factor

    def scale(weight: float) -> float:
        return 0.1 * weight * math.log(rope.factor) + 1.0 if rope.factor > 1 else 1.0

    if rope.mscale and rope.mscale_all_dim:
        return scale(rope.mscale) / scale(rope.mscale_all_dim)
    return scale(1.0)
