"""How long to train, and the learning rate on the way: warm-up, then a cosine, by steps or by the clock."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """A run.

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
