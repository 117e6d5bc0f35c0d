"""Rows of all processes seen by each, with gradients: what a loss needs that compares the whole of a batch that they share."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


def gathered(x_PD: Tensor, rank: int, size: int) -> tuple[Tensor, slice]:
    """The rows of all processes in their order, `(all, D)` in fp32, and which of them are this one's.

    A gradient comes back as its sum over the processes: it is that of the sum of their losses.

    Args:
        rank, size: this process's number, and how many there are.
    """
    counts = torch.zeros(size, dtype=torch.int64)
    counts[rank] = len(x_PD)
    dist.all_reduce(counts)
    start = int(counts[:rank].sum())
    mine = slice(start, start + len(x_PD))
    all_PD: Tensor = _Gathered.apply(x_PD.float(), int(counts.sum()), mine)  # type: ignore[no-untyped-call]
    return all_PD, mine


class _Gathered(torch.autograd.Function):
    """A sum with zeros in the places of the others, since gloo gathers only what is equally long everywhere."""

    @staticmethod
    def forward(ctx: Any, x_PD: Tensor, total: int, mine: slice) -> Tensor:
        ctx.mine = mine
        all_PD = x_PD.new_zeros(total, *x_PD.shape[1:])
        all_PD[mine] = x_PD
        dist.all_reduce(all_PD)
        return all_PD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        summed_PD = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(summed_PD)
        return summed_PD[ctx.mine], None, None
