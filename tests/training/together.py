"""What the processes of the tests of distribution run."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.model.pair import tiny_dual
from sensorium.objectives.contrastive import Contrast, Doubt
from sensorium.objectives.hallucination import HallucinationContrast
from sensorium.objectives.loss import Loss
from sensorium.objectives.paired import PairBatch, Paired
from sensorium.training.distributed import Together, World, join, leave, share
from sensorium.training.loop import Loop
from sensorium.training.optimizer import Group, Part
from sensorium.training.rig import Alone, Rig, Step
from sensorium.training.run import Recipe, Run, Training
from sensorium.training.schedule import Plan
from sensorium.training.sharded import SharedStates
from sensorium.training.spread import Learner, Sharded, collect, spread
from sensorium.training.task import Task


class Towers(nn.Module):
    """Two towers and a trunk; a row goes through the tower of its kind."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words, self.pictures, self.idle = nn.Linear(6, 7), nn.Linear(5, 7), nn.Linear(2, 2)
        self.trunk = nn.Sequential(nn.LayerNorm(7), nn.Linear(7, 3, bias=False))


class Squares:
    """A sum over rows, so that shares of a batch add up."""

    def __call__(self, model: Towers, batch: list[tuple[str, Tensor]]) -> Loss:
        total = model.trunk[1].weight.sum() * 0
        for kind, x in batch:
            total = total + F.huber_loss(model.trunk(getattr(model, kind)(x)), x[:3], reduction="sum")
        terms = {kind: (1.0, 1.0) for kind, _ in batch}  # the processes know different terms
        return Loss(total, len(batch), {"loss": (float(total.detach()), float(len(batch))), **terms})


class Turns:
    """Batches of eight rows as a function of the step; with `skewed`, each process sees one kind only."""

    def __init__(self, world: World, skewed: bool, fail: int = -1, killed: bool = False) -> None:
        self.world, self.skewed, self.fail, self.killed, self.turn = world, skewed, fail, killed, 0

    def draw(self) -> list[list[tuple[str, Tensor]]]:
        chance = torch.Generator().manual_seed(self.turn)
        if self.turn == self.fail and self.world.rank == self.world.size - 1:
            if self.killed:
                os.kill(os.getpid(), signal.SIGKILL)
            raise ZeroDivisionError("this row cannot be read")
        self.turn += 1
        kinds = ["words", "pictures"] * 4 if self.skewed else ["words", "words", "pictures", "pictures"] * 2
        rows = [(kind, torch.randn(6 if kind == "words" else 5, generator=chance)) for kind in kinds]
        return [list(share(rows, self.world))]

    def position(self) -> dict[str, Any]:
        return {"turn": self.turn}

    def seek(self, position: dict[str, Any]) -> None:
        self.turn = position["turn"]

    def close(self) -> None:
        pass


def run(case: str, folder: Path, world: World, steps: int = 8) -> None:
    model: Any = Towers()
    groups = [Group(dict(model.named_parameters()), 0.02, 0.1)]
    together = Together(world)
    learner: Any = model
    objective: Any = Squares()
    if "sharded" in case:
        learner, groups = spread(model, groups, world)
        together = Sharded(world, learner)
        objective = lambda whole, batch: whole(Squares(), batch)  # noqa: E731
    said: list[Step] = []
    rig = Rig(
        clip=0.5,
        average=0.5,
        exchange=together if world.size > 1 else Alone(),
        tell=said.append,
        keeper=SharedStates(folder / "states", together) if "kept" in case else None,
        save_every=4,
    )
    feed = Turns(world, "skewed" in case, 3 if "failing" in case or "killed" in case else -1, "killed" in case)
    with together:
        Loop(learner, [Task("squares", objective, feed)], groups, Plan(steps=steps, warmup=1, floor=1.0), rig).run()
        if isinstance(learner, Learner):
            collect(learner)
    state = model.state_dict()
    if world.first:
        row = {"losses": [step.terms["loss"] for step in said], "norms": [step.norm for step in said]}
        row["weights"] = {name: tensor.tolist() for name, tensor in state.items()}
        row["terms"] = sorted(said[-1].terms) if said else []
        (folder / f"{case}.json").write_text(json.dumps(row))


def whole_run(case: str, folder: Path, world: World) -> None:
    """As a recipe does it, with evaluations and a run folder."""
    config = Recipe(training=Training(steps=6, precision="fp32", evaluate_every=3, patience=2, shards="shards" in case))
    held = Turns(World(), False)
    held.turn = 1000
    training = Run(folder / case, config, world=world)
    parts = {name: Part(rate=0.02) for name in ("words", "pictures", "trunk")}
    task = Task("squares", Squares(), Turns(world, True), held.draw())
    model = Towers()
    training.train(model, [task], parts, config.training)
    if world.first:
        rows = [json.loads(line) for line in (folder / case / "log.jsonl").read_text().splitlines()]
        losses = [row["terms"]["loss"] for row in rows if row["event"] == "step"]
        losses += [row["values"]["loss"] for row in rows if row["event"] == "evaluation"]
        state = {name: tensor.tolist() for name, tensor in model.state_dict().items()}
        (folder / f"{case}.json").write_text(json.dumps({"losses": losses, "weights": state}))


SAID = ("a red star", "The red star.", "a blue star", "a ring", "a green ring", "a blue ring", "a red ring", "a star")
SHOWN = (b"one", b"two", b"three", b"four", b"five", b"six", b"five", b"eight")
COMPARED: dict[str, tuple[Any, int]] = {
    "softmax": (Contrast, 0),
    "softmax in chunks, doubted": (lambda: Contrast(doubt=Doubt(trim=0.3, soft=0.2)), 2),
    "sigmoid, doubted": (lambda: Contrast("sigmoid", Doubt(trim=0.3, soft=0.2)), 0),
    "hallucinated": (lambda: HallucinationContrast(shared=True), 3),
}
"""Objectives, and how many pairs they encode at once."""


def compared(folder: Path, world: World) -> None:
    """One contrastive step each, of rows shared out unevenly; what came of it, and the whole gradient."""
    together, found = Together(world), dict[str, Any]()
    pixels_PCHW = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    whole = PairBatch(pixels_PCHW, SAID, SHOWN, SAID[3:] + SAID[:3])
    rows = slice(0, 8) if world.size == 1 else (slice(0, 5), slice(5, 8))[world.rank]
    for name, (make, chunk) in COMPARED.items():
        torch.manual_seed(0)
        model, lies = tiny_dual(SAID, size=16, patch=8, width=16, depth=1).train(), whole.hallucinated[rows]
        objective = Paired(make(), chunk, together if world.size > 1 else None).train()
        part = PairBatch(pixels_PCHW[rows], SAID[rows], SHOWN[rows], lies if name == "hallucinated" else ())
        loss = objective(model, part)
        loss.total.backward()
        parameters = [*model.parameters(), *objective.parameters()]
        terms = {f"{key} {side}": value for key, pair in loss.terms.items() for side, value in zip("vn", pair, strict=True)}
        numbers = {"total": float(loss.total.detach()), "size": float(loss.size), **terms}
        if world.size > 1:
            together.gradients(parameters)
            numbers = together.total(numbers)
            held = objective.eval()(model, whole if name == "hallucinated" else whole._replace(hallucinated=()))
            numbers["held"] = float(held.total.detach())
        else:
            numbers["held"] = numbers["total"]
        gradients = [parameter.grad.flatten() for parameter in parameters if parameter.grad is not None]
        found[name] = {"numbers": numbers, "gradients": (torch.cat(gradients) / numbers["size"]).tolist()}
    if world.first:
        (folder / "compared.json").write_text(json.dumps(found))


class Ragged(Turns):
    """Like `Turns`; at the third step the last process has no row that can be used."""

    def draw(self) -> list[list[tuple[str, Tensor]]]:
        parts = super().draw()
        return [] if self.turn == 3 and self.world.rank == self.world.size - 1 else parts


def meeting(world: World) -> None:
    """A run whose objective would wait for a process that has nothing to compare."""
    model = Towers()
    group = Group(dict(model.named_parameters()), 0.02)
    with Together(world) as together:
        task = Task("squares", Squares(), Ragged(world, False), gathered=True)
        Loop(model, [task], [group], Plan(steps=8), Rig(exchange=together)).run()


def process(case: str, folder: Path, rank: int, size: int, port: int, steps: int) -> None:
    """One process of several, started as `torchrun` starts it; what it says goes to a file."""
    said = os.open(folder / f"said-{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    world = join(minutes=5)
    if case == "compared":
        compared(folder, world)
    elif case == "meeting":
        meeting(world)
    elif case.startswith("run"):
        whole_run(case, folder, world)
    else:
        run(case, folder, world, steps)
    leave(world)
