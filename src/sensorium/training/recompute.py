"""Gradient checkpointing (Chen et al. 2016): blocks' activations are made again in the backward pass instead of being kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def blocks(model: nn.Module) -> list[nn.Module]:
    """The repeated blocks of its decoder and encoders: the members of its module lists, outermost."""
    found: list[nn.Module] = []
    inside: set[nn.Module] = set()
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and module not in inside:
            found += [block for block in module if block not in inside]
            inside |= {inner for block in module for inner in block.modules()}
    return found


@contextmanager
def recomputing(model: nn.Module) -> Iterator[None]:
    """Within it, each block keeps only its input; gradients are the same, dropout's random numbers too."""
    wrapped = blocks(model)
    for block in wrapped:
        block.forward = partial(_again, block.forward)
    try:
        yield
    finally:
        for block in wrapped:
            del block.__dict__["forward"]


def _again(forward: Callable[..., Any], *given: Any, **named: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*given, **named)
    return checkpoint(forward, *given, use_reentrant=False, **named)
