"""Gradients of a batch in parts: one after another (accumulation), or side by side, a thread each, which a CPU does better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sensorium.objectives.loss import Loss


class Sums(NamedTuple):
    """Of all parts of a batch: what to divide by, and each term with its own count."""

    size: float
    terms: dict[str, tuple[float, float]]


class Shards:
    """Computes losses and adds up their gradients.

    Args:
        workers: threads. With one, everything stays in the caller's thread and is reproducible to the bit; with more, the
            random numbers of dropout fall to the threads in no fixed order.
    """

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self._pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) if workers > 1 else None

    def backward(self, losses: Sequence[Callable[[], Loss]], parameters: Sequence[nn.Parameter]) -> Sums:
        """Sets `grad` of the parameters to the gradient of the sum of all totals; None where no total depends on one.

        The caller divides by `size`, so that a token counts the same in whichever part of a batch it stands.
        """
        for parameter in parameters:
            parameter.grad = None
        done = self._beside(losses, parameters) if self._pool is not None else [_behind(loss) for loss in losses]
        names = sorted({name for loss in done for name in loss.terms})
        return Sums(sum(loss.size for loss in done), {name: _sum(done, name) for name in names})

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def _beside(self, losses: Sequence[Callable[[], Loss]], parameters: Sequence[nn.Parameter]) -> list[Loss]:
        """Each loss in a thread of its own, with gradients of its own."""
        learning = [parameter for parameter in parameters if parameter.requires_grad]

        def one(loss: Callable[[], Loss]) -> tuple[Loss, Sequence[Tensor | None]]:
            value = loss()
            if not value.total.requires_grad:
                return value, [None] * len(learning)
            return value._replace(total=value.total.detach()), torch.autograd.grad(value.total, learning, allow_unused=True)

        assert self._pool is not None
        done = list(self._pool.map(one, losses))
        for place, parameter in enumerate(learning):
            parts = [gradient for _, gradients in done if (gradient := gradients[place]) is not None]
            if parts:
                parameter.grad = torch.stack(parts).sum(0)
        return [loss for loss, _ in done]


def _behind(loss: Callable[[], Loss]) -> Loss:
    """One loss, its gradient added to what is there."""
    value = loss()
    if value.total.requires_grad:
        value.total.backward()  # type: ignore[no-untyped-call]
    return value._replace(total=value.total.detach())


def _sum(losses: Sequence[Loss], name: str) -> tuple[float, float]:
    terms = [loss.terms[name] for loss in losses if name in loss.terms]
    return sum(value for value, _ in terms), sum(count for _, count in terms)
