"""Distillation of a teacher into a smaller student: its answers, its hidden states and its attention.

Logits after Hinton et al. 2015; hidden states and attention maps after TinyBERT (Jiao et al. 2020, eq. 7 to 10), maps also as
distributions, after MiniLM (Wang et al. 2020, section 3.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.errors import RequestError
from sensorium.objectives.loss import Loss


class Seen(NamedTuple):
    """What is compared of one model on one batch.

    Args:
        logits_XV: at the places that are learned.
        hidden: of some layers, `(B, L, D)` each. attention: of some layers, `(B, N, L, S)` each.
    """

    logits_XV: Tensor
    hidden: Sequence[Tensor] = ()
    attention: Sequence[Tensor] = ()


@dataclass(frozen=True, slots=True)
class Lessons:
    """How much each comparison counts.

    Args:
        temperature: of both models' logits; the term is multiplied by its square, so that its gradient keeps its size.
        gold: cross-entropy with the right answers.
        maps: how attention is compared: `divergence` of where each position looks, in nats; or `squares` of the differences,
            which between probabilities are so small that beside the other terms they move nothing unless they weigh much.
    """

    logits: float = 1.0
    hidden: float = 0.0
    attention: float = 0.0
    gold: float = 0.0
    temperature: float = 2.0
    maps: Literal["squares", "divergence"] = "squares"


class Distillation(nn.Module):
    """Callable over what a student and its teacher show; the map from the student's width to the teacher's is learned too.

    Args:
        student_width, teacher_width: of the hidden states; not needed where they are not compared.
        layers: pairs of layers whose hidden states are compared, each with a map of its own.
    """

    def __init__(self, lessons: Lessons, student_width: int = 0, teacher_width: int = 0, layers: int = 0) -> None:
        super().__init__()
        if lessons.hidden and not (student_width and teacher_width and layers):
            problem = "compares hidden states without knowing their widths and how many layers"
            raise RequestError("distillation", problem, "Give student_width, teacher_width and layers")
        self.lessons = lessons
        self.maps = nn.ModuleList(nn.Linear(student_width, teacher_width, bias=False) for _ in range(layers))

    def forward(self, student: Seen, teacher: Seen, gold_X: Tensor | None = None, valid_BL: Tensor | None = None) -> Loss:
        """The weighted sum of the comparisons' means, times the number of learned places.

        Args:
            teacher: without a gradient. gold_X: the right answers, where `lessons.gold` counts.
            valid_BL: bool, the positions compared in hidden states and attention; None is all.
        """
        lessons, count = self.lessons, float(len(student.logits_XV))
        means: dict[str, tuple[float, Tensor]] = {}
        if lessons.logits:
            soft = soft_cross(student.logits_XV, teacher.logits_XV, lessons.temperature).mean()
            means["logits"] = (lessons.logits, soft)
        if lessons.hidden:
            assert len(student.hidden) == len(teacher.hidden) == len(self.maps), "one map for each pair of layers"
            mapped = [widen(x_BLD) for widen, x_BLD in zip(self.maps, student.hidden, strict=True)]
            gaps = [hidden_gap(x_BLD, y_BLD, valid_BL) for x_BLD, y_BLD in zip(mapped, teacher.hidden, strict=True)]
            means["hidden"] = (lessons.hidden, torch.stack(gaps).mean())
        if lessons.attention:
            maps = zip(student.attention, teacher.attention, strict=True)
            compare = attention_gap if lessons.maps == "squares" else attention_divergence
            gaps = [compare(x_BNLS, y_BNLS, valid_BL) for x_BNLS, y_BNLS in maps]
            means["attention"] = (lessons.attention, torch.stack(gaps).mean())
        if lessons.gold:
            assert gold_X is not None, "right answers to learn"
            means["gold"] = (lessons.gold, F.cross_entropy(student.logits_XV, gold_X))
        total = torch.stack([weight * mean for weight, mean in means.values()]).sum() * count
        agreed = (student.logits_XV.argmax(-1) == teacher.logits_XV.argmax(-1)).float().sum()
        terms = {"loss": float(total.detach()), "agreed": float(agreed)}
        terms |= {name: float(mean.detach()) * count for name, (_, mean) in means.items()}
        return Loss(total, count, {name: (value, count) for name, value in terms.items()})


def soft_cross(student_XV: Tensor, teacher_XV: Tensor, temperature: float) -> Tensor:
    """KL(teacher || student) of both softened by the temperature, times its square, `(X,)`.

    It differs from TinyBERT's eq. 10 by that factor and by the teacher's entropy, which has no gradient.
    """
    student_XV, teacher_XV = (student_XV / temperature).log_softmax(-1), (teacher_XV / temperature).log_softmax(-1)
    return F.kl_div(student_XV, teacher_XV, reduction="none", log_target=True).sum(-1) * temperature**2


def hidden_gap(student_BLD: Tensor, teacher_BLD: Tensor, valid_BL: Tensor | None = None) -> Tensor:
    """Mean squared difference (TinyBERT, eq. 8; of embeddings, eq. 9); the student's states are mapped to width D already."""
    gaps_BL = (student_BLD - teacher_BLD).square().mean(-1)
    return gaps_BL.mean() if valid_BL is None else gaps_BL[valid_BL].mean()


def attention_divergence(student_BNLS: Tensor, teacher_BNLS: Tensor, valid_BL: Tensor | None = None) -> Tensor:
    """KL(teacher || student) of where each position looks, the mean over heads and valid positions (MiniLM, section 3.1).

    Where the numbers of heads differ, the maps averaged over heads are compared. Give probabilities, as traces hold them.
    """
    student_BNLS, teacher_BNLS = _head_by_head(student_BNLS, teacher_BNLS)
    least = torch.finfo(student_BNLS.dtype).tiny
    logs_BNLS = teacher_BNLS.clamp_min(least).log() - student_BNLS.clamp_min(least).log()
    gaps_BNL = (teacher_BNLS * logs_BNLS).sum(-1)
    return gaps_BNL.mean() if valid_BL is None else gaps_BNL[valid_BL[:, None].expand_as(gaps_BNL)].mean()


def attention_gap(student_BNLS: Tensor, teacher_BNLS: Tensor, valid_BL: Tensor | None = None) -> Tensor:
    """Mean squared difference of attention maps, head by head (TinyBERT, eq. 7).

    Where the numbers of heads differ, the maps averaged over heads are compared. Give scores before the softmax, as the paper
    does, or probabilities, as traces hold them.
    """
    student_BNLS, teacher_BNLS = _head_by_head(student_BNLS, teacher_BNLS)
    gaps_BNLS = (student_BNLS - teacher_BNLS).square()
    if valid_BL is None:
        return gaps_BNLS.mean()
    pairs_BNLS = (valid_BL[:, None, :, None] & valid_BL[:, None, None, :]).expand_as(gaps_BNLS)
    return gaps_BNLS[pairs_BNLS].mean()


def _head_by_head(student_BNLS: Tensor, teacher_BNLS: Tensor) -> tuple[Tensor, Tensor]:
    """Maps with as many heads on both sides."""
    if student_BNLS.shape[1] == teacher_BNLS.shape[1]:
        return student_BNLS, teacher_BNLS
    return student_BNLS.mean(1, keepdim=True), teacher_BNLS.mean(1, keepdim=True)


def spread(students: int, teachers: int) -> list[tuple[int, int]]:
    """Which teacher layer each student layer learns from, evenly and ending with the last (TinyBERT's g(m) = m N / M).

    Raises:
        RequestError: the student has more layers than the teacher.
    """
    if students > teachers:
        problem = f"has {students} layers, more than its teacher's {teachers}"
        raise RequestError("student", problem, "Give it at most as many")
    return [(layer, (layer + 1) * teachers // students - 1) for layer in range(students)]
