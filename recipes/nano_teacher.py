"""A teacher for rooms, whose few questions hold one person's answer each: what questions and pictures like these are answered.

Kernel ridge regression of answers on questions and pictures; what is told of a picture rests on the answers about all others.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from recipes.nano_data import PictureQuestion
from sensorium.model.dual import DualEncoder
from sensorium.training.features import FeatureStore

WIDTH, SEEN, RIDGE, TRUST, CHOICES = 0.4, 0.5, 3.0, 0.5, 3
"""Of the kernels; the share of the kernel in which the picture counts; of the ridge; the teacher's share of an answer, given to
the likeliest few by the square of what he gives them."""
Soft = Mapping[PictureQuestion, tuple[tuple[str, float], ...]]
"""The answers of a question with their weights, which add up to 1."""


def soften(rows: Sequence[PictureQuestion], store: FeatureStore, dual: DualEncoder | None) -> Soft:
    """For the questions of the split "train", the right answer and the teacher's."""
    asked = [row for row in rows if row.split == "train"]
    answers = [text for text, count in Counter(row.answer for row in asked).items() if count > 1]
    place = {text: column for column, text in enumerate(answers)}
    right_QA = torch.zeros(len(asked), len(answers))
    for line, row in enumerate(asked):
        if row.answer in place:
            right_QA[line, place[row.answer]] = 1
    owners = defaultdict[str, list[int]](list)
    for line, row in enumerate(asked):
        owners[row.path].append(line)
    told_QA = _left_out(_kernel(asked, store, dual), right_QA, list(owners.values()))
    best_QK, columns_QK = told_QA.clamp_min(0).square().topk(min(CHOICES, len(answers)))
    share_QK = (TRUST * best_QK / best_QK.sum(1, keepdim=True).clamp_min(1e-9)).tolist()
    soft: dict[PictureQuestion, tuple[tuple[str, float], ...]] = {}
    for row, shares, columns in zip(asked, share_QK, columns_QK.tolist(), strict=True):
        weights = Counter({row.answer: 1 - sum(shares)})
        for share, column in zip(shares, columns, strict=True):
            weights[answers[column]] += share
        soft[row] = tuple((text, weight) for text, weight in weights.items() if weight > 0.01)
    return soft


def _kernel(asked: Sequence[PictureQuestion], store: FeatureStore, dual: DualEncoder | None) -> Tensor:
    """How alike two questions and their pictures are, `(Q, Q)`: words, sentence vectors, means and maxima of features."""
    questions = sorted({row.question for row in asked})
    of_question = torch.tensor([questions.index(row.question) for row in asked])
    words_NG = F.normalize(_words(questions), dim=1)
    meant_ND = F.normalize(DualEncoder.require(dual).text.vectors(questions), dim=1)
    alike_NN = torch.exp(((words_NG @ words_NG.T + meant_ND @ meant_ND.T) / 2 - 1) / WIDTH)
    pictures = sorted({row.path for row in asked})
    of_picture = torch.tensor([pictures.index(row.path) for row in asked])
    views = {name: view for view, name in enumerate(store.names)}
    x_PTD = torch.stack([store[views[path]].float() for path in pictures])
    seen_PD = torch.cat([x_PTD.mean(1), x_PTD.amax(1)], 1)
    seen_PD = F.normalize((seen_PD - seen_PD.mean(0)) / (seen_PD.std(0) + 0.01), dim=1)
    looks_PP = torch.exp((seen_PD @ seen_PD.T - 1) / WIDTH)
    looks_QQ = looks_PP[of_picture][:, of_picture]
    return alike_NN[of_question][:, of_question] * (1 - SEEN + SEEN * looks_QQ)


def _words(questions: Sequence[str]) -> Tensor:
    """Words, pairs of words and beginnings that stand in more than one question, weighed by their rarity, `(N, G)`."""
    held = [set(_grams(question)) for question in questions]
    counts = Counter(gram for grams in held for gram in grams)
    column = {gram: number for number, gram in enumerate(gram for gram, count in counts.items() if count > 1)}
    words_NG = torch.zeros(len(questions), len(column))
    for line, grams in enumerate(held):
        for gram in grams & column.keys():
            words_NG[line, column[gram]] = math.log(len(questions) / counts[gram])
    return words_NG


def _grams(question: str) -> Iterator[str]:
    words = ["^", *re.findall(r"\w+", question.lower())]
    yield from words
    yield from (f"{one} {other}" for one, other in pairwise(words))
    yield from (" ".join(words[:count]) for count in (3, 4))


def _left_out(kernel_QQ: Tensor, right_QA: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """Each group's answers by ridge regression on all others: right less (its block of the inverse)^-1 (inverse x right)."""
    inverse_QQ = torch.linalg.inv(kernel_QQ.double() + RIDGE * torch.eye(len(kernel_QQ), dtype=torch.float64))
    weighed_QA, told_QA = inverse_QQ @ right_QA.double(), torch.zeros_like(right_QA)
    for lines in groups:
        own = torch.tensor(lines)
        told_QA[own] = (right_QA[own].double() - torch.linalg.solve(inverse_QQ[own][:, own], weighed_QA[own])).float()
    return told_QA
