"""A small student of a large teacher on the synthetic world's questions, with and without its teacher."""

from __future__ import annotations

import time
from typing import NamedTuple

import torch
from torch.nn import functional as F

from benchmarks.judged import On
from benchmarks.synthetic.asking import Exam, answering, build, right, school, seen, size
from benchmarks.synthetic.fit import Course, batches, fit
from sensorium.estimate import Estimate, estimate
from sensorium.model.joint import Joint
from sensorium.objectives.distillation import Distillation, Lessons, spread
from sensorium.objectives.loss import Loss

LESSONS = Lessons(logits=1.0, hidden=0.5, attention=3.0, gold=0.5, temperature=2.0, maps="divergence")


class Budget(NamedTuple):
    """Scenes, steps of the teacher and of the student, questions a step; width and depth of both, and heads, as many in both,
    so that each has a head to learn from; judged by.
    """

    scenes: int = 3000
    test: int = 300
    teacher_steps: int = 700
    student_steps: int = 700
    batch: int = 64
    teacher: tuple[int, int] = (96, 3)
    student: tuple[int, int] = (64, 2)
    heads: int = 4
    lessons: Lessons = LESSONS
    on: On = "test"


def distil(budget: Budget | None = None) -> dict[str, Estimate]:
    """Right answers among all questions of the judged scenes, with intervals over scenes.

    Returns:
        `teacher`, `student`, `alone` (the same student without a teacher), `kept` (student by teacher, paired interval),
        `parameters` (student by teacher), `faster` (teacher's CPU time by the student's, 512 questions), `fall` of the loss,
        and of the terms `fall hidden` and `fall attention`.
    """
    budget = budget or Budget()
    lessons = school(budget.scenes, budget.test, on=budget.on)
    teacher = build(lessons.texts, lessons.answers, *budget.teacher, budget.heads)
    plain(teacher, lessons.train, budget.teacher_steps, budget.batch)
    teacher.eval().requires_grad_(False)
    alone = build(lessons.texts, lessons.answers, *budget.student, budget.heads)
    plain(alone, lessons.train, budget.student_steps, budget.batch)
    student = build(lessons.texts, lessons.answers, *budget.student, budget.heads)
    course = taught(student, teacher, lessons.train, budget)
    marks = {
        name: right(model.eval(), lessons.test).numpy()
        for name, model in (("teacher", teacher), ("student", student), ("alone", alone))
    }
    both = torch.stack([torch.from_numpy(marks["student"]), torch.from_numpy(marks["teacher"])], 1).double().numpy()
    falls = {f"fall {name}": course.fall(name) for name in ("logits", "hidden", "attention")}
    numbers = {"parameters": size(student) / size(teacher), "faster": _cpu(teacher, lessons.test) / _cpu(student, lessons.test)}
    of = lessons.test.scenes()
    return (
        {name: estimate(mark, clusters=of) for name, mark in marks.items()}
        | {"kept": estimate(both, lambda rows: float(rows[:, 0].mean() / rows[:, 1].mean()), clusters=of)}
        | {name: Estimate(value, value, value, 1) for name, value in {**numbers, "fall": course.fall(), **falls}.items()}
    )


def plain(model: Joint, exam: Exam, steps: int, batch: int, rate: float = 1.5e-3) -> Course:
    """Cross-entropy with the right answers."""
    rows = batches(len(exam), batch)

    def loss(step: int) -> Loss:
        which = rows(step)
        total = F.cross_entropy(seen(model, exam.pairs(which), ()).logits_XV, exam.gold_Q[which], reduction="sum")
        return Loss(total, len(which), {"loss": (float(total.detach()), len(which))})

    return fit(answering(model), loss, steps, rate, decay=0.01)


def taught(student: Joint, teacher: Joint, exam: Exam, budget: Budget, rate: float = 1.5e-3) -> Course:
    """All that a teacher shows: answers, hidden states and attention of evenly spread layers."""
    pairs = spread(budget.student[1], budget.teacher[1])
    objective = Distillation(budget.lessons, budget.student[0], budget.teacher[0], len(pairs))
    rows = batches(len(exam), budget.batch)

    def loss(step: int) -> Loss:
        which = rows(step)
        some = exam.pairs(which)
        valid_BL = torch.cat([some.words.valid_BL, some.regions.valid_BG], 1)
        with torch.no_grad():
            told = seen(teacher, some, [layer for _, layer in pairs])
        return objective(seen(student, some, [layer for layer, _ in pairs]), told, exam.gold_Q[which], valid_BL)

    return fit([*answering(student), *objective.parameters()], loss, budget.student_steps, rate, decay=0.01)


def _cpu(model: Joint, exam: Exam) -> float:
    """Seconds for the first 512 questions, the best of three rounds."""
    rows, took = range(min(512, len(exam))), []
    for _ in range(3):
        began = time.process_time()
        right(model, exam, rows)
        took.append(time.process_time() - began)
    return min(took)
