"""The training loop: draw, differentiate, check, clip, step, tell, evaluate, save; resumed exactly."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sensorium.errors import CheckpointError
from sensorium.objectives.loss import Loss
from sensorium.training.average import Average
from sensorium.training.best import Best
from sensorium.training.feed import Epoch, Epochs, Thunk
from sensorium.training.optimizer import Group, adamw, part_of, thaw
from sensorium.training.rig import Rig, Step
from sensorium.training.schedule import Pace, Plan
from sensorium.training.shards import Shards, Sums
from sensorium.training.state import Held, OneState, Place, chance, restore_chance
from sensorium.training.task import Task


class Loop:
    """A run.

    Args:
        model: handed to the objectives. tasks: each step learns a batch of every one of them.
        groups: the parameters that learn. pace: how long, and the learning rate.
    """

    def __init__(self, model: Any, tasks: Sequence[Task[Any]], groups: Sequence[Group], pace: Pace, rig: Rig) -> None:
        self.model, self.tasks, self.groups, self.pace, self.rig = model, tasks, groups, pace, rig
        self.parameters = {name: parameter for group in groups for name, parameter in group.parameters.items()}
        self.optimizer = adamw(groups, rig.betas)
        self._rates = [row["lr"] for row in self.optimizer.param_groups]
        self.average = Average(self.parameters, rig.average)
        self.best = Best(self.parameters, rig.buffers, self.average, on=rig.best)
        self._held = Held(self.parameters, self.optimizer, self.average, rig.buffers, self.best)
        self._shards = Shards(rig.workers)

    def run(self) -> Place:
        """Go on from the kept state, or begin, and train until the pace says it is over.

        Raises:
            CheckpointError: the state is of another model, or a loss or gradient is no longer a number.
        """
        rig, place = self.rig, self._resume()
        rig.exchange.begin(list(self.parameters.values()))
        began, spent = time.monotonic(), place.minutes
        saved, judged = spent, -1
        try:
            while self.pace.progress(place.step, place.minutes) < 1:
                thaw(self.groups, place.step)
                step = self._step(place)
                place.step += 1
                place.minutes = rig.exchange.agree(spent + (time.monotonic() - began) / 60)
                if rig.tell is not None:
                    rig.tell(step._replace(step=place.step, minutes=place.minutes))
                if rig.evaluate_every and place.step % rig.evaluate_every == 0:
                    self._evaluate(place)
                    judged = place.step
                due = rig.save_every and place.step % rig.save_every == 0
                if due or place.minutes - saved > rig.save_minutes:
                    self._save(place)
                    saved = place.minutes
        finally:
            self._shards.close()
            for task in self.tasks:
                task.feed.close()
        if judged != place.step:
            self._evaluate(place)
        self._save(place)
        return place

    def _step(self, place: Place) -> Step:
        before = torch.get_rng_state()
        factor = self.pace.rate(place.step, place.minutes)
        for row, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            row["lr"] = rate * factor
        parameters, thunks = list(self.parameters.values()), []
        merged: list[Tensor | None] = [None] * len(parameters)
        terms: dict[str, float] = {}
        sizes: dict[str, float] = {}
        for task in self.tasks:
            parts = [partial(self._loss, task, batch) for batch in task.feed.draw()]
            self.rig.exchange.parts(len(parts), task.gathered)
            thunks += parts
            sums = self._summed(self._shards.backward(parts, parameters))
            sizes[task.name] = sums.size
            for name, (value, count) in sums.terms.items():
                terms[name if len(self.tasks) == 1 else f"{task.name}/{name}"] = value / max(count, 1e-9)
            for index, parameter in enumerate(parameters):
                merged[index] = _plus(merged[index], parameter.grad, task.weight / max(sums.size, 1e-9))
        for parameter, gradient in zip(parameters, merged, strict=True):
            parameter.grad = gradient
        self.rig.exchange.gradients(parameters)
        norms, norm = self._norms()
        if not all(map(math.isfinite, (*terms.values(), norm))):
            self._stop(place, terms, norm, thunks, before)
        torch.nn.utils.clip_grads_with_norm_(parameters, self.rig.clip, torch.tensor(norm))
        self.optimizer.step()
        self.average.update()
        return Step(place.step, terms, sizes, norms, norm, factor, place.minutes)

    def _loss(self, task: Task[Any], batch: Any) -> Loss:
        with self.rig.casting():
            return task.objective(self.model, batch)

    def _summed(self, sums: Sums) -> Sums:
        """Over all processes."""
        flat = {"size": sums.size}
        for name, (value, count) in sums.terms.items():
            flat |= {f"value/{name}": value, f"count/{name}": count}
        total = self.rig.exchange.total(flat)
        names = [name.partition("/")[2] for name in total if name.startswith("value/")]
        return Sums(total["size"], {name: (total[f"value/{name}"], total[f"count/{name}"]) for name in sorted(names)})

    def _norms(self) -> tuple[dict[str, float], float]:
        """Of the gradient by part, and of the whole."""
        parts: dict[str, list[Tensor]] = {part_of(name): [] for name, value in self.parameters.items() if value.requires_grad}
        for name, parameter in self.parameters.items():
            if parameter.grad is not None:
                parts[part_of(name)].append(parameter.grad)
        norms = {name: self.rig.exchange.norm(tensors) for name, tensors in parts.items()}
        return norms, math.sqrt(sum(value * value for value in norms.values()))

    def _stop(self, place: Place, terms: Mapping[str, float], norm: float, thunks: Sequence[Thunk], before: Tensor) -> None:
        """The same batch again under watch, to name what went wrong first."""
        first = ""
        if self.rig.accuse is not None:
            torch.set_rng_state(before)
            first = f"; {self.rig.accuse(thunks)}"
        shown = ", ".join(f"{name} {value:.4g}" for name, value in terms.items())
        problem = f"has the loss {shown} and a gradient of norm {norm:.4g}{first}"
        raise CheckpointError(
            f"step {place.step}", problem, "Lower the learning rate and begin anew, or correct that operation"
        )

    def _evaluate(self, place: Place) -> None:
        if self.rig.evaluate is None:
            return
        kept = chance()
        loss = self.rig.evaluate(place, self.average)
        restore_chance(kept)
        if loss is not None:
            loss = self.rig.exchange.agree(loss)
            self.pace.hear(loss)
            self.best.hear(loss, place.step)

    def _save(self, place: Place) -> None:
        if self.rig.keeper is not None:
            place.feeds = {task.name: task.feed.position() for task in self.tasks}
            place.pace, place.notes["best"] = self.pace.state(), self.best.state()
            self.rig.keeper.save(self._held, place)

    def _resume(self) -> Place:
        place, passed = self.rig.keeper.load(self._held) if self.rig.keeper is not None else (None, [])
        if self.rig.warn is not None:
            for text in passed:
                self.rig.warn(text)
        if place is None:
            return Place()
        if place.feeds.keys() != {task.name for task in self.tasks}:
            problem = f"are of tasks {sorted(place.feeds)}, the run has {sorted(task.name for task in self.tasks)}"
            raise CheckpointError("states", problem, "Delete them to begin anew")
        for task in self.tasks:
            task.feed.seek(place.feeds[task.name])
        if place.pace:
            self.pace.restore(place.pace)
        self.best.restore(place.notes.get("best", {}))
        return place


def _plus(sum_: Tensor | None, gradient: Tensor | None, scale: float) -> Tensor | None:
    if gradient is None:
        return sum_
    scaled = gradient.mul_(scale)
    return scaled if sum_ is None else sum_.add_(scaled)


def train(
    groups: Sequence[Group],
    epoch: Epoch,
    plan: Plan,
    *,
    state: Path | None = None,
    workers: int = 1,
    say: Callable[[str], None] | None = None,
    every: int = 20,
) -> Place:
    """Train on the batches of epochs until the plan is done: the loop in its shortest form.

    Args:
        state: file that keeps the run; if it is there, the run goes on from it.
        workers: threads for the shards of a batch.
        say: told the means of the loss terms every `every` steps.

    Raises:
        CheckpointError: `state` is of another model, or the loss is no longer a number.
    """
    feed, logged = Epochs(epoch), _Means()

    def tell(step: Step) -> None:
        logged.add(step.terms)
        if say is not None and step.step % every == 0:
            say(f"step {step.step} epoch {feed.epoch} {logged.take()} minutes {step.minutes:.1f}")

    rig = Rig(
        workers=workers,
        clip=plan.clip,
        keeper=None if state is None else OneState(state),
        save_minutes=plan.save_minutes,
        tell=tell,
    )
    task: Task[Thunk] = Task("epochs", lambda _, thunk: thunk(), feed)
    return Loop(None, [task], groups, plan, rig).run()


class _Means:
    """Running means of the loss terms since they were last taken."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}

    def add(self, terms: Mapping[str, float]) -> None:
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def take(self) -> str:
        text = " ".join(f"{name} {self.sums[name] / self.counts[name]:.4f}" for name in self.sums)
        self.sums, self.counts = {}, {}
        return text
