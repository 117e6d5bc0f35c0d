"""Retrieval: a head takes a photo's features into the space of sentence vectors, and a small map bends that space a little."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from recipes.nano_data import Photo
from sensorium.batch import Features
from sensorium.heads.embedding import EmbeddingHead, ResidualMap
from sensorium.objectives.contrastive import contrast
from sensorium.objectives.loss import Loss
from sensorium.training.features import FeatureStore
from sensorium.training.feed import Epoch, Thunk
from sensorium.training.loop import train
from sensorium.training.optimizer import Group
from sensorium.training.schedule import Plan

EPOCHS, BATCH, RATE, DECAY, SCALE = 14, 512, 1e-3, 0.2, 20.0
IMAGE_DROPOUT, TEXT_DROPOUT = 0.5, 0.2


class Towers(nn.Module):
    """What is trained: both sides, and the scale on their cosines."""

    def __init__(self, image_head: EmbeddingHead, text_head: ResidualMap | None) -> None:
        super().__init__()
        self.image_head, self.text_head = image_head, text_head
        image_head.dropout.p = IMAGE_DROPOUT
        if text_head is not None:
            text_head.dropout.p = TEXT_DROPOUT
        self.log_scale = nn.Parameter(torch.tensor(math.log(SCALE)))

    def forward(self, x_PTD: Tensor, texts_PCD: Tensor) -> Loss:
        """The contrastive loss of photos' features and their captions' vectors."""
        images_PD = self.image_head(Features(x_PTD, torch.ones(x_PTD.shape[:2], dtype=torch.bool)))
        texts_PCD = texts_PCD if self.text_head is None else self.text_head(texts_PCD)
        return contrast(images_PD.float(), texts_PCD.float(), self.log_scale.exp().clamp(max=50.0))


def run(
    towers: Towers,
    photos: Sequence[Photo],
    store: FeatureStore,
    sentences_ICD: Tensor,
    state: Path | None,
    say: Callable[[str], None],
    epochs: int = EPOCHS,
    batch: int = BATCH,
) -> dict[str, Tensor]:
    """Train on the photos of the split "train".

    Args:
        store: features of every photo as it is and mirrored, one after the other.
        sentences_ICD: the vectors of every photo's captions.

    Returns:
        The tensors by their shipped names.
    """
    kept = np.array([index for index, photo in enumerate(photos) if photo.split == "train"])
    batch = min(batch, len(kept))
    heads = {name: parameter for name, parameter in towers.named_parameters() if name != "log_scale"}
    groups = [Group(heads, RATE, DECAY), Group({"log_scale": towers.log_scale}, RATE)]
    plan = Plan(steps=epochs * (len(kept) // batch), warmup=30, floor=0.01)
    train(groups, _epoch(towers, kept, store, sentences_ICD, batch), plan, state=state, say=say, every=11)
    return {f"dual.{name}": tensor.detach() for name, tensor in heads.items()}


def _epoch(towers: Towers, kept: np.ndarray, store: FeatureStore, sentences_ICD: Tensor, batch: int) -> Epoch:
    def epoch(number: int) -> list[Sequence[Thunk]]:
        chance = np.random.default_rng(number)
        order, mirrored = chance.permutation(kept), chance.integers(0, 2, len(kept))
        starts = range(0, len(kept) - batch + 1, batch)
        return [[partial(loss, order[i : i + batch], mirrored[i : i + batch])] for i in starts]

    def loss(rows: np.ndarray, mirrored: np.ndarray) -> Loss:
        x_PTD = torch.stack([store[2 * int(row) + int(flip)] for row, flip in zip(rows, mirrored, strict=True)])
        with torch.autocast("cpu", torch.bfloat16):
            return towers(x_PTD.float(), sentences_ICD[torch.from_numpy(rows)])

    return epoch
