"""A teacher for rooms, whose few questions hold one person's answer each: what questions and pictures like these are answered.

Kernel ridge regression of answers on questions and pictures; what is told of a picture rests on the answers about all others.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from recipes import nano_alike
from recipes.nano_alike import Kernel
from recipes.nano_data import PictureQuestion
from sensorium.data.sentences import as_sentence
from sensorium.model.dual import DualEncoder

CHOICES, LEAST = 3, 0.03
"""How many answers he gives, each with the square of what regression gives it; with less than `LEAST` an answer is left out."""
QUESTIONS, OWN, TRUST, NEAR, FAR = 12, 6, 0.85, 0.15, 0.02
"""Crossed: questions about a room, and how many of them are its own, where he has `TRUST`; the others come from rooms that look
alike (`NEAR`: the kernel's width) and some from any (`FAR`)."""
Turn = tuple[str, str, float]
"""A question, its answer, and what each token of that counts."""
Soft = Mapping[PictureQuestion, tuple[tuple[str, float], ...]]
"""The answers of a question with their weights, which add up to 1."""


class Teacher:
    """Knows the questions of the split "train".

    Args:
        looks: of each picture by its path, `(T, D)`: what an encoder saw, or what a connector made of it.
    """

    def __init__(
        self, rows: Sequence[PictureQuestion], looks: Mapping[str, Tensor], dual: DualEncoder | None, kernel: Kernel
    ) -> None:
        self.asked = [row for row in rows if row.split == "train"]
        self.owners = defaultdict[str, list[int]](list)
        for line, row in enumerate(self.asked):
            self.owners[row.path].append(line)
        self.answers = [text for text, count in Counter(row.answer for row in self.asked).items() if count > 1]
        right_QA = torch.tensor([[float(row.answer == text) for text in self.answers] for row in self.asked])
        questions, self.pictures = sorted({row.question for row in self.asked}), list(self.owners)
        self.of_question = torch.tensor([questions.index(row.question) for row in self.asked])
        self.of_picture = torch.tensor([self.pictures.index(row.path) for row in self.asked])
        self.asked_NN = nano_alike.of_questions(questions, dual, kernel)
        self.alike_PP = nano_alike.of_pictures(torch.stack([looks[path].float() for path in self.pictures]))
        self.seen_PP = 1 - kernel.seen + kernel.seen * torch.exp((self.alike_PP - 1) / kernel.looks)
        kernel_QQ = self.asked_NN[self.of_question][:, self.of_question] * self.seen_PP[self.of_picture][:, self.of_picture]
        ridge_QQ = kernel.ridge * torch.eye(len(kernel_QQ), dtype=torch.float64)
        self.inverse_QQ = torch.linalg.inv(kernel_QQ.double() + ridge_QQ).float()
        self.weighed_QA = self.inverse_QQ @ right_QA

    def told(self, path: str, lines: Sequence[int]) -> list[Counter[str]]:
        """His answers to the questions of these lines, asked about one picture, as if those about it had not been answered.

        The weights of regression without some lines: all weights less inverse x (their block of the inverse)^-1 x theirs.
        """
        own = torch.tensor(self.owners[path])
        near_LQ = self.asked_NN[self.of_question[torch.tensor(lines)]][:, self.of_question]
        near_LQ = near_LQ * self.seen_PP[self.pictures.index(path)][self.of_picture]
        less_OA = torch.linalg.solve(self.inverse_QQ[own][:, own], self.weighed_QA[own])
        told_LA = near_LQ @ self.weighed_QA - near_LQ @ self.inverse_QQ[:, own] @ less_OA
        best_LK, columns_LK = told_LA.clamp_min(0).square().topk(min(CHOICES, len(self.answers)))
        share_LK = (best_LK / best_LK.sum(1, keepdim=True).clamp_min(1e-9)).tolist()
        pairs = zip(share_LK, columns_LK.tolist(), strict=True)
        return [Counter({self.answers[at]: share for share, at in zip(*pair, strict=True)}) for pair in pairs]

    def soft(self, trust: float) -> Soft:
        """Every question's right answer beside his own, which have `trust` together."""
        soft: dict[PictureQuestion, tuple[tuple[str, float], ...]] = {}
        for path, lines in self.owners.items():
            for line, told in zip(lines, self.told(path, lines), strict=True):
                weights = Counter({text: trust * share for text, share in told.items()})
                weights[self.asked[line].answer] += 1 - sum(weights.values())
                soft[self.asked[line]] = tuple((text, weight) for text, weight in weights.items() if weight > 0.01)
        return soft

    def turns(self, path: str, chance: random.Random) -> Iterator[Turn]:
        """Questions about a picture, its own and others', with his answers; beside these the right ones of its own."""
        own = chance.sample(self.owners[path], min(len(self.owners[path]), OWN))
        near_P = torch.exp((self.alike_PP[self.pictures.index(path)] - 1) / NEAR) + FAR
        others = chance.choices(range(len(self.asked)), near_P[self.of_picture].tolist(), k=QUESTIONS - len(own))
        once: dict[str, int] = {}
        for line in [*own, *(line for line in others if self.asked[line].path != path)]:
            once.setdefault(self.asked[line].question, line)
        for line, told in zip(once.values(), self.told(path, list(once.values())), strict=True):
            right = 1 - TRUST if self.asked[line].path == path else 0.0
            weights = Counter({answer: (1 - right) * share for answer, share in told.items()})
            weights[self.asked[line].answer] += right
            for answer, weight in weights.items():
                if weight > LEAST:
                    yield self.asked[line].question, as_sentence(answer), weight
