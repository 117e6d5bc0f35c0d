"""A small model with dropout, a learned objective and data of its own, for tests of the loop; run as a program to be killed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sensorium.data.fault import Fault
from sensorium.data.mixture import Mixture
from sensorium.data.row import Row
from sensorium.errors import MediaError
from sensorium.objectives.loss import Loss
from sensorium.parts import Sample
from sensorium.training.corpus import Share
from sensorium.training.feed import Rows
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

    def close(self) -> None:
        pass


Example = tuple[Tensor, Tensor]


def rows(size: int = 8, parts: int = 2, ahead: int = 2) -> Rows[Example, Example]:
    """Rows of a mixture, laid out by a thread of their own; every eleventh cannot be."""

    def row(number: int) -> Row | Fault:
        return Row(Sample(str(number), ()), "numbers", number + 1)

    def lay(given: Row) -> Example:
        number = int(given.sample.id)
        if number % 11 == 5:
            raise MediaError(f"number {number}", "cannot be read", "Leave it out")
        x_D = torch.randn(4, generator=torch.Generator().manual_seed(number))
        return x_D, (x_D.sum() > 0).long()

    def join(laid: Sequence[Example]) -> list[Example]:
        cut = [laid[part::parts] for part in range(parts)]
        return [(torch.stack([x_D for x_D, _ in some]), torch.stack([y for _, y in some])) for some in cut]

    return Rows(Mixture([Share("numbers", 100, row, "mark")], seed=5), lay, join, size, ahead=ahead)


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
    run.train(model, [Task("sums", Scaled(), rows(), held.draw())], parts or PARTS, made.training)
    return run, model


if __name__ == "__main__":
    torch.set_num_threads(1)
    go(Path(sys.argv[1]), config(int(sys.argv[2])), resume=True)
