"""Learning one task after another without forgetting: elastic weights (EWC), replay of earlier samples, averaged weights."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from sensorium.errors import RequestError
from sensorium.objectives.loss import Loss

Item = TypeVar("Item")


def fisher(parameters: Mapping[str, nn.Parameter], losses: Iterable[Callable[[], Loss]]) -> dict[str, Tensor]:
    """The diagonal of the Fisher information: the mean squared gradient of a sample's negative log-likelihood.

    Args:
        losses: one sample each; of several at once it would be the square of their mean gradient, which is smaller. With the
            labels of the data this is the empirical Fisher, with labels drawn from the model the true one.
    """
    sums = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    count = 0
    for loss in losses:
        gradients = torch.autograd.grad(loss().total, list(parameters.values()), allow_unused=True)
        for name, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                sums[name] += gradient.square()
        count += 1
    if not count:
        raise RequestError("Fisher information", "has no sample to be measured on", "Give at least one")
    return {name: total / count for name, total in sums.items()}


class Elastic:
    """The penalty of elastic weight consolidation (Kirkpatrick et al. 2017, eq. 3), over all tasks learned so far.

    Args:
        strength: lambda. decay: what earlier tasks' Fisher is multiplied by when one is added (online EWC, Schwarz et al.
            2018); 1 forgets none.
    """

    def __init__(self, strength: float, decay: float = 1.0) -> None:
        self.strength, self.decay = strength, decay
        self.fisher: dict[str, Tensor] = {}
        self.anchor: dict[str, Tensor] = {}

    def add(self, parameters: Mapping[str, nn.Parameter], losses: Iterable[Callable[[], Loss]]) -> None:
        """A task has been learned: keep its Fisher information, and the parameters as they are now."""
        fresh = fisher(parameters, losses)
        self.fisher = {name: self.fisher[name] * self.decay + value if self.fisher else value for name, value in fresh.items()}
        self.anchor = {name: parameter.detach().clone() for name, parameter in parameters.items()}

    def penalty(self, parameters: Mapping[str, nn.Parameter]) -> Tensor:
        """`lambda / 2 * sum F (theta - anchor)^2`; 0 before the first task was added."""
        first = next(iter(parameters.values()))
        total = first.new_zeros(())
        for name, anchor in self.anchor.items():
            total = total + (self.fisher[name] * (parameters[name] - anchor).square()).sum()
        return self.strength / 2 * total

    def __call__(self, loss: Loss, parameters: Mapping[str, nn.Parameter]) -> Loss:
        """A new task's loss with the penalty added to its mean."""
        penalty = self.penalty(parameters)
        terms = {**loss.terms, "elastic": (float(penalty.detach()) * loss.size, loss.size)}
        return Loss(loss.total + penalty * loss.size, loss.size, terms)


class Replay(Generic[Item]):
    """An even sample of all that was shown, whatever the order and the number, within a bound in bytes.

    Every item draws a number once; those with the smallest are kept (a reservoir, after Vitter 1985, in the form that allows
    for items of unequal size). The same items in the same order give the same sample.

    Args:
        limit: bytes at most. size: of an item, in bytes.
    """

    def __init__(self, limit: int, size: Callable[[Item], int], seed: int = 0) -> None:
        self.limit, self.size = limit, size
        self.bytes = self.seen = 0
        self._bar = 1.0  # the smallest draw ever turned away: what is kept is all that drew less
        self._chance, self._drawn = random.Random(seed), random.Random(seed + 1)
        self._kept: list[tuple[float, int, Item]] = []  # a heap, the largest draw first

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Item]:
        """In the order in which they were shown."""
        return (item for _, _, item in sorted(self._kept, key=lambda kept: kept[1]))

    def add(self, item: Item) -> None:
        """Show an item, which may be kept in place of others.

        Raises:
            RequestError: it alone is over the limit.
        """
        if (size := self.size(item)) > self.limit:
            raise RequestError(
                "replay buffer", f"holds {self.limit:,} bytes, and an item has {size:,}", "Give it a higher limit"
            )
        draw, self.seen = self._chance.random(), self.seen + 1
        if draw >= self._bar:
            return
        heapq.heappush(self._kept, (-draw, self.seen, item))
        self.bytes += size
        while self.bytes > self.limit:
            lost, _, evicted = heapq.heappop(self._kept)
            self._bar, self.bytes = -lost, self.bytes - self.size(evicted)

    def draw(self, count: int) -> list[Item]:
        """So many of the kept items, each as likely as another, none twice unless there are too few."""
        items = list(self)
        if not items:
            return []
        rounds, rest = divmod(count, len(items))
        return items * rounds + self._drawn.sample(items, rest)


def interpolate(before: Mapping[str, Tensor], after: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Weights `(1 - share) * before + share * after` fine-tuning (WiSE-FT, Wortsman et al. 2022)."""
    return average([before, after], [1 - share, share])


def average(states: Sequence[Mapping[str, Tensor]], shares: Sequence[float] | None = None) -> dict[str, Tensor]:
    """The weighted mean of several models of one shape; equal shares when None (a soup, Wortsman et al. 2022).

    Tensors of whole numbers, such as counters, are the last model's.

    Raises:
        RequestError: they do not have the same tensors.
    """
    shares = [1 / len(states)] * len(states) if shares is None else shares
    for state in states[1:]:
        if odd := sorted(state.keys() ^ states[0].keys()):
            raise RequestError("average of weights", f"is of models that differ in {odd[0]}", "Average models of one shape")
    return {
        name: torch.stack([share * state[name].detach() for share, state in zip(shares, states, strict=True)]).sum(0)
        if tensor.is_floating_point()
        else tensor.clone()
        for name, tensor in states[-1].items()
    }
