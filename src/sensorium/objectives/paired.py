"""One step of a dual encoder: both sides' vectors, in chunks where the batch is large, near-duplicates found, then the loss."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

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


class Paired(nn.Module):
    """Callable over (model, batch); the objective's own parameters are trained with the model's.

    Args:
        chunk: pictures and texts that are encoded with gradients at once (see `gradient_cache`); 0 is the whole batch.
    """

    def __init__(self, objective: Contrast | HallucinationContrast, chunk: int = 0) -> None:
        super().__init__()
        self.objective, self.chunk = objective, chunk

    def forward(self, model: Pair, batch: PairBatch) -> Loss:
        """See the objective."""
        count = len(batch.texts)
        images_PD = in_chunks(model.images, batch.pixels_PCHW, self.chunk) if self.chunk else model.images(batch.pixels_PCHW)  # type: ignore[arg-type]
        said = [*batch.texts, *batch.hallucinated]
        texts_XD = in_chunks(model.texts, said, self.chunk) if self.chunk else model.texts(said)
        right_PP = alike(batch.texts, batch.pictures)
        if isinstance(self.objective, HallucinationContrast):
            lies_PCD = texts_XD[count:, None]
            hallucinating: Loss = self.objective(images_PD, texts_XD[:count], lies_PCD, right_PP)
            return hallucinating
        loss: Loss = self.objective(images_PD, texts_XD[:count], right_PP)
        return loss
