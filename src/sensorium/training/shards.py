"""Gradients of a batch in parts that run side by side, a thread each: a CPU does that better than one part on all threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sensorium.objectives.loss import Loss


class Terms(NamedTuple):
    """What to log of one step: each term's mean over the batch."""

    values: dict[str, float]


class Shards:
    """Computes losses in threads and adds up their gradients.

    Args:
        workers: threads. With one, everything stays in the caller's thread and is reproducible to the bit; with more, the
            random numbers of dropout fall to the threads in no fixed order.
    """

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self._pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) if workers > 1 else None

    def backward(self, losses: Sequence[Callable[[], Loss]], parameters: Sequence[nn.Parameter]) -> Terms:
        """Sets `grad` of the parameters to the gradient of (sum of totals) / (sum of sizes)."""

        def one(loss: Callable[[], Loss]) -> tuple[Loss, Sequence[Tensor | None]]:
            value = loss()
            return value._replace(total=value.total.detach()), torch.autograd.grad(value.total, parameters, allow_unused=True)

        done = list(self._pool.map(one, losses)) if self._pool is not None else [one(loss) for loss in losses]
        count = sum(loss.size for loss, _ in done)
        for place, parameter in enumerate(parameters):
            parts = [gradient for _, gradients in done if (gradient := gradients[place]) is not None]
            parameter.grad = torch.stack(parts).sum(0).div_(count) if parts else None
        names = {name for loss, _ in done for name in loss.terms}
        return Terms({name: _mean([loss.terms[name] for loss, _ in done if name in loss.terms]) for name in sorted(names)})

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()


def _mean(terms: Sequence[tuple[float, float]]) -> float:
    return sum(value for value, _ in terms) / max(sum(count for _, count in terms), 1e-9)
