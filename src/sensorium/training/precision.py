"""Which number format this machine multiplies matrices in faster: measured, since it differs by processor."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch

Format = Literal["fp32", "bf16"]
Precision = Literal["auto"] | Format


def chosen(precision: Precision) -> Format:
    """The format of a run's matrix products; `auto` measures. A run keeps it when it is resumed."""
    if precision != "auto":
        return precision
    return "bf16" if fast_dtype() is torch.bfloat16 else "fp32"


def casting(precision: Format) -> AbstractContextManager[Any]:
    """Autocast around a forward pass: products in bf16, weights and everything delicate in fp32."""
    return torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext()


def fast_dtype(size: int = 768, seconds: float = 0.2) -> torch.dtype:
    """`torch.bfloat16` where its matrix products take less than two thirds of the time of fp32's, otherwise `torch.float32`."""
    rates = {dtype: _products(dtype, size, seconds) for dtype in (torch.float32, torch.bfloat16)}
    return torch.bfloat16 if rates[torch.bfloat16] > 1.5 * rates[torch.float32] else torch.float32


def _products(dtype: torch.dtype, size: int, seconds: float) -> float:
    """Matrix products a second."""
    x, y = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    x @ y
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        x @ y
        count += 1
    return count / (time.perf_counter() - began)
