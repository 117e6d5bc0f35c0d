"""What a training loop is rigged with: who hears of its steps, where states go, how the processes of a run agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from sensorium.training.average import Average
from sensorium.training.feed import Thunk
from sensorium.training.state import Held, Place


class Step(NamedTuple):
    """What is known of one step.

    Args:
        terms: the mean of each loss term, `task/term` where there are several tasks. sizes: by task.
        norms: of the gradient, by part of the model and before clipping. norm: of all of it.
        rate: the factor on every group's learning rate.
    """

    step: int
    terms: dict[str, float]
    sizes: dict[str, float]
    norms: dict[str, float]
    norm: float
    rate: float
    minutes: float


class Exchange(Protocol):
    """What the processes of a run tell one another; see `distributed.Together`."""

    def begin(self, parameters: Sequence[nn.Parameter]) -> None:
        """All go on from the same parameters."""
        ...

    def parts(self, number: int, alike: bool = False) -> None:
        """How many parts this process's batch of a task has; `alike`: all need as many."""
        ...

    def total(self, values: Mapping[str, float]) -> dict[str, float]:
        """Each value summed over the processes."""
        ...

    def agree(self, value: float) -> float:
        """The first process's value, for what depends on its clock."""
        ...

    def gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Each `grad` becomes its sum over the processes; None counts as zero where another process has one."""
        ...

    def norm(self, gradients: Sequence[Tensor]) -> float:
        """Of gradients that are summed already."""
        ...


class Alone:
    """One process."""

    def begin(self, parameters: Sequence[nn.Parameter]) -> None:
        """They are the same."""

    def parts(self, number: int, alike: bool = False) -> None:
        """Any number."""

    def total(self, values: Mapping[str, float]) -> dict[str, float]:
        """As they are."""
        return dict(values)

    def agree(self, value: float) -> float:
        """As it is."""
        return value

    def gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """As they are."""

    def norm(self, gradients: Sequence[Tensor]) -> float:
        """Of these."""
        return float(torch.nn.utils.get_total_norm(gradients)) if gradients else 0.0


class Keeper(Protocol):
    """Where states are kept."""

    def save(self, held: Held, place: Place) -> None:
        """Keep one."""
        ...

    def load(self, held: Held) -> tuple[Place | None, list[str]]:
        """Put the newest back; and what was wrong with newer ones."""
        ...


@dataclass(frozen=True, slots=True)
class Rig:
    """How the loop runs, apart from what it learns.

    Args:
        workers: threads for the parts of a batch. clip: of the gradient's norm. average: decay of the parameters' average.
        casting: entered around every forward pass, such as autocast.
        buffers: tensors beside the parameters that training changes.
        keeper: where states go; `save_minutes`, `save_every`: how often, by the clock and in steps (0 is never).
        tell: told of every step. warn: told what a person should know.
        evaluate: given the place and the average, returns the loss that schedule and early stopping go by (None for none).
        best: keep what the best evaluation saw; `Loop.best.show` puts it into the model.
    """

    workers: int = 1
    clip: float = 1.0
    betas: tuple[float, float] = (0.9, 0.98)
    average: float = 0.0
    casting: Callable[[], AbstractContextManager[Any]] = nullcontext
    buffers: Mapping[str, Tensor] = field(default_factory=dict)
    exchange: Exchange = field(default_factory=Alone)
    keeper: Keeper | None = None
    save_minutes: float = 3.0
    save_every: int = 0
    tell: Callable[[Step], None] | None = None
    warn: Callable[[str], None] | None = None
    evaluate: Callable[[Place, Average], float | None] | None = None
    evaluate_every: int = 0
    best: bool = False
    accuse: Callable[[Sequence[Thunk]], str] | None = None
