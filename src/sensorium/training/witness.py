"""Sees every step and every evaluation of one training: has the truth judged, writes the trail, feeds the live view."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import nn

from sensorium.training.average import Average
from sensorium.training.optimizer import Group, part_of
from sensorium.training.rig import Step
from sensorium.training.spread import Learner, whole
from sensorium.training.state import Place
from sensorium.training.trail import Trail
from sensorium.training.truth import Judge


class Witness:
    """What a loop tells of its steps, and asks when it is time to evaluate.

    Args:
        judge: measures the model. trail: written to the log. live: a view beside it, or None.
        learner: what the loop trains; a `Learner` is gathered whole to be measured. groups: what of it learns, and from when.
    """

    def __init__(
        self,
        judge: Judge,
        trail: Trail,
        live: Callable[[int, Mapping[str, Any]], None] | None,
        learner: nn.Module,
        groups: Sequence[Group],
    ) -> None:
        self.judge, self.trail, self.live = judge, trail, live
        self.learner, self.groups = learner, groups

    def step(self, step: Step) -> None:
        """A step was taken."""
        self.judge.felt(step.norms)
        self.trail.step(step)
        if self.live is not None:
            self.live(step.step, {**step.terms, "rate": step.rate, "norm": step.norm})

    def evaluate(self, place: Place, average: Average) -> float | None:
        """Measure the averaged weights, if an average is kept; the held loss, by which the best step is found."""
        learning = {part_of(path) for group in self.groups if group.thaw < place.step for path in group.parameters}
        gathered: AbstractContextManager[None] = whole(self.learner) if isinstance(self.learner, Learner) else nullcontext()
        with gathered, average.shown():
            verdict = self.judge(place.step, learning)
        self.trail.evaluation(place.step, verdict.values)
        if self.live is not None:
            self.live(place.step, {f"held/{key}": value for key, value in verdict.values.items()})
        return verdict.loss
