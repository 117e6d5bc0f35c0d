"""Rows of a picture and its caption as batches of a dual encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sensorium.data.row import Row
from sensorium.errors import DataError
from sensorium.media import image
from sensorium.model.pair import Pair
from sensorium.objectives.paired import PairBatch
from sensorium.parts import Image, Text
from sensorium.training.task import Blindfold


class Shown(NamedTuple):
    """One row: prepared pixels, what is said of them, and what tells the picture from another."""

    pixels_CHW: Tensor
    text: str
    picture: object


def caption_of(row: Row) -> str:
    """What the assistant says.

    Raises:
        DataError: nothing.
    """
    said = [
        part.text
        for message in row.sample.messages
        if message.role == "assistant"
        for part in message.parts
        if isinstance(part, Text)
    ]
    if not (text := " ".join(said).strip()):
        raise DataError(f"{row.file}, row {row.row}", "has no caption", "Give it an answer, the caption of its picture")
    return text


class LayShown:
    """A row's first picture and its caption.

    Raises:
        DataError: the row lacks one of them. MediaError: the picture cannot be read.
    """

    def __init__(self, model: Pair) -> None:
        self.processing = model.processing

    def __call__(self, row: Row) -> Shown:
        """The picture decoded and prepared."""
        found = [part for message in row.sample.messages for part in message.parts if isinstance(part, Image)]
        if not found:
            raise DataError(f"{row.file}, row {row.row}", "has no picture", "Use rows of pictures with captions")
        source = found[0].source
        return Shown(self.processing.view(image.decode(source).pixels_CHW).pixels_CHW, caption_of(row), source)


def join_shown(laid: Sequence[Shown]) -> PairBatch:
    """Rows side by side."""
    pixels_PCHW = torch.stack([row.pixels_CHW for row in laid])
    return PairBatch(pixels_PCHW, [row.text for row in laid], [row.picture for row in laid])


def blind_shown(batch: PairBatch, how: Blindfold) -> PairBatch | None:
    """The pictures at zero, or each the next row's."""
    pixels_PCHW = batch.pixels_PCHW
    return batch._replace(pixels_PCHW=torch.zeros_like(pixels_PCHW) if how == "zeroed" else pixels_PCHW.roll(1, 0))


def texts_of(draw: Callable[[], Sequence[Sequence[str]]], count: int) -> list[str]:
    """At least so many captions of a feed, for a vocabulary."""
    texts: list[str] = []
    while len(texts) < count:
        texts += [text for part in draw() for text in part]
    return texts
