"""Three kinds of questions learned one after another: what is forgotten, and what replay, EWC and averaged weights save."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.judged import On
from benchmarks.synthetic.asking import Exam, School, answering, build, right, school, seen
from benchmarks.synthetic.fit import fit
from sensorium.estimate import Estimate, estimate
from sensorium.model.joint import Joint
from sensorium.objectives.continual import Elastic, Replay, interpolate
from sensorium.objectives.loss import Loss

TASKS = ("colour", "shape", "counting")
Way = Literal["naive", "replay", "ewc", "averaged"]
RATE, STRENGTH, SHARE = 1.5e-3, 2e6, 0.5
REGION_BYTES = 4 * (64 + 4)


class Budget(NamedTuple):
    """Scenes, steps a task, questions a step; bytes of the replay buffer; samples for the Fisher information; judged by."""

    scenes: int = 2500
    test: int = 300
    steps: int = 300
    batch: int = 64
    bytes: int = 1_000_000
    fisher: int = 200
    on: On = "test"


def forgetting(
    ways: Sequence[Way] = ("naive", "replay", "ewc", "averaged"), budget: Budget | None = None, *, told: bool = False
) -> dict[str, Estimate]:
    """By way: the mean over the first two tasks of accuracy right after learning less accuracy at the end (points / 100), and
    the mean accuracy at the end over all three (`... end`). Intervals over the judged
    scenes.

    Args:
        told: it is known which task a question is of, so that only that task's answers compete, in training and after it. EWC
            guards weights, and no weight of the first task says that the answers of the third are wrong: it needs this.
    """
    budget = budget or Budget()
    lessons = school(budget.scenes, budget.test, TASKS, budget.on)
    out: dict[str, Estimate] = {}
    for way in ways:
        stream = Stream(build(lessons.texts, lessons.answers, 64, 2), lessons, way, budget, told)
        after, end = stream.run()
        lost = np.concatenate([(after[task].double() - end[task].double()).numpy() for task in TASKS[:2]])
        of = {task: lessons.test.scenes(lessons.test.of(task)) for task in TASKS}
        out[way] = estimate(lost, clusters=[scene for task in TASKS[:2] for scene in of[task]])
        kept = np.concatenate([end[task].double().numpy() for task in TASKS])
        out[f"{way} end"] = estimate(kept, clusters=[scene for task in TASKS for scene in of[task]])
    return out


class Stream:
    """One model that learns the tasks in one way."""

    def __init__(self, model: Joint, lessons: School, way: Way, budget: Budget, told: bool) -> None:
        self.model, self.train, self.test, self.way, self.budget = model, lessons.train, lessons.test, way, budget
        every = torch.ones(len(lessons.answers), dtype=torch.bool)
        self.among = {task: _padded(self.train.answers(task), len(every)) if told else every for task in TASKS}
        self.parameters = {str(number): parameter for number, parameter in enumerate(answering(model))}
        self.elastic, self.chance = Elastic(STRENGTH), random.Random(0)
        self.replay: Replay[int] = Replay(budget.bytes, _bytes(self.train))

    def run(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Whether each test question was right, just after its task was learned, and at the end."""
        after: dict[str, Tensor] = {}
        for number, task in enumerate(TASKS):
            before = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
            rows = self.train.of(task)
            decay = 0.0 if self.way == "ewc" else 0.01
            fit(list(self.parameters.values()), self._loss(rows, number), self.budget.steps, RATE, decay=decay)
            if self.way == "averaged" and number:
                self.model.load_state_dict(interpolate(before, self.model.state_dict(), SHARE))
            after[task] = self._right(task)
            for row in rows:
                self.replay.add(row)
            if self.way == "ewc":
                some = random.Random(number).sample(rows, min(self.budget.fisher, len(rows)))
                self.elastic.add(self.parameters, (partial(self._answers, [row], drawn=True) for row in some))
        return after, {task: self._right(task) for task in TASKS}

    def _right(self, task: str) -> Tensor:
        found = right(self.model.eval(), self.test, self.test.of(task), self.among[task])
        self.model.train()
        return found

    def _loss(self, rows: list[int], number: int) -> Callable[[int], Loss]:
        old = self.budget.batch // 2 if self.way == "replay" and number else 0

        def loss(_: int) -> Loss:
            fresh = self.chance.sample(rows, min(self.budget.batch - old, len(rows)))
            plain = self._answers(fresh + self.replay.draw(old))
            return self.elastic(plain, self.parameters) if self.way == "ewc" and number else plain

        return loss

    def _answers(self, which: list[int], drawn: bool = False) -> Loss:
        """Cross-entropy with the right answers, or with those that the model itself draws (the true Fisher)."""
        among_XA = torch.stack([self.among[self.train.asked[row].kind] for row in which])
        logits_XA = seen(self.model, self.train.pairs(which), ()).logits_XV.masked_fill(~among_XA, -1e4)
        gold_X = torch.multinomial(logits_XA.detach().softmax(-1), 1)[:, 0] if drawn else self.train.gold_Q[which]
        total = F.cross_entropy(logits_XA, gold_X, reduction="sum")
        return Loss(total, len(which), {"loss": (float(total.detach()), len(which))})


def _padded(among_A: Tensor, count: int) -> Tensor:
    return F.pad(among_A, (0, count - len(among_A)))


def _bytes(exam: Exam) -> Callable[[int], int]:
    """Of a question: its characters, and the features and boxes of its scene's things."""

    def size(row: int) -> int:
        item = exam.asked[row]
        return len(item.question) + len(item.answer) + REGION_BYTES * int(exam.regions.valid_BG[item.scene].sum())

    return size
