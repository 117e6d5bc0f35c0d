"""Each schedule is its closed form, and torch's where torch has it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch.optim import lr_scheduler

from sensorium.training.schedule import Constant, Cosine, Linear, Plateau, Schedule, Stable, Steps, Timetable

STEPS = 30


def theirs(make: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler], steps: int = STEPS) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule, rates = make(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def ours(schedule: Schedule, steps: int = STEPS) -> list[float]:
    timetable = Timetable(schedule, steps)
    return [timetable.rate(step, 0.0) for step in range(steps)]


def test_cosine_is_torchs() -> None:
    assert ours(Cosine(warmup=0, floor=0.1)) == pytest.approx(
        theirs(lambda one: lr_scheduler.CosineAnnealingLR(one, STEPS, eta_min=0.1))
    )


def test_linear_is_torchs() -> None:
    assert ours(Linear(warmup=0, floor=0.2)) == pytest.approx(theirs(lambda one: lr_scheduler.LinearLR(one, 1.0, 0.2, STEPS)))


def test_steps_are_torchs() -> None:
    assert ours(Steps(warmup=0, every=7, factor=0.5)) == pytest.approx(theirs(lambda one: lr_scheduler.StepLR(one, 7, 0.5)))


def test_a_constant_with_warm_up_rises_in_a_line() -> None:
    assert ours(Constant(warmup=4), 6) == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 1.0])


def test_a_stable_rate_falls_in_a_line_at_the_end() -> None:
    rates = ours(Stable(warmup=10, decay=0.25, floor=0.0), 50)
    assert rates[9:40] == [1.0] * 31
    assert rates[40:] == pytest.approx([1 - step / 10 for step in range(10)])


def test_the_warm_up_comes_before_and_the_floor_at_the_end() -> None:
    rates = ours(Cosine(warmup=5, floor=0.1), 25)
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[15] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 2)))
    assert Timetable(Cosine(warmup=5, floor=0.1), 25).rate(25, 0.0) == pytest.approx(0.1)


def test_a_plateau_is_torchs() -> None:
    losses = [1.0, 0.9, 0.9, 0.9, 0.9, 0.95, 0.8, 0.8, 0.8, 0.8, 0.79999, 0.8]
    timetable = Timetable(Plateau(warmup=0, factor=0.5, patience=2, least=1e-4, floor=0.1), 100)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2, threshold=1e-4, min_lr=0.1)
    rates = []
    for step, loss in enumerate(losses):
        timetable.hear(loss)
        schedule.step(loss)
        rates.append(timetable.rate(step, 0.0))
        assert rates[-1] == pytest.approx(optimizer.param_groups[0]["lr"])
    assert min(rates) == 0.25


def test_what_was_heard_survives_an_interruption() -> None:
    first, second = (Timetable(Plateau(warmup=0, patience=1), 100, patience=3) for _ in range(2))
    for loss in (1.0, 1.0, 1.0):
        first.hear(loss)
    second.restore(first.state())
    assert second.state() == first.state()
    assert (second.rate(5, 0.0), second.stopped) == (0.5, False)
    second.hear(1.0)
    assert second.stopped
    assert second.progress(5, 0.0) == 1.0
    fresh = Timetable(Constant(), 10)
    fresh.restore(Timetable(Constant(), 10).state())
    assert fresh.lowest == math.inf
