"""Distillation terms against trl, torch and TinyBERT's equations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.errors import RequestError
from sensorium.objectives.distillation import (
    Distillation,
    Lessons,
    Seen,
    attention_divergence,
    attention_gap,
    hidden_gap,
    soft_cross,
    spread,
)


@pytest.mark.slow  # for the import of trl
def test_soft_targets_are_trls_divergence_times_the_squared_temperature() -> None:
    gkd = pytest.importorskip("trl.experimental.gkd.gkd_trainer")
    student_XV, teacher_XV = torch.randn(2, 5, 11)
    wanted = gkd.GKDTrainer.generalized_jsd_loss(student_XV[None], teacher_XV[None], beta=0, temperature=3.0, reduction="sum")
    assert float(soft_cross(student_XV, teacher_XV, 3.0).sum()) == pytest.approx(9 * float(wanted), rel=1e-5)


def test_soft_targets_have_the_gradient_of_tinyberts_soft_cross_entropy() -> None:
    student_XV, teacher_XV = torch.randn(2, 5, 11)
    student_XV.requires_grad_()
    mine = torch.autograd.grad(soft_cross(student_XV, teacher_XV, 2.0).sum(), student_XV)[0]
    paper = -(teacher_XV / 2).softmax(-1) * (student_XV / 2).log_softmax(-1)
    assert torch.allclose(mine, 4 * torch.autograd.grad(paper.sum(), student_XV)[0], atol=1e-6)
    assert float(soft_cross(teacher_XV, teacher_XV, 2.0).abs().max()) < 1e-6


def test_hidden_states_and_attention_are_compared_by_mean_squares_of_what_is_valid() -> None:
    student_BLD, teacher_BLD = torch.randn(2, 2, 3, 4)
    valid_BL = torch.tensor([[True, True, True], [True, False, False]])
    assert float(hidden_gap(student_BLD, teacher_BLD)) == pytest.approx(float(F.mse_loss(student_BLD, teacher_BLD)))
    wanted = F.mse_loss(student_BLD.flatten(0, 1)[:4], teacher_BLD.flatten(0, 1)[:4])
    assert float(hidden_gap(student_BLD, teacher_BLD, valid_BL)) == pytest.approx(float(wanted))
    student_BNLS, teacher_BNLS = torch.randn(2, 2, 5, 3, 3)
    paper = sum(F.mse_loss(student_BNLS[:, head], teacher_BNLS[:, head]) for head in range(5)) / 5
    assert float(attention_gap(student_BNLS, teacher_BNLS)) == pytest.approx(float(paper), rel=1e-5)
    parts = [
        (student_BNLS - teacher_BNLS)[0].square().flatten(),
        (student_BNLS - teacher_BNLS)[1, :, :1, :1].square().flatten(),
    ]
    assert float(attention_gap(student_BNLS, teacher_BNLS, valid_BL)) == pytest.approx(float(torch.cat(parts).mean()), rel=1e-5)


def test_other_numbers_of_heads_are_compared_by_their_mean() -> None:
    teacher_BNLS = torch.rand(2, 6, 3, 3)
    assert float(attention_gap(teacher_BNLS.mean(1, keepdim=True).expand(-1, 2, -1, -1), teacher_BNLS)) < 1e-12


def test_maps_are_compared_as_distributions_at_valid_positions() -> None:
    """Against torch's divergence, with keys that nobody sees at zero on both sides."""
    valid_BL = torch.tensor([[True, True, True], [True, True, False]])
    masked_BNLS = torch.zeros(2, 4, 3, 3).masked_fill(~valid_BL[:, None, None], -torch.inf)
    student_BNLS, teacher_BNLS = ((torch.randn(2, 4, 3, 3) + masked_BNLS).softmax(-1) for _ in range(2))
    student_BNLS.requires_grad_()
    each = F.kl_div(student_BNLS.clamp_min(1e-30).log(), teacher_BNLS, reduction="none").sum(-1)
    wanted = torch.cat([each[0].flatten(), each[1, :, :2].flatten()]).mean()
    found = attention_divergence(student_BNLS, teacher_BNLS, valid_BL)
    assert float(found.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)
    (gradient_BNLS,) = torch.autograd.grad(found, student_BNLS)
    assert bool(gradient_BNLS.isfinite().all()) and float(gradient_BNLS.abs().max()) > 0
    assert float(attention_divergence(teacher_BNLS, teacher_BNLS)) == pytest.approx(0.0, abs=1e-6)
    assert float(attention_divergence(teacher_BNLS.mean(1, keepdim=True), teacher_BNLS)) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(("maps", "measure"), [("squares", attention_gap), ("divergence", attention_divergence)])
def test_the_lessons_say_how_maps_are_compared(maps: Literal["squares", "divergence"], measure: Callable[..., Tensor]) -> None:
    maps_BNLS = torch.rand(2, 2, 3, 4, 4).softmax(-1)
    objective, logits_XV = Distillation(Lessons(logits=0.0, attention=1.0, maps=maps)), torch.zeros(5, 3)
    loss = objective(Seen(logits_XV, (), [maps_BNLS[0]]), Seen(logits_XV, (), [maps_BNLS[1]]))
    assert float(loss.total) / 5 == pytest.approx(float(measure(maps_BNLS[0], maps_BNLS[1])), rel=1e-5)


def test_the_total_is_the_weighted_sum_of_its_terms() -> None:
    lessons = Lessons(logits=0.5, hidden=2.0, attention=3.0, gold=0.25, temperature=1.5)
    objective = Distillation(lessons, student_width=4, teacher_width=6, layers=2)
    hidden = [(torch.randn(2, 3, 4), torch.randn(2, 3, 6)) for _ in range(2)]
    maps = [(torch.rand(2, 2, 3, 3), torch.rand(2, 2, 3, 3))]
    logits = torch.randn(7, 9), torch.randn(7, 9)
    student, teacher = (Seen(logits[i], [pair[i] for pair in hidden], [pair[i] for pair in maps]) for i in range(2))
    loss = objective(student, teacher, torch.arange(7))
    parts = {name: value / count for name, (value, count) in loss.terms.items()}
    wanted = 0.5 * parts["logits"] + 2 * parts["hidden"] + 3 * parts["attention"] + 0.25 * parts["gold"]
    assert float(loss.total.detach()) / loss.size == pytest.approx(wanted, rel=1e-5)
    assert loss.size == 7
    loss.total.backward()
    assert all(parameter.grad is not None for parameter in objective.parameters())


def test_the_learned_map_finds_a_students_states_in_its_teachers() -> None:
    torch.manual_seed(0)
    states_BLD, true_DE = torch.randn(8, 4, 3), torch.randn(3, 5)
    objective = Distillation(Lessons(logits=0.0, hidden=1.0), 3, 5, 1)
    optimizer = torch.optim.Adam(objective.parameters(), 0.05)
    blank = torch.zeros(8, 2)
    losses = []
    for _ in range(200):
        optimizer.zero_grad()
        loss = objective(Seen(blank, [states_BLD]), Seen(blank, [states_BLD @ true_DE]))
        loss.total.backward()
        optimizer.step()
        losses.append(float(loss.total.detach()))
    assert losses[-1] < 0.01 * losses[0]


def test_layers_are_spread_as_tinybert_does_and_a_larger_student_is_refused() -> None:
    assert spread(4, 12) == [(0, 2), (1, 5), (2, 8), (3, 11)]
    assert spread(2, 2) == [(0, 0), (1, 1)]
    with pytest.raises(RequestError, match="student: has 3 layers, more than its teacher's 2. Give it at most as many"):
        spread(3, 2)
    with pytest.raises(RequestError, match="without knowing their widths and how many layers. Give student_width"):
        Distillation(Lessons(hidden=1.0))
