"""One family, one exam, so many training questions, one seed: trained, then asked, sighted and not."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from sensorium.errors import CheckpointError
from sensorium.training.lab.exam import Exam, Question
from sensorium.training.lab.family import FAMILIES, Shape
from sensorium.training.optimizer import Group, adamw
from sensorium.training.schedule import Plan

_BITS = ("hits", "no_picture", "other_picture", "other_question")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How every family is trained: alike.

    Args:
        steps: of every run, whatever its number of questions: a longer run would learn more of fewer, too. batch: questions a
            step.
        rate, decay: of AdamW; after `warmup` steps a cosine to nothing.
    """

    steps: int = 1024
    batch: int = 16
    rate: float = 1e-3
    decay: float = 0.05
    warmup: int = 30


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it.

    Args:
        parameters: trained. flops: of one training question, forward and backward. seconds: of processor time in training.
        loss: mean cross-entropy of the right answer on the test questions, nats.
        hits: for each test question whether the likeliest answer was right. no_picture: the same with features of zero;
            other_picture, other_question: with those of another test question. The three are empty when not asked for.
    """

    exam: str
    family: str
    rows: int
    seed: int
    parameters: int
    flops: float
    seconds: float
    loss: float
    hits: tuple[bool, ...]
    no_picture: tuple[bool, ...]
    other_picture: tuple[bool, ...]
    other_question: tuple[bool, ...]

    def save(self, path: Path) -> None:
        """As JSON, whole or not at all; hits as a string of 0 and 1."""
        row = {
            key: "".join(map(str, map(int, value))) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(row) + "\n", "utf-8")
        fresh.replace(path)

    @classmethod
    def load(cls, path: Path) -> Trial:
        """The inverse of `save`.

        Raises:
            CheckpointError: it is no such file.
        """
        try:
            row: dict[str, Any] = json.loads(path.read_text("utf-8"))
            for name in _BITS:
                row[name] = tuple(bit == "1" for bit in row[name])
            return cls(**row)
        except (ValueError, TypeError, KeyError) as error:
            raise CheckpointError(str(path), f"is no trial of the lab ({error})", "Delete it; it is run anew") from error


class Material(NamedTuple):
    """An exam and what the frozen encoder saw in its pictures, float16 `(P, T, D)`."""

    exam: Exam
    seen_PTD: Tensor

    def shape(self, dim: int) -> Shape:
        """What every family is built for."""
        places, dim_in = self.seen_PTD.shape[1:]
        return Shape(self.exam.words, self.exam.answers, dim_in, places, dim)


def run(material: Material, family: str, recipe: Recipe, rows: int, seed: int, dim: int = 96, controls: bool = True) -> Trial:
    """Train and ask.

    Args:
        controls: ask also without the picture, with another one and with another question.

    Raises:
        CheckpointError: the loss is no longer a number. LimitError: the exam has fewer questions than `rows`.
    """
    torch.manual_seed(seed)
    shape = material.shape(dim)
    lesson = Lesson(material, shape, FAMILIES[family](shape))
    asked = material.exam.part(rows, seed)
    flops = lesson.flops(asked[: recipe.batch]) / min(recipe.batch, rows)
    began = time.process_time()
    _teach(lesson, asked, recipe, random.Random(seed))
    seconds = time.process_time() - began
    lesson.student.eval()
    losses, hits = lesson.examine()
    return Trial(
        material.exam.name,
        family,
        rows,
        seed,
        sum(parameter.numel() for parameter in lesson.student.parameters()),
        flops,
        seconds,
        sum(losses) / len(losses),
        hits,
        lesson.examine(picture="none")[1] if controls else (),
        lesson.examine(picture="other")[1] if controls else (),
        lesson.examine(other_question=True)[1] if controls else (),
    )


def _teach(lesson: Lesson, asked: Sequence[Question], recipe: Recipe, chance: random.Random) -> None:
    student, turns = lesson.student.train(), len(asked) // recipe.batch
    optimizer = adamw([Group(dict(student.named_parameters()), recipe.rate, recipe.decay)])
    plan = Plan(recipe.steps, warmup=recipe.warmup, floor=0.0)
    order: list[Question] = []
    for number in range(plan.steps):
        turn = number % turns
        order = chance.sample(asked, len(asked)) if turn == 0 else order
        some = order[turn * recipe.batch : (turn + 1) * recipe.batch]
        for row in optimizer.param_groups:
            row["lr"] = recipe.rate * plan.rate(number, 0.0)
        loss = lesson.loss(some)
        if not math.isfinite(loss.item()):
            raise CheckpointError(f"lab step {number}", f"has the loss {loss.item()}", "Lower --rate")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(student.parameters(), plan.clip)
        optimizer.step()


class Lesson:
    """An exam as one student's tensors."""

    def __init__(self, material: Material, shape: Shape, student: nn.Module) -> None:
        self.exam, self.seen_PTD, self.student = material.exam, material.seen_PTD, student
        self.ids = {answer: index for index, answer in enumerate(shape.answers)}

    def loss(self, some: Sequence[Question]) -> Tensor:
        """Mean cross-entropy over the answers."""
        logits_BA: Tensor = self.student(self._seen(some), [question.text for question in some])
        return F.cross_entropy(logits_BA, self._right(some))

    def flops(self, some: Sequence[Question]) -> float:
        """Floating-point operations of one training step without the optimiser."""
        with FlopCounterMode(display=False) as counter:
            self.loss(some).backward()  # type: ignore[no-untyped-call]
        self.student.zero_grad()
        return float(counter.get_total_flops())

    @torch.no_grad()
    def examine(self, picture: str = "own", other_question: bool = False) -> tuple[list[float], tuple[bool, ...]]:
        """Loss and hit of every test question, with its own picture, none (features of zero) or that of an "other" question."""
        losses: list[float] = []
        hits: list[bool] = []
        order = torch.randperm(len(self.exam.test), generator=torch.Generator().manual_seed(0)).tolist()
        for start in range(0, len(self.exam.test), 128):
            some = self.exam.test[start : start + 128]
            others = [self.exam.test[place] for place in order[start : start + 128]]
            seen_BTD = self._seen(others if picture == "other" else some)
            if picture == "none":
                seen_BTD = torch.zeros_like(seen_BTD)
            logits_BA = self.student(seen_BTD, [item.text for item in (others if other_question else some)])
            right_B = self._right(some)
            losses += F.cross_entropy(logits_BA, right_B, reduction="none").tolist()
            hits += (logits_BA.argmax(1) == right_B).tolist()
        return losses, tuple(hits)

    def _seen(self, some: Sequence[Question]) -> Tensor:
        return self.seen_PTD[[question.picture for question in some]].float()

    def _right(self, some: Sequence[Question]) -> Tensor:
        return torch.tensor([self.ids[question.answer] for question in some])
