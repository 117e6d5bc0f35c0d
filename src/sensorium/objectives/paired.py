"""One step of a dual encoder: both sides' vectors, in chunks where the batch is large, near-duplicates found, then the loss.

Processes that share a batch compare all of it: each makes the vectors of its own pairs, sees those of the others, and counts
its own; the gradient of a vector comes back from everywhere. The sum over processes is the loss of the whole batch in one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from sensorium.model.pair import Pair
from sensorium.objectives.contrastive import Contrast, alike
from sensorium.objectives.gradient_cache import in_chunks
from sensorium.objectives.hallucination import HallucinationContrast
from sensorium.objectives.loss import Loss


class PairBatch(NamedTuple):
    """P pictures, each with a text.

    Args:
        pixels_PCHW: prepared, or uint8 of the model's size. texts: one a picture.
        pictures: what tells a picture from another; None means that all differ.
        hallucinated: of each picture a text that is wrong about it, where the objective learns from them.
    """

    pixels_PCHW: Tensor
    texts: Sequence[str]
    pictures: Sequence[Hashable] | None = None
    hallucinated: Sequence[str] = ()


class Gather(Protocol):
    """How processes that share a batch see one another's part of it; `training.distributed.Together` is one."""

    def rows(self, x_PD: Tensor) -> tuple[Tensor, slice]:
        """The rows of all processes in their order, and which are this one's; their gradients come back here summed."""
        ...

    def told(self, value: Any) -> list[Any]:
        """What each process says, in their order."""
        ...


class Paired(nn.Module):
    """Callable over (model, batch); the objective's own parameters are trained with the model's.

    Args:
        chunk: pictures and texts that are encoded with gradients at once (see `gradient_cache`); 0 is the whole batch.
        gather: of the processes that share a training batch; None is one process. An evaluation's batches are whole already.
    """

    def __init__(self, objective: Contrast | HallucinationContrast, chunk: int = 0, gather: Gather | None = None) -> None:
        super().__init__()
        self.objective, self.chunk, self.gather = objective, chunk, gather

    def forward(self, model: Pair, batch: PairBatch) -> Loss:
        """See the objective."""
        count = len(batch.texts)
        images_PD = in_chunks(model.images, batch.pixels_PCHW, self.chunk) if self.chunk else model.images(batch.pixels_PCHW)  # type: ignore[arg-type]
        said = [*batch.texts, *batch.hallucinated]
        texts_XD = in_chunks(model.texts, said, self.chunk) if self.chunk else model.texts(said)
        sides_PSD = torch.cat([images_PD, texts_XD]).view(-1, count, images_PD.shape[1]).transpose(0, 1)
        texts, pictures, mine = batch.texts, batch.pictures, slice(None)
        if self.gather is not None and self.training:
            told = self.gather.told((list(texts), None if pictures is None else [_mark(picture) for picture in pictures]))
            texts = [text for own, _ in told for text in own]
            pictures = None if pictures is None else [mark for _, own in told for mark in own]
            flat_PX, mine = self.gather.rows(sides_PSD.flatten(1))
            sides_PSD = flat_PX.view(len(flat_PX), *sides_PSD.shape[1:])
        right_PP = alike(texts, pictures)
        if isinstance(self.objective, HallucinationContrast):
            hallucinating: Loss = self.objective(sides_PSD[:, 0], sides_PSD[:, 1], sides_PSD[:, 2:], right_PP, mine)
            return hallucinating
        loss: Loss = self.objective(sides_PSD[:, 0], sides_PSD[:, 1], right_PP, mine)
        return loss


def _mark(picture: Hashable) -> Hashable:
    """What tells a picture from another, short enough to be sent at every step."""
    return hashlib.blake2b(picture, digest_size=16).digest() if isinstance(picture, bytes) else picture
