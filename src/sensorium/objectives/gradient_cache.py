"""Gradient caching (Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup").

A contrastive loss needs the vectors of the whole batch at once, but not the activations that made them. The vectors are made
chunk by chunk and their activations thrown away; the loss is taken over all vectors; then each chunk is made again and its
part of the gradient goes through it. The gradient is that of the whole batch; the cost is a second forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

Item = TypeVar("Item")


def in_chunks(encode: Callable[[Sequence[Item]], Tensor], items: Sequence[Item], chunk: int) -> Tensor:
    """Vectors `(P, D)` of all items; whatever loss is made of them, its backward pass holds one chunk's activations at a time.

    Args:
        encode: items to vectors, row for row, each row by itself (no batch norm in training, which sees its neighbours).
        items: a sequence, or a tensor whose first axis counts them.
        chunk: how many items at once. Dropout's random numbers are the same in both passes.
    """
    assert chunk > 0, "a chunk holds something"
    if not torch.is_grad_enabled():
        return torch.cat([encode(some) for some in _cut(items, chunk)])
    return torch.cat([_twice(encode, some) for some in _cut(items, chunk)])


def _twice(encode: Callable[[Sequence[Item]], Tensor], items: Sequence[Item]) -> Tensor:
    """`encode`, its activations made again when the gradient arrives."""
    vectors_PD: Any = checkpoint(encode, items, use_reentrant=False, preserve_rng_state=True)
    assert isinstance(vectors_PD, Tensor)
    return vectors_PD


def _cut(items: Sequence[Item], chunk: int) -> list[Sequence[Item]]:
    return [items[start : start + chunk] for start in range(0, len(items), chunk)]
