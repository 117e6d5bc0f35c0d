"""Samples of any lengths end to end as one row: no padding is computed, and no sample sees another.

The decoder attends within each sample (`Decoder.forward`'s `documents`), so positions start anew in each; compare the
variable-length attention of FlashAttention (Dao 2023, arXiv:2307.08691).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sensorium.batch import Batch, Modality, Placement
from sensorium.data.packing import Targets
from sensorium.errors import DataError


class Flat(NamedTuple):
    """A batch of one row.

    Args:
        ids_BL: int64 `(1, L)`. lengths: of the samples, which fill L.
        pictured_BL: bool, positions of samples that show a picture or a clip (where an adapter may be on).
        placements: `sample` is 0, `start` counts from the row's beginning; `media` in their order.
        targets: see `packing.Targets`.
    """

    ids_BL: Tensor
    lengths: tuple[int, ...]
    pictured_BL: Tensor
    media: Mapping[Modality, Sequence[Tensor]]
    placements: tuple[Placement, ...]
    targets: Targets


def flatten(batches: Sequence[Batch], weights: Sequence[float] | None = None) -> Flat:
    """The rows of batches without their padding, and without what stands behind the last learned token of each.

    Args:
        weights: what each learned token of a row counts; 1 when None.

    Raises:
        DataError: a row without a learned token, which would be read for nothing.
    """
    rows = [(batch, row) for batch in batches for row in range(len(batch.samples))]
    ids, lengths, pictured, placements = [], [], [], []
    media: dict[Modality, list[Tensor]] = {}
    places, tokens, counts = [], [], []
    begin = 0
    spots = [_by_row(batch) for batch in batches]
    order = iter([spot for batch in spots for spot in batch])
    for number, (batch, row) in enumerate(rows):
        own = next(order)
        learned_T = (batch.learn_BL[row] & batch.valid_BL[row]).nonzero().flatten()
        if not len(learned_T):
            problem = "has no token to learn"
            raise DataError(f"sample {batch.samples[row].id}", problem, "Mark an answer as learned, or leave it out")
        assert int(learned_T[0]) > 0, "nothing stands before the first learned token"
        count = max(int(learned_T[-1]), *(spot.stop for spot, _ in own), 1)
        ids.append(batch.ids_BL[row, :count])
        lengths.append(count)
        kinds = {spot.modality for spot, _ in own}
        pictured.append(torch.full((count,), bool(kinds & {Modality.IMAGE, Modality.VIDEO})))
        for spot, tensor in own:
            placements.append(spot._replace(sample=0, start=begin + spot.start))
            media.setdefault(spot.modality, []).append(tensor)
        places.append(begin + learned_T - 1)
        tokens.append(batch.ids_BL[row][learned_T])
        counts.append(torch.full((len(learned_T),), 1.0 if weights is None else weights[number]))
        begin += count
    places_T = torch.cat(places)
    targets = Targets(torch.zeros_like(places_T), places_T, torch.cat(tokens), torch.cat(counts))
    return Flat(torch.cat(ids)[None], tuple(lengths), torch.cat(pictured)[None], media, tuple(placements), targets)


def _by_row(batch: Batch) -> list[list[tuple[Placement, Tensor]]]:
    """For each row its media's placements with their tensors."""
    found: list[list[tuple[Placement, Tensor]]] = [[] for _ in batch.samples]
    next_of = dict.fromkeys(batch.media, 0)
    for spot in batch.placements:
        if spot.modality is not Modality.TEXT:
            found[spot.sample].append((spot, batch.media[spot.modality][next_of[spot.modality]]))
            next_of[spot.modality] += 1
    return found
