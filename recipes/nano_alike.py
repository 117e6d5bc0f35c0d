"""How alike two questions about rooms are, and two pictures of rooms."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.batch import Features, Modality
from sensorium.model.dual import DualEncoder
from sensorium.model.multimodal import MultimodalLM
from sensorium.training.features import FeatureStore


class Kernel(NamedTuple):
    """What makes two questions about pictures alike.

    Args:
        words: their share in how alike two questions are; the rest is their sentence vectors'. asked: that kernel's width.
        seen: the share of the whole in which the pictures count. looks: the width of their kernel. ridge: of the regression.
    """

    words: float
    asked: float
    seen: float
    looks: float
    ridge: float


def of_questions(questions: Sequence[str], dual: DualEncoder | None, kernel: Kernel) -> Tensor:
    """A kernel of their words and sentence vectors, `(N, N)`."""
    words_NG = F.normalize(_words(questions), dim=1)
    meant_ND = F.normalize(DualEncoder.require(dual).text.vectors(questions), dim=1)
    alike_NN = kernel.words * words_NG @ words_NG.T + (1 - kernel.words) * meant_ND @ meant_ND.T
    return torch.exp((alike_NN - 1) / kernel.asked)


def of_pictures(looks_PTD: Tensor) -> Tensor:
    """Cosines of the means and maxima of features, `(P, P)`."""
    seen_PD = torch.cat([looks_PTD.mean(1), looks_PTD.amax(1)], 1)
    seen_PD = F.normalize((seen_PD - seen_PD.mean(0)) / (seen_PD.std(0) + 0.01), dim=1)
    return seen_PD @ seen_PD.T


@torch.inference_mode()
def looks(store: FeatureStore, model: MultimodalLM | None = None) -> dict[str, Tensor]:
    """Pictures by their paths as the encoder saw them; with a model as its connector shows them to the language model."""
    x_PTD = torch.stack([store[view].float() for view in range(len(store))])
    if model is not None:
        x_PTD = model.connectors[Modality.IMAGE].eval()(Features(x_PTD, torch.ones(x_PTD.shape[:2], dtype=torch.bool))).x_BTD
    return dict(zip(store.names, x_PTD, strict=True))


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
