"""A run: what a recipe is handed. It trains, watches, writes everything down, and exports."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import nn

from sensorium.cache import cache_folder
from sensorium.errors import RequestError
from sensorium.model.multimodal import MultimodalLM
from sensorium.nn.lora import adapted
from sensorium.nn.peft import save_adapter
from sensorium.objectives.next_token import Encoders
from sensorium.parts import Sample
from sensorium.training import gate
from sensorium.training.cached import remembered
from sensorium.training.config import Settings
from sensorium.training.distributed import Together, World
from sensorium.training.energy import start_meter
from sensorium.training.feed import Watched
from sensorium.training.live import live_view
from sensorium.training.loop import Loop
from sensorium.training.optimizer import Group, Part, arrange, part_of
from sensorium.training.precision import Format, Precision, casting, chosen
from sensorium.training.recompute import recomputing
from sensorium.training.rig import Alone, Exchange, Keeper, Rig
from sensorium.training.runlog import RunFolder, circumstances
from sensorium.training.schedule import Cosine, Schedule, Timetable
from sensorium.training.sentinel import accuse
from sensorium.training.sharded import SharedStates
from sensorium.training.spread import Learner, Sharded, Through, collect, spread
from sensorium.training.state import States
from sensorium.training.task import Task
from sensorium.training.trail import Trail
from sensorium.training.truth import Judge, Truth
from sensorium.training.witness import Witness

OBJECTIVE = "objective"
"""The part of what objectives learn themselves."""
Listener = Callable[[Mapping[str, Any]], None]
"""Told every line of the log as it is written."""


class Training(Settings):
    """How a run goes, whatever it learns.

    Args:
        steps: at most. minutes: at most. schedule: of the learning rates.
        clip: of the gradient's norm. workers: threads for the parts of a batch (see `data.parts`).
        precision: `auto` measures which format is faster here. average: decay of the parameters' average, which is then what
            is evaluated and exported; 0 is none. recompute: make activations again in the backward pass.
        evaluate_every, save_every: steps (0: only at the end, and by the clock). save_minutes: by the clock. keep: states.
        patience: evaluations without progress that end the run, and then the weights of the best evaluation are what came of
            it, however it ended; 0 is never, and the last weights. live: a view beside the log.
        features: gigabytes of disk for what frozen encoders make of media (see `training.cached`); 0 makes it anew every step.
        shards: in several processes, spread parameters and the optimiser's state over them; alone, it changes nothing.
    """

    steps: int = Field(default=1000, gt=0)
    minutes: float = Field(default=math.inf, gt=0)
    schedule: Schedule = Cosine()
    clip: float = Field(default=1.0, gt=0)
    workers: int = Field(default=1, gt=0)
    precision: Precision = "auto"
    average: float = Field(default=0.0, ge=0, lt=1)
    recompute: bool = False
    evaluate_every: int = Field(default=100, ge=0)
    save_every: int = Field(default=0, ge=0)
    save_minutes: float = Field(default=3.0, gt=0)
    keep: int = Field(default=2, gt=0)
    patience: int = Field(default=0, ge=0)
    live: Literal["none", "tensorboard"] = "none"
    features: float = Field(default=0.0, ge=0)
    shards: bool = False
    truth: Truth = Truth()


class Recipe(Settings):
    """What the `Config` of every recipe holds beside its own: the seed of everything random, and how the run goes."""

    seed: int = 0
    training: Training = Training()


class Outcome(NamedTuple):
    """What came of it.

    Args:
        steps: done. first: loss terms of the first step that had any. last: all that the last evaluation found, or with
            `patience` the best one, which was of the weights after step `best`.
    """

    steps: int
    first: dict[str, float]
    last: dict[str, Any]
    best: int | None = None


class Run:
    """One run in one folder.

    Args:
        config: of the recipe; its `seed` is set for torch, random and numpy at once.
        command: how the run was started. resume: go on with the run that the folder holds.
        listen: told every line of the log.
        world: this process among those of the run.
    """

    def __init__(
        self,
        folder: Path,
        config: Recipe,
        *,
        command: Sequence[str] = (),
        resume: bool = False,
        listen: Listener | None = None,
        world: World | None = None,
    ) -> None:
        self.world = world or World()
        self.files = RunFolder(folder, config.to_json(), resume=resume, writes=self.world.first)
        self.config, self._listen = config, listen
        self.seed = config.seed
        torch.manual_seed(self.seed)
        random.seed(self.seed)
        np.random.seed(self.seed)
        self.outcomes: dict[str, Outcome] = {}
        before = self.files.facts.get("commands", [])
        facts = circumstances(command, self.seed)
        self.files.note(**facts, commands=[*before, facts["command"]])
        self._meter = start_meter()

    @property
    def folder(self) -> Path:
        """Where everything is."""
        return self.files.path

    @property
    def place(self) -> tuple[int, int]:
        """This process's number and how many there are, for `corpus`."""
        return self.world.rank, self.world.size

    @property
    def gather(self) -> Together | None:
        """For an objective that compares the batches of all processes (`Task.gathered`); None in one process."""
        return Together(self.world) if self.world.size > 1 else None

    def encoders(self, model: MultimodalLM) -> Encoders:
        """The model's encoders for an objective; with `training.features`, frozen ones remember what they have seen."""
        room = int(self.config.training.features * 2**30)
        return remembered(dict(model.encoders.items()), cache_folder() / "features", room) if room else model.encoders

    def log(self, event: str, **values: Any) -> None:
        """One line for `log.jsonl` and whoever listens."""
        row = {"event": event, **values}
        self.files.log(row)
        if self._listen is not None and self.world.first:
            self._listen(row)

    def train(
        self,
        model: nn.Module,
        tasks: Sequence[Task[Any]],
        parts: Mapping[str, Part | None],
        training: Training,
        *,
        data: str = "",
        name: str = "main",
    ) -> Outcome:
        """Train until the plan is done; the model then holds the result (the averages, if there are any).

        Args:
            model: handed to the objectives. parts: which parts of it learn, and how; see `optimizer.arrange`. Objectives that
                are modules learn as part `objective`, at the highest of these rates if `parts` has no such key.
            data: fingerprint of the data. name: of this training, where a recipe has several.

        Raises:
            CheckpointError: the run came to grief: NaN, collapse, a part without a gradient; or its state is of another model.
        """
        watched = {task.name: Watched(task.feed) for task in tasks}
        tasks = [replace(task, feed=watched[task.name]) for task in tasks]
        groups = [*arrange(model, {key: part for key, part in parts.items() if key != OBJECTIVE}), *_own(tasks, parts)]
        together = Together(self.world) if self.world.size > 1 else None
        _check_company(tasks, training, together)
        precision = self._precision(training, together)
        facts = {"precision": precision, "data": {**self.files.facts.get("data", {}), name: data}}
        self.files.note(**facts, learning=_counts(groups))
        cast = partial(casting, precision)
        timetable = Timetable(training.schedule, training.steps, training.patience, training.minutes)
        learner: nn.Module = model
        learned = tasks
        if training.shards and together is not None:
            learner, groups = spread(model, groups, self.world)
            together = Sharded(self.world, learner)
            learned = [replace(task, objective=Through(task.objective)) for task in tasks]
        exchange: Exchange = Alone() if together is None else together
        judge, trail = Judge(model, tasks, training.truth, cast), Trail(self.log, self.files.rows, watched, name, exchange)
        live = live_view(training.live, self.folder / "live") if self.world.first else None
        witness = Witness(judge, trail, live, learner, groups)
        modules = [model, *(task.objective for task in tasks if isinstance(task.objective, nn.Module))]
        states = self.folder / "states" / name
        keeper: Keeper = States(states, training.keep) if together is None else SharedStates(states, together, training.keep)
        rig = Rig(
            workers=training.workers,
            clip=training.clip,
            average=training.average,
            casting=cast,
            buffers=_buffers(model),
            exchange=exchange,
            keeper=keeper,
            save_minutes=training.save_minutes,
            save_every=training.save_every,
            tell=witness.step,
            warn=lambda text: self.log("warning", text=text),
            evaluate=witness.evaluate,
            evaluate_every=training.evaluate_every,
            best=training.patience > 0,
            accuse=partial(accuse, modules),
        )
        loop = Loop(learner, learned, groups, timetable, rig)
        again = recomputing(model) if training.recompute else nullcontext()
        with again, together or nullcontext():
            place = loop.run()
            best = loop.best.step if loop.best.tensors else None
            (loop.average if best is None else loop.best).show()
            if isinstance(learner, Learner):
                collect(learner)
        outcome = Outcome(place.step, trail.first(), trail.last(best), best)
        self.outcomes[name] = outcome
        self.log("end", training=name, step=place.step, minutes=place.minutes, early=timetable.stopped, best=best)
        return outcome

    def _precision(self, training: Training, together: Together | None) -> Format:
        """The format to train in: what this run began with, or what was chosen or measured now, the same in all processes."""
        wanted = training.precision
        precision: Format = self.files.facts.get("precision") or chosen(wanted)
        if together is not None:  # a measured choice may differ between processes
            precision = together.told(precision)[0]
            torch.manual_seed(self.seed + self.world.rank)  # dropout and masks of its own in each
        return precision

    def export(self, model: MultimodalLM, base: str, samples: Sequence[Sample] = ()) -> Path:
        """Write `model/` in the run's folder: the one checkpoint folder, with a card of what was measured; and its language
        model's adapter, if it has one, once more as `adapter/`, which `peft` reads.

        Args:
            base: what the run began from. samples: a few conversations to compare the written model by.

        Raises:
            CheckpointError: what is read back differs from what was trained.
        """
        destination = self.folder / "model"
        if not self.world.first:
            return destination
        facts: dict[str, Any] = {"recipe": self.files.facts.get("recipe", ""), "begun from": base, "seed": self.seed}
        for name, outcome in self.outcomes.items():
            front = "" if name == "main" else f"{name}: "
            facts[f"{front}steps"] = outcome.steps
            if outcome.best is not None:
                facts[f"{front}weights of step"] = outcome.best
            facts |= {f"{front}first {key}": f"{value:.4f}" for key, value in outcome.first.items()}
            facts |= {f"{front}held {key}": f"{value:.4f}" for key, value in outcome.last.items() if isinstance(value, float)}
        facts["data (SHA-256)"] = self.files.facts.get("data", {})
        facts["parameters trained"] = self.files.facts.get("learning", {})
        before = model.blueprint.card if model.blueprint is not None else ""
        gate.export(model, destination, gate.card_of(base, self.folder.resolve().name, facts, before), samples)
        if adapted(model.decoder):
            save_adapter(model.decoder, self.folder / "adapter", base=base)
        self.log("export", folder=str(destination))
        return destination

    def close(self) -> None:
        """Say what energy it took; and that every setting was read.

        Raises:
            RequestError: a setting that nothing has read, and which therefore had no effect.
        """
        spent = self.files.facts.get("energy", [])
        self.files.note(energy=[*spent, self._meter()])
        if unread := self.config.unread():
            problem = f"was read by nothing: it had no effect{_others(unread)}"
            raise RequestError(f"setting {unread[0]}", problem, "Take it out, or use it; what was trained is kept")


def _check_company(tasks: Sequence[Task[Any]], training: Training, together: Together | None) -> None:
    """What several processes cannot do."""
    if together is None:
        return
    if training.workers > 1 and any(task.gathered for task in tasks):
        problem = f"of {training.workers} let parts of a batch run out of step, where all processes compare them"
        raise RequestError("training.workers", problem, "Set it to 1; several processes use several cores already")
    if training.shards and training.average:
        problem = "keeps an average of the parameters, which shards cannot show"
        raise RequestError("training.average", problem, "Set it to 0, or training.shards=false")


def _own(tasks: Sequence[Task[Any]], parts: Mapping[str, Part | None]) -> list[Group]:
    """What objectives learn themselves, such as a temperature: undecayed and fast, unless part `objective` says otherwise."""
    found: dict[str, nn.Parameter] = {}
    for task in tasks:
        if isinstance(task.objective, nn.Module):
            task.objective.train()
            found |= {f"{OBJECTIVE}.{task.name}.{name}": value for name, value in task.objective.named_parameters()}
    fastest = max((part.rate for part in parts.values() if part), default=0.0)
    part = parts.get(OBJECTIVE, Part(rate=fastest, decay=0.0)) if found else None
    return [] if part is None else [Group(found, part.rate, part.decay, part.thaw)]


def _buffers(model: nn.Module) -> dict[str, torch.Tensor]:
    """What training changes beside the parameters: buffers of modules that are not frozen, such as running means."""
    found: dict[str, torch.Tensor] = {}
    for path, module in model.named_modules():
        if module.training and isinstance(module, nn.modules.batchnorm._BatchNorm):
            found |= {f"{path}.{name}": buffer for name, buffer in module.named_buffers(recurse=False)}
    return found


def _counts(groups: Sequence[Group]) -> dict[str, int]:
    found: dict[str, int] = {}
    for group in groups:
        for name, parameter in group.parameters.items():
            found[part_of(name)] = found.get(part_of(name), 0) + parameter.numel()
    return found


def _others(names: Sequence[str]) -> str:
    return f" ({len(names) - 1} more: {', '.join(names[1:4])})" if len(names) > 1 else ""
