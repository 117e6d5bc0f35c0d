"""How long to train, and the learning rate on the way: each schedule a closed form of the step, with a warm-up before it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field

from sensorium.training.config import Settings


class Pace(Protocol):
    """What the loop asks: how much of the run is done, the factor on every learning rate, and the state between steps."""

    def progress(self, step: int, minutes: float) -> float:
        """From 0 to 1, where the run is over."""
        ...

    def rate(self, step: int, minutes: float) -> float:
        """Factor on the learning rate of step `step`, counted from 0."""
        ...

    def hear(self, loss: float) -> None:
        """An evaluation's loss."""
        ...

    def state(self) -> dict[str, Any]:
        """What must be kept to go on: plain JSON."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """A run by steps or by the clock: warm-up, then a cosine.

    Args:
        steps: at most.
        minutes: at most; whichever of the two is nearer its end sets the learning rate, so that a run on a slow or busy
            machine still ends with the rate at its floor.
        warmup: steps. floor: share of the learning rate at the end. clip: of the gradient's norm.
        save_minutes: between saves.
    """

    steps: int
    minutes: float = math.inf
    warmup: int = 40
    floor: float = 0.02
    clip: float = 1.0
    save_minutes: float = 3.0

    def progress(self, step: int, minutes: float) -> float:
        """From 0 to 1, where the run is over."""
        return min(1.0, max(step / self.steps, minutes / self.minutes))

    def rate(self, step: int, minutes: float) -> float:
        """Factor on the learning rate of step `step`, counted from 0."""
        cosine = 0.5 * (1 + math.cos(math.pi * self.progress(step, minutes)))
        return min(1.0, (step + 1) / max(self.warmup, 1)) * (self.floor + (1 - self.floor) * cosine)

    def hear(self, loss: float) -> None:
        """It does not listen."""

    def state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing."""


class Constant(Settings):
    """The rate as it is; `warmup`: steps of a linear rise before it, here and below."""

    kind: Literal["constant"] = "constant"
    warmup: int = Field(default=0, ge=0)


class Linear(Settings):
    """Down to `floor` in a straight line."""

    kind: Literal["linear"] = "linear"
    warmup: int = Field(default=40, ge=0)
    floor: float = Field(default=0.0, ge=0, le=1)


class Cosine(Settings):
    """Down to `floor` along half a cosine (Loshchilov & Hutter 2017)."""

    kind: Literal["cosine"] = "cosine"
    warmup: int = Field(default=40, ge=0)
    floor: float = Field(default=0.02, ge=0, le=1)


class Steps(Settings):
    """Times `factor` after every `every` steps."""

    kind: Literal["step"] = "step"
    every: int = Field(default=1000, gt=0)
    factor: float = Field(default=0.1, gt=0, le=1)
    warmup: int = Field(default=40, ge=0)


class Stable(Settings):
    """Warm-up, stable, decay (Hu et al. 2024, MiniCPM): constant, then over the last `decay` of it in a line to `floor`."""

    kind: Literal["stable"] = "stable"
    warmup: int = Field(default=40, ge=0)
    decay: float = Field(default=0.1, gt=0, le=1)
    floor: float = Field(default=0.0, ge=0, le=1)


class Plateau(Settings):
    """Times `factor` when the evaluation's loss has not fallen by the share `least` over `patience` evaluations."""

    kind: Literal["plateau"] = "plateau"
    factor: float = Field(default=0.5, gt=0, lt=1)
    patience: int = Field(default=2, ge=0)
    least: float = Field(default=1e-4, ge=0)
    floor: float = Field(default=0.01, ge=0, le=1)
    warmup: int = Field(default=40, ge=0)


Schedule = Annotated[Constant | Linear | Cosine | Steps | Stable | Plateau, Field(discriminator="kind")]


def shape(schedule: Schedule, step: int, steps: int) -> float:
    """The factor at `step` of `steps`, both counted from the end of the warm-up; a plateau keeps what was heard elsewhere."""
    match schedule:
        case Constant() | Plateau():
            return 1.0
        case Steps():
            return float(schedule.factor ** (step // schedule.every))
        case Linear():
            left = 1 - min(1.0, step / max(steps, 1))
        case Cosine():
            left = 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(steps, 1))))
        case Stable():
            begin = steps * (1 - schedule.decay)
            left = 1 - min(1.0, max(0.0, (step - begin) / max(steps - begin, 1e-9)))
    return schedule.floor + (1 - schedule.floor) * left


class Timetable:
    """A schedule over a number of steps; of a plateau it keeps what was heard.

    Args:
        patience: the run ends when the evaluation's loss has not fallen over so many evaluations; 0 is never.
        minutes: the run ends then, if it has not before; the schedule goes by steps alone.
    """

    def __init__(self, schedule: Schedule, steps: int, patience: int = 0, minutes: float = math.inf) -> None:
        self.schedule, self.steps, self.patience, self.minutes = schedule, steps, patience, minutes
        self.best, self.waited, self.factor = math.inf, 0, 1.0
        self.lowest, self.idle = math.inf, 0
        self._warmup = schedule.warmup
        shape(schedule, 0, steps)  # every setting is read before the first step, however short the run
        self._least, self._wait = (schedule.least, schedule.patience) if isinstance(schedule, Plateau) else (0.0, 0)
        self._times, self._floor = (schedule.factor, schedule.floor) if isinstance(schedule, Plateau) else (1.0, 0.0)

    @property
    def stopped(self) -> bool:
        """The evaluation's loss has not fallen for too long."""
        return bool(self.patience) and self.idle >= self.patience

    def progress(self, step: int, minutes: float) -> float:
        """From 0 to 1, where the run is over."""
        return 1.0 if self.stopped else min(1.0, max(step / self.steps, minutes / self.minutes))

    def rate(self, step: int, minutes: float) -> float:  # noqa: ARG002 (a `Plan` goes by the clock too)
        """Factor on the learning rate of step `step`, counted from 0."""
        if step < self._warmup:
            return (step + 1) / self._warmup
        return self.factor * shape(self.schedule, step - self._warmup, self.steps - self._warmup)

    def hear(self, loss: float) -> None:
        """Count evaluations without progress; a plateau lowers the rate."""
        self.lowest, self.idle = (loss, 0) if loss < self.lowest else (self.lowest, self.idle + 1)
        if not isinstance(self.schedule, Plateau):
            return
        if loss < self.best * (1 - self._least):
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited > self._wait:
            self.factor, self.waited = max(self.factor * self._times, self._floor), 0

    def state(self) -> dict[str, Any]:
        """What was heard; an infinite loss is None, for JSON."""
        row: dict[str, Any] = {"waited": self.waited, "factor": self.factor, "idle": self.idle}
        heard = {"best": self.best, "lowest": self.lowest}
        return row | {name: None if math.isinf(value) else value for name, value in heard.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse."""
        self.waited, self.factor, self.idle = state["waited"], state["factor"], state["idle"]
        self.best, self.lowest = (math.inf if state[name] is None else state[name] for name in ("best", "lowest"))
