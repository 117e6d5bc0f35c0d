"""What media show a model, kept in memory by their content: a picture of which much is asked is read and encoded once.

Each medium is encoded alone, so that what an answer rests on does not depend on what else stood in its batch. Training keeps
features on disk, in half precision: `training/cached.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from sensorium.batch import Batch, Features, Modality, Shown
from sensorium.fusion.layout import PartKey
from sensorium.media import source
from sensorium.model.multimodal import MultimodalLM
from sensorium.nn.trace import SILENT
from sensorium.parts import Media, Sample, Text

_PIECE = 512
"""Bytes that a piece takes besides its features and words."""


class Prompt(NamedTuple):
    """Samples laid out to be answered.

    Args:
        shown: for each sample what its media show. features: of the batch's media; None where the model is yet to encode them.
    """

    batch: Batch
    shown: Sequence[Mapping[PartKey, Shown]]
    features: Mapping[Modality, Features] | None = None


class _View(NamedTuple):
    """One medium: what it shows, without the tensors that were encoded, and their connected features `(T, D)` in order."""

    shown: Shown
    features: tuple[tuple[Modality, Tensor], ...]

    @property
    def size(self) -> int:
        """Bytes."""
        words = sum(len(piece.text) + _PIECE for piece in self.shown.pieces)
        return words + sum(features_TD.nbytes for _, features_TD in self.features)


class Seen:
    """Reads and encodes media for a model whose weights and settings stay as they are.

    Args:
        limit: bytes kept at most; what was not asked for longest goes first. A photo takes `nano` 60 kB.
    """

    def __init__(self, model: MultimodalLM, limit: int = 2**28) -> None:
        self.model, self.limit = model, limit
        self.hits = self.misses = self.held = 0
        self._kept: OrderedDict[Hashable, _View] = OrderedDict()

    @torch.inference_mode()
    def prompt(self, samples: Sequence[Sample], room: int = 0) -> Prompt:
        """Samples to be answered in up to `room` tokens. Raises what `MultimodalLM.batch` raises."""
        views = [self._views(sample) for sample in samples]
        shown = [{key: view.shown for key, view in row.items()} for row in views]
        batch = self.model.layout(samples, shown, reply=True, room=room)
        return Prompt(batch, shown, _placed(batch, views))

    def _views(self, sample: Sample) -> dict[PartKey, _View]:
        return {
            (number, place): self._view(part, number, place)
            for number, message in enumerate(sample.messages)
            for place, part in enumerate(message.parts)
            if not isinstance(part, Text)
        }

    def _view(self, part: Media, message: int, place: int) -> _View:
        key = self._key(part)
        view = None if key is None else self._kept.get(key)
        if view is None:
            view = self._look(part)
            self.misses += 1
            self._keep(key, view)
        else:
            assert key is not None
            self._kept.move_to_end(key)
            self.hits += 1
        use = replace(view.shown.use, message=message, part=place)
        return view._replace(shown=view.shown._replace(use=use))

    def _key(self, part: Media) -> Hashable | None:
        """Its content, name, stretch and how it is read; None for an address, whose content may change."""
        reader = self.model.reader
        if isinstance(part.source, str) and part.source[:7].lower().startswith(("http://", "https:/")):
            return None
        blob = source.load(part.source, reader.limits, reader.access)
        return replace(part, source=b""), type(part), blob.digest, blob.name, reader.policy

    def _look(self, part: Media) -> _View:
        seen = self.model.reader.show(part)
        features, pieces = [], []
        for piece in seen.pieces:
            if piece.tensor is not None:
                encoded = self.model.encoders[piece.modality]([piece.tensor], trace=SILENT)
                x_PTD, valid_PT = self.model.connectors[piece.modality](encoded)
                features.append((piece.modality, x_PTD[valid_PT].clone()))
                piece = piece._replace(tensor=piece.tensor.to("meta"))  # its shape alone, which takes no room
            pieces.append(piece)
        return _View(seen._replace(pieces=tuple(pieces)), tuple(features))

    def _keep(self, key: Hashable | None, view: _View) -> None:
        if key is None or view.size > self.limit:
            return
        self._kept[key] = view
        self.held += view.size
        while self.held > self.limit:
            self.held -= self._kept.popitem(last=False)[1].size


def _placed(batch: Batch, views: Sequence[Mapping[PartKey, _View]]) -> dict[Modality, Features]:
    """The features of a batch's placements, in their order, padded on the right."""
    left = [{key: iter(view.features) for key, view in row.items()} for row in views]
    found: dict[Modality, list[Tensor]] = {modality: [] for modality in batch.media}
    for place in batch.placements:
        if place.modality is not Modality.TEXT:
            modality, features_TD = next(left[place.sample][place.message, place.part])
            assert modality is place.modality, "pieces are placed in their order"
            found[modality].append(features_TD)
    return {modality: _padded(rows) for modality, rows in found.items()}


def _padded(rows: Sequence[Tensor]) -> Features:
    steps_P = torch.tensor([len(row) for row in rows])
    x_PTD = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    return Features(x_PTD, torch.arange(x_PTD.shape[1]) < steps_P[:, None])
