"""Answering from a closed list: cross-entropy over a joint model's answers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.errors import RequestError
from sensorium.fusion.pairs import Pairs
from sensorium.model.joint import Joint
from sensorium.nn.trace import SILENT, Trace
from sensorium.objectives.loss import Loss


def answering(model: Joint, pairs: Pairs, answers: Sequence[str], trace: Trace = SILENT) -> Loss:
    """Summed cross-entropy (terms `answering` and `answers_right`); its size is the number of questions.

    Raises:
        RequestError: a model without answers, or an answer that is not in its list.
    """
    wanted_B = places(model, answers)
    assert model.answer is not None
    logits_BA = model.answer(model(pairs, trace=trace).pooled_BD)
    total = F.cross_entropy(logits_BA, wanted_B, reduction="sum")
    count, right = float(len(wanted_B)), float((logits_BA.argmax(-1) == wanted_B).sum())
    return Loss(total, count, {"answering": (float(total.detach()), count), "answers_right": (right, count)})


def places(model: Joint, answers: Sequence[str]) -> Tensor:
    """Where each answer stands in the model's list, int64.

    Raises:
        RequestError: a model without answers, or an answer that is not in its list.
    """
    if model.answer is None:
        raise RequestError("answering", "is not possible with a model without answers", "Set answers in its configuration")
    place = {answer: number for number, answer in enumerate(model.config.answers)}
    if unknown := sorted(set(answers) - place.keys()):
        problem = f"is not among the {len(place)} answers of this model"
        raise RequestError(f"answer {unknown[0]!r}", problem, "Leave such questions out, or add the answer")
    return torch.tensor([place[answer] for answer in answers])
