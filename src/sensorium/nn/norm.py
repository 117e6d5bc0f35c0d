"""Root-mean-square layer normalisation (Zhang & Sennrich 2019), computed in fp32 whatever the dtype of the weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RmsNorm(nn.Module):
    """`x / rms(x) * weight`, in Llama's form or in Gemma's.

    Args:
        dim: width of the last axis.
        eps: added to the mean square.
        offset: added to the weight; Gemma stores `weight - 1` (offset 1) and multiplies before it leaves fp32.
    """

    def __init__(self, dim: int, eps: float, offset: float = 0.0) -> None:
        super().__init__()
        self.eps, self.offset = eps, offset
        self.weight = nn.Parameter(torch.full((dim,), 1.0 - offset))

    def forward(self, x_D: Tensor) -> Tensor:
        """`(..., dim)` to the same shape and dtype."""
        if not self.offset:
            return F.rms_norm(x_D, self.weight.shape, self.weight, self.eps)
        scaled = F.rms_norm(x_D.float(), self.weight.shape, self.weight.float() + self.offset, self.eps)
        return scaled.type_as(x_D)
