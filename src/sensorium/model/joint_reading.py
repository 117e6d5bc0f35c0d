"""Samples to words and boxes for a joint model: which token and which region comes from which part of which message."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import prod
from typing import Literal, NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor

from sensorium.batch import Modality, Placement
from sensorium.errors import CheckpointError, RequestError
from sensorium.fusion.pairs import Regions, Words, cells, pad, pool_boxes
from sensorium.media import image
from sensorium.media.objects import picture_of, things_of
from sensorium.model.joint_config import CLS, MASK, PAD, SEP
from sensorium.nn.trace import SILENT, Trace
from sensorium.parts import Role, Sample, Text
from sensorium.protocols import Encoder


class View(NamedTuple):
    """A sample's picture before the encoder.

    Args:
        tensors: of its pieces. cells_TX: the boxes of all their cells. boxes_GX: those of the regions asked for.
        spots: where each region comes from.
    """

    tensors: tuple[Tensor, ...]
    cells_TX: Tensor
    boxes_GX: Tensor
    spots: tuple[Placement, ...]


def view(sample: Sample, encoder: Encoder, at: Literal["cells", "boxes"]) -> View:
    """A sample's picture, decoded and prepared: every cell of the encoder's grid, or the boxes of the sample's objects.

    Raises:
        RequestError: not one picture, or (at boxes) no objects. MediaError: a picture that cannot be decoded.
    """
    number, place, part = picture_of(sample)
    pieces = encoder.prepare(image.decode(part.source))
    cells_TX = torch.cat([cells(piece.grid, piece.extent) for piece in pieces])
    spans = [(piece.grid, piece.extent) for piece in pieces]
    if at == "boxes":
        spans = [((1, 1), thing.box) for thing in things_of(sample)]
    starts = accumulate((prod(grid) for grid, _ in spans), initial=0)
    spots = tuple(Placement(0, number, place, Modality.IMAGE, start, *span) for start, span in zip(starts, spans, strict=False))
    tensors = tuple(piece.tensor for piece in pieces if piece.tensor is not None)
    return View(tensors, cells_TX, torch.tensor([box for _, box in spans]) if at == "boxes" else cells_TX, spots)


def look(views: Sequence[View], encoder: Encoder, trace: Trace = SILENT) -> Regions:
    """Views through an encoder, all pieces at once; regions that are not cells are pooled of them."""
    features = encoder([tensor for one in views for tensor in one.tensors], trace)
    seen = iter(zip(features.x_BTD, features.valid_BT, strict=True))
    x = []
    for one in views:
        x_TD = torch.cat([x_TD[valid_T] for x_TD, valid_T in (next(seen) for _ in one.tensors)])
        x.append(x_TD if one.boxes_GX is one.cells_TX else pool_boxes(x_TD, one.cells_TX, one.boxes_GX))
    padded = pad(x)
    return Regions(padded.x_BTD, padded.valid_BT, pad([one.boxes_GX for one in views]).x_BTD, tuple(one.spots for one in views))


class WordReader:
    """Texts to ids: `[CLS] words [SEP]`, and with tags their names and another `[SEP]`.

    Args:
        positions: at most; a longer text is refused, never cut.
        tags: whether the names of a sample's objects follow its words.

    Raises:
        CheckpointError: the tokenizer lacks a special token.
    """

    def __init__(self, tokenizer: Tokenizer, positions: int, tags: bool) -> None:
        self.tokenizer, self.positions, self.tags = tokenizer, positions, tags
        self.pad, self.first, self.last, self.mask = (self._special(token) for token in (PAD, CLS, SEP, MASK))

    def __call__(self, samples: Sequence[Sample], roles: Sequence[Role]) -> Words:
        """The Text parts of the messages of the given roles, in order, one row a sample.

        Raises:
            RequestError: a text over `positions`, or (with tags) objects that cannot be read.
        """
        rows = [self._row(sample, roles) for sample in samples]
        length = max(len(ids) for ids, _, _ in rows)
        ids_BL = torch.full((len(rows), length), self.pad)
        valid_BL, tags_BL = torch.zeros(len(rows), length, dtype=torch.bool), torch.zeros(len(rows), length, dtype=torch.bool)
        for index, (ids, tags, _) in enumerate(rows):
            ids_BL[index, : len(ids)] = torch.tensor(ids)
            valid_BL[index, : len(ids)] = True
            tags_BL[index, tags : len(ids)] = True
        return Words(ids_BL, valid_BL, tags_BL, tuple(spots for _, _, spots in rows))

    def content(self, words: Words) -> Tensor:
        """Which positions hold words or tags, rather than special tokens or padding, `(B, L)` bool."""
        return words.valid_BL & (words.ids_BL != self.first) & (words.ids_BL != self.last)

    def _row(self, sample: Sample, roles: Sequence[Role]) -> tuple[list[int], int, tuple[Placement, ...]]:
        """Ids, where the tags begin, and where each token comes from."""
        ids, spots = [self.first], list[Placement]()
        for number, message in enumerate(sample.messages):
            for place, part in enumerate(message.parts):
                if isinstance(part, Text) and message.role in roles:
                    encoding = self.tokenizer.encode(part.text, add_special_tokens=False)
                    span, cuts = (0.0, float(len(part.text))), (*(start for start, _ in encoding.offsets), len(part.text))
                    if encoding.ids:
                        grid = (len(encoding.ids),)
                        spots.append(Placement(0, number, place, Modality.TEXT, len(ids), grid, span, cuts=cuts))
                    ids += encoding.ids
        ids.append(self.last)
        tags = len(ids)
        if self.tags:
            number, place, _ = picture_of(sample)
            for thing in things_of(sample):
                name = self.tokenizer.encode(thing.name, add_special_tokens=False).ids
                spots.append(Placement(0, number, place, Modality.TEXT, len(ids), (len(name),), thing.box))
                ids += name
            ids.append(self.last)
        if len(ids) > self.positions:
            problem = f"takes {len(ids)} positions, the model holds {self.positions}"
            raise RequestError(f"text of sample {sample.id}", problem, "Give a shorter text, or a model with more positions")
        return ids, tags, tuple(spots)

    def _special(self, token: str) -> int:
        found = self.tokenizer.token_to_id(token)
        if found is None:
            raise CheckpointError("tokenizer.json", f"has no token {token!r}", "Use the tokenizer that belongs to the weights")
        return int(found)
