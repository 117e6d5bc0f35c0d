"""Three kinds of questions learned one after another: what is forgotten, and what replay, EWC and averaged weights save."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from benchmarks.estimate import Estimate, estimate
from benchmarks.synthetic.asking import Exam, answering, build, right, school, seen
from benchmarks.synthetic.fit import fit
from sensorium.model.joint import Joint
from sensorium.objectives.continual import Elastic, Replay, interpolate
from sensorium.objectives.loss import Loss

TASKS = ("colour", "shape", "counting")
Way = Literal["naive", "replay", "ewc", "averaged"]
RATE, STRENGTH, SHARE = 1.5e-3, 3e4, 0.5
REGION_BYTES = 4 * (64 + 4)


class Budget(NamedTuple):
    """Scenes, steps a task, questions a step; bytes of the replay buffer; samples for the Fisher information."""

    scenes: int = 4000
    test: int = 400
    steps: int = 400
    batch: int = 64
    bytes: int = 1_000_000
    fisher: int = 200


def forgetting(
    ways: tuple[Way, ...] = ("naive", "replay", "ewc", "averaged"), budget: Budget | None = None
) -> dict[str, Estimate]:
    """By way: the mean over the first two tasks of accuracy right after learning less accuracy at the end (points / 100), and
    the mean accuracy at the end over all three (`... end`). Intervals over test questions."""
    budget = budget or Budget()
    lessons = school(budget.scenes, budget.test, TASKS)
    out: dict[str, Estimate] = {}
    for way in ways:
        model = build(lessons.texts, lessons.answers, 72, 2)
        after, end = stream(model, lessons.train, lessons.test, way, budget)
        lost = np.concatenate([(after[task].double() - end[task].double()).numpy() for task in TASKS[:2]])
        out[way] = estimate(lost)
        out[f"{way} end"] = estimate(np.concatenate([end[task].double().numpy() for task in TASKS]))
    return out


def stream(model: Joint, train: Exam, test: Exam, way: Way, budget: Budget) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Whether each test question was right, just after its task was learned, and at the end."""
    parameters = {str(number): parameter for number, parameter in enumerate(answering(model))}
    elastic = Elastic(STRENGTH)
    replay: Replay[int] = Replay(budget.bytes, _bytes(train))
    after: dict[str, Tensor] = {}
    for number, task in enumerate(TASKS):
        rows, before = train.of(task), {name: tensor.clone() for name, tensor in model.state_dict().items()}
        loss = _loss(model.train(), train, rows, replay if way == "replay" and number else None, budget.batch)
        if way == "ewc" and number:
            fit(
                list(parameters.values()),
                lambda step, plain=loss: elastic(plain(step), parameters),
                budget.steps,
                RATE,
                decay=0.0,
            )  # type: ignore[misc]
        else:
            fit(list(parameters.values()), loss, budget.steps, RATE, decay=0.01)
        if way == "averaged" and number:
            model.load_state_dict(interpolate(before, model.state_dict(), SHARE))
        after[task] = right(model.eval(), test, test.of(task))
        for row in rows:
            replay.add(row)
        if way == "ewc":
            some = random.Random(number).sample(rows, min(budget.fisher, len(rows)))
            elastic.add(parameters, (_one(model, train, row) for row in some))
    return after, {task: right(model, test, test.of(task)) for task in TASKS}


def _loss(model: Joint, exam: Exam, rows: list[int], replay: Replay[int] | None, batch: int) -> Callable[[int], Loss]:
    chance = random.Random(0)

    def loss(step: int) -> Loss:  # noqa: ARG001 draws are in order
        fresh = batch if replay is None else batch // 2
        which = chance.sample(rows, min(fresh, len(rows))) + ([] if replay is None else replay.draw(batch - fresh))
        return _answers(model, exam, which)

    return loss


def _one(model: Joint, exam: Exam, row: int) -> Callable[[], Loss]:
    return lambda: _answers(model, exam, [row])


def _answers(model: Joint, exam: Exam, which: list[int]) -> Loss:
    total = F.cross_entropy(seen(model, exam.pairs(which), ()).logits_XV, exam.gold_Q[which], reduction="sum")
    return Loss(total, len(which), {"loss": (float(total.detach()), len(which))})


def _bytes(exam: Exam) -> Callable[[int], int]:
    """Of a question: its characters, and the features and boxes of its scene's things."""

    def size(row: int) -> int:
        item = exam.asked[row]
        return len(item.question) + len(item.answer) + REGION_BYTES * int(exam.regions.valid_BG[item.scene].sum())

    return size
