"""A small model with dropout, a learned objective and data of its own, for tests of the loop; run as a program to be killed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sensorium.objectives.loss import Loss
from sensorium.training.optimizer import Part
from sensorium.training.run import Listener, Recipe, Run, Training
from sensorium.training.schedule import Cosine
from sensorium.training.task import Task
from sensorium.training.truth import Truth


class Toy(nn.Module):
    """Two towers and a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.encoders = nn.ModuleDict({"image": nn.Linear(4, 8), "audio": nn.Linear(4, 8)})
        self.drop, self.head = nn.Dropout(0.2), nn.Linear(8, 2)

    def forward(self, x_BD: Tensor) -> Tensor:
        out_BE: Tensor = self.head(self.drop(torch.tanh(self.encoders["image"](x_BD))))
        return out_BE


class Scaled(nn.Module):
    """An objective with a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Loss:
        x_BD, y_B = batch
        total = nn.functional.cross_entropy(model(x_BD) * self.scale, y_B, reduction="sum")
        return Loss(total, len(y_B), {"loss": (float(total.detach()), len(y_B))})


class Numbers:
    """A feed whose batches are drawn from its own position."""

    def __init__(self, rows: int = 8, parts: int = 2) -> None:
        self.rows, self.parts, self.turn = rows, parts, 0

    def draw(self) -> Sequence[tuple[Tensor, Tensor]]:
        chance = torch.Generator().manual_seed(self.turn)
        x_BD = torch.randn(self.rows, 4, generator=chance)
        self.turn += 1
        return [(x_BD[part :: self.parts], (x_BD[part :: self.parts].sum(1) > 0).long()) for part in range(self.parts)]

    def position(self) -> dict[str, Any]:
        return {"turn": self.turn}

    def seek(self, position: dict[str, Any]) -> None:
        self.turn = position["turn"]


PARTS = {"encoders.image": Part(rate=0.02), "head": Part(rate=0.02, thaw=6)}


def config(steps: int = 200, **training: Any) -> Recipe:
    """Everything on that has a state."""
    given: dict[str, Any] = {"precision": "fp32", "average": 0.9, "evaluate_every": 10, "save_every": 1, "keep": 2} | training
    return Recipe(training=Training(steps=steps, schedule=Cosine(warmup=5), truth=Truth(blind=False), **given))


def go(
    folder: Path,
    made: Recipe,
    resume: bool = False,
    parts: dict[str, Part | None] | None = None,
    listen: Listener | None = None,
) -> tuple[Run, Toy]:
    """One run."""
    run, model = Run(folder, made, resume=resume, listen=listen), Toy()
    held = Numbers(16, 1)
    held.turn = 10_000
    run.train(model, [Task("sums", Scaled(), Numbers(), held.draw())], parts or PARTS, made.training)
    return run, model


if __name__ == "__main__":
    torch.set_num_threads(1)
    go(Path(sys.argv[1]), config(int(sys.argv[2])), resume=True)
