"""The training loop: batches of an epoch, one step each, saved every few minutes, resumed exactly."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from sensorium.errors import CheckpointError
from sensorium.objectives.loss import Loss
from sensorium.training.schedule import Plan
from sensorium.training.shards import Shards
from sensorium.training.state import Place, load_state, save_state

Thunk = Callable[[], Loss]
Epoch = Callable[[int], Sequence[Sequence[Thunk]]]
"""The batches of epoch n, each as the losses of its shards. A pure function of n, or else resuming is not exact."""


class Group(NamedTuple):
    """Parameters by name with their learning rate and weight decay (which vectors are spared)."""

    parameters: Mapping[str, nn.Parameter]
    rate: float
    decay: float = 0.0


def adamw(groups: Sequence[Group], betas: tuple[float, float] = (0.9, 0.98)) -> torch.optim.AdamW:
    """Loshchilov & Hutter 2019, with one group for matrices and one for vectors of each `Group`."""
    rows = []
    for group in groups:
        matrices = [parameter for parameter in group.parameters.values() if parameter.dim() > 1]
        vectors = [parameter for parameter in group.parameters.values() if parameter.dim() < 2]
        rows.append({"params": matrices, "lr": group.rate, "weight_decay": group.decay})
        rows.append({"params": vectors, "lr": group.rate, "weight_decay": 0.0})
    return torch.optim.AdamW([row for row in rows if row["params"]], betas=betas, fused=True)


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
    """Train until the plan is done.

    Args:
        state: file that keeps the run; if it is there, the run goes on from it.
        workers: threads for the shards of a batch.
        say: told the means of the loss terms every `every` steps.

    Raises:
        CheckpointError: `state` is of another model, or the loss is no longer a number.
    """
    parameters = {name: parameter for group in groups for name, parameter in group.parameters.items()}
    optimizer = adamw(groups)
    rates = [row["lr"] for row in optimizer.param_groups]
    place = load_state(state, parameters, optimizer) if state is not None and state.is_file() else Place()
    shards, began, spent = Shards(workers), time.monotonic(), place.minutes
    saved, logged = began, _Means()
    while plan.progress(place.step, place.minutes) < 1:
        batches = epoch(place.epoch)
        while place.batch < len(batches) and plan.progress(place.step, place.minutes) < 1:
            factor = plan.rate(place.step, place.minutes)
            for row, rate in zip(optimizer.param_groups, rates, strict=True):
                row["lr"] = rate * factor
            terms = shards.backward(batches[place.batch], list(parameters.values())).values
            if not all(map(math.isfinite, terms.values())):
                raise CheckpointError(f"step {place.step}", f"has the loss {terms}", "Lower the learning rate and begin anew")
            nn.utils.clip_grad_norm_(parameters.values(), plan.clip)
            optimizer.step()
            place.step, place.batch = place.step + 1, place.batch + 1
            place.minutes = spent + (time.monotonic() - began) / 60
            logged.add(terms)
            if say is not None and place.step % every == 0:
                say(f"step {place.step} epoch {place.epoch} {logged.take()} minutes {place.minutes:.1f}")
            if state is not None and time.monotonic() - saved > 60 * plan.save_minutes:
                save_state(state, parameters, optimizer, place)
                saved = time.monotonic()
        if place.batch >= len(batches):
            place.epoch, place.batch = place.epoch + 1, 0
    shards.close()
    if state is not None:
        save_state(state, parameters, optimizer, place)
    return place


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
