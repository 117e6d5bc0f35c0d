"""Splice: the features of each placed piece of media take over the positions that layout kept for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sensorium.batch import Features, Modality, Placement
from sensorium.errors import RequestError


def splice(embeds_BLD: Tensor, placements: Sequence[Placement], features: Mapping[Modality, Features]) -> Tensor:
    """Writes the valid features of the k-th placement of each modality over its positions.

    Args:
        embeds_BLD: the text embeddings.
        placements: where the pieces go; those of modality TEXT (words read in a medium) are text already.
        features: for each modality `(P, T, D)`, one row a placement, in the order of `placements`.

    Returns:
        A new `(B, L, D)`; gradients flow to the embeddings that stay and to the features.

    Raises:
        RequestError: a modality without features or the other way round, another number of features than placements, a
            placement whose length is not its number of valid features, which lies outside its row or overlaps another, or
            features of another width. The message names the row, the part and both counts.
    """
    width = embeds_BLD.shape[-1]
    placed = {kind: [item for item in placements if item.modality is kind] for kind in Modality if kind is not Modality.TEXT}
    rows, columns, values = [], [], []
    for kind, spots in placed.items():
        given = features.get(kind)
        count = 0 if given is None else given.x_BTD.shape[0]
        if count != len(spots):
            raise RequestError(
                _name(spots[min(count, len(spots) - 1)]) if spots else str(kind),
                f"has {len(spots)} placements but {count} pieces of features",
                "Encode exactly the media that were laid out, in their order",
            )
        if given is None or not spots:
            continue
        _check(spots, given, embeds_BLD)
        starts_P = torch.tensor([item.start for item in spots], device=embeds_BLD.device)
        samples_P = torch.tensor([item.sample for item in spots], device=embeds_BLD.device)
        rank_PT = given.valid_BT.long().cumsum(1) - 1
        rows.append(samples_P[:, None].expand_as(rank_PT)[given.valid_BT])
        columns.append((starts_P[:, None] + rank_PT)[given.valid_BT])
        values.append(given.x_BTD[given.valid_BT].to(embeds_BLD.dtype))
    if not rows:
        return embeds_BLD
    flat = torch.cat(rows) * embeds_BLD.shape[1] + torch.cat(columns)
    if torch.bincount(flat).max() > 1:
        row, position = divmod(int(torch.bincount(flat).argmax()), embeds_BLD.shape[1])
        raise RequestError("placements", f"overlap at position {position} of row {row}", "Lay the samples out again")
    return embeds_BLD.reshape(-1, width).index_copy(0, flat, torch.cat(values)).view_as(embeds_BLD)


def _check(spots: Sequence[Placement], given: Features, embeds_BLD: Tensor) -> None:
    rows, length, width = embeds_BLD.shape
    if given.x_BTD.shape[-1] != width:
        first = spots[0]
        raise RequestError(
            _name(first),
            f"has features of width {given.x_BTD.shape[-1]}, the text has {width}",
            "Connect the encoder through a connector whose dim_out is the language model's width",
        )
    for spot, steps in zip(spots, given.valid_BT.sum(1).tolist(), strict=True):
        if spot.length != steps:
            raise RequestError(
                _name(spot),
                f"takes {spot.length} positions but has {steps} valid features",
                "Lay it out with the grid that its encoder and connector state",
            )
        if not 0 <= spot.sample < rows or spot.start < 0 or spot.stop > length:
            raise RequestError(
                _name(spot),
                f"takes positions {spot.start}..{spot.stop - 1} of a batch of {rows} rows of {length}",
                "Lay the samples out again",
            )


def _name(spot: Placement) -> str:
    return f"{spot.modality} (row {spot.sample}, message {spot.message}, part {spot.part})"
