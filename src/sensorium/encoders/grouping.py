"""Pictures of unequal sizes through one network: batched by size, at most so many at once, padded afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sensorium.batch import Features
from sensorium.errors import RequestError
from sensorium.nn.trace import Trace

AT_ONCE = 16
"""Pictures in one pass: larger batches are no faster on a CPU, and memory stays bounded."""


def encode_grouped(media: Sequence[Tensor], encode: Callable[[Tensor, Trace], Tensor], trace: Trace) -> Features:
    """Each `(C, H, W)` through `encode`, `(P, C, H, W)` to `(P, T, D)`; rows in the order given, padded on the right.

    Raises:
        RequestError: intermediates are asked for of pictures of several sizes, which no one tensor could hold.
    """
    assert media, "no pictures to encode"
    groups: dict[tuple[int, ...], list[int]] = {}
    for row, tensor in enumerate(media):
        groups.setdefault(tuple(tensor.shape), []).append(row)
    passes = [rows[start : start + AT_ONCE] for rows in groups.values() for start in range(0, len(rows), AT_ONCE)]
    traces = [Trace(trace.wanted) for _ in passes]
    results = [encode(torch.stack([media[row] for row in rows]), kept) for rows, kept in zip(passes, traces, strict=True)]
    for name in traces[0].found:
        if len(groups) > 1:
            raise RequestError(f"trace {name}", f"was asked of pictures of {len(groups)} sizes", "Ask for one size at a time")
        trace(name, torch.cat([kept.found[name] for kept in traces]))
    first = results[0]
    if len(groups) == 1:
        x_PTD = torch.cat(results) if len(results) > 1 else first
        return Features(x_PTD, torch.ones(x_PTD.shape[:2], dtype=torch.bool, device=x_PTD.device))
    longest = max(result.shape[1] for result in results)
    x_PTD = first.new_zeros(len(media), longest, first.shape[2])
    valid_PT = torch.zeros(len(media), longest, dtype=torch.bool, device=first.device)
    for rows, result in zip(passes, results, strict=True):
        x_PTD[rows, : result.shape[1]] = result
        valid_PT[rows, : result.shape[1]] = True
    return Features(x_PTD, valid_PT)
