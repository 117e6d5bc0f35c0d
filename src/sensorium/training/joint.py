"""Rows of a picture and a text as batches of a joint model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from sensorium.data.row import Row
from sensorium.fusion.pairs import Words, pad
from sensorium.model.joint import Joint
from sensorium.model.joint_reading import View
from sensorium.objectives.pretraining import Shown
from sensorium.parts import Sample
from sensorium.training.shown import caption_of
from sensorium.training.task import Blindfold


class Laid(NamedTuple):
    """One row: its words, its picture before the encoder, and its text."""

    words: Words
    view: View
    text: str


class LayJoint:
    """A row's one picture, and what the assistant says of it.

    Raises:
        DataError: the row says nothing. RequestError: not one picture, a text that is too long, or (at boxes) no objects.
        MediaError: the picture cannot be read.
    """

    def __init__(self, model: Joint) -> None:
        self.model = model

    def __call__(self, row: Row) -> Laid:
        """Read, decoded and prepared."""
        text, sample = caption_of(row), with_objects(row.sample)
        return Laid(self.model.reader([sample], ("assistant",)), self.model.view(sample), text)


def with_objects(sample: Sample) -> Sample:
    """A sample of the synthetic world with the things of its scene as objects; any other as it is."""
    scene = sample.meta.get("scene")
    if scene is None or "objects" in sample.meta:
        return sample
    named = [{"name": f"{thing['colour']} {thing['shape']}", "box": thing["box"]} for thing in scene["things"]]
    return Sample(sample.id, sample.messages, {**sample.meta, "objects": named})


def join_joint(laid: Sequence[Laid]) -> Shown:
    """Rows side by side, padded to the longest."""
    ids, tags = (pad([getattr(row.words, name)[0] for row in laid]).x_BTD for name in ("ids_BL", "tags_BL"))
    valid_BL = pad([row.words.ids_BL[0] for row in laid]).valid_BT
    words = Words(ids, valid_BL, tags, tuple(spots for row in laid for spots in row.words.spots))
    return Shown(words, [row.view for row in laid], [row.text for row in laid])


def blind_joint(batch: Shown, how: Blindfold) -> Shown | None:
    """The pictures at zero, or each the next row's, where they have as many pieces and regions."""
    if how == "zeroed":
        views = [view._replace(tensors=tuple(torch.zeros_like(tensor) for tensor in view.tensors)) for view in batch.views]
        return batch._replace(views=views)
    return batch._replace(views=[*batch.views[1:], *batch.views[:1]])
