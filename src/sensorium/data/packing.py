"""Rows that begin alike as one tree: what they share, such as a photo's positions, is computed once.

All questions and answers about one medium become a single row of the batch. Its positions are the nodes of the rows' prefix
tree; each sees its ancestors only, and its rotary position is its depth. So every hidden state is what it is in a row of its
own, at a fraction of the cost (compare the tree attention of SpecInfer, Miao et al. 2023, arXiv:2305.09781).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sensorium.batch import Batch, Modality, Placement


class Targets(NamedTuple):
    """What is learned: after position `places_T` of row `rows_T` comes token `ids_T`, and that counts `weights_T`."""

    rows_T: Tensor
    places_T: Tensor
    ids_T: Tensor
    weights_T: Tensor


@dataclass(frozen=True, slots=True)
class Tree:
    """Rows about the same media, merged.

    Args:
        ids: token ids; parents: the node before each (-1 at the root); depths: how many nodes are before it.
        targets: (node, next token, weight).
        placements: where the media are; tensors: theirs, in the same order.
    """

    ids: tuple[int, ...]
    parents: tuple[int, ...]
    depths: tuple[int, ...]
    targets: tuple[tuple[int, int, float], ...]
    placements: tuple[Placement, ...]
    tensors: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.ids)


class Packed(NamedTuple):
    """Trees as a batch. `attend_BLS` is bool, the whole truth on who sees whom; padding sees itself."""

    ids_BL: Tensor
    positions_BL: Tensor
    attend_BLS: Tensor
    media: Mapping[Modality, Sequence[Tensor]]
    placements: tuple[Placement, ...]
    targets: Targets


def grow(batch: Batch, weights: Sequence[float]) -> Tree:
    """The rows of a batch, which show the very same media at the same positions (or none), as one tree.

    Args:
        weights: what each learned token of a row counts.
    """
    spots = [_media(batch, row) for row in range(len(batch.samples))]
    assert all([_span(spot) for spot in row] == [_span(spot) for spot in spots[0]] for row in spots), "media differ"
    kinds = [place.modality for place in batch.placements if place.modality is not Modality.TEXT]
    first: dict[Modality, Iterator[Tensor]] = {kind: iter(batch.media.get(kind, ())) for kind in set(kinds)}
    ids: list[int] = []
    parents: list[int] = []
    depths: list[int] = []
    children: dict[tuple[int, int], int] = {}
    targets: list[tuple[int, int, float]] = []
    for row, weight in enumerate(weights):
        learned_L = batch.learn_BL[row] & batch.valid_BL[row]
        last = int(learned_L.nonzero().max())
        node = -1
        for depth, (token, learned) in enumerate(zip(batch.ids_BL[row].tolist(), learned_L.tolist(), strict=True)):
            if learned:
                targets.append((node, token, weight))
            if depth == last:
                break
            if (node, token) not in children:
                children[node, token] = len(ids)
                ids.append(token)
                parents.append(node)
                depths.append(depth)
            node = children[node, token]
    tensors = tuple(next(first[spot.modality]) for spot in spots[0])
    return Tree(tuple(ids), tuple(parents), tuple(depths), tuple(targets), tuple(spots[0]), tensors)


def pack(trees: Sequence[Tree], filler: int = 0) -> Packed:
    """Trees side by side, padded on the right."""
    length = max(len(tree) for tree in trees)
    ids_BL = torch.full((len(trees), length), filler)
    positions_BL = torch.zeros(len(trees), length, dtype=torch.long)
    attend_BLS = torch.eye(length, dtype=torch.bool).repeat(len(trees), 1, 1)
    media: dict[Modality, list[Tensor]] = {}
    placements: list[Placement] = []
    rows, places, tokens, weights = [], [], [], []
    for row, tree in enumerate(trees):
        ids_BL[row, : len(tree)] = torch.tensor(tree.ids)
        positions_BL[row, : len(tree)] = torch.tensor(tree.depths)
        for node, parent in enumerate(tree.parents):
            if parent >= 0:
                attend_BLS[row, node] |= attend_BLS[row, parent]
        for spot, tensor in zip(tree.placements, tree.tensors, strict=True):
            placements.append(spot._replace(sample=row))
            media.setdefault(spot.modality, []).append(tensor)
        for node, token, weight in tree.targets:
            rows.append(row)
            places.append(node)
            tokens.append(token)
            weights.append(weight)
    targets = Targets(torch.tensor(rows), torch.tensor(places), torch.tensor(tokens), torch.tensor(weights))
    return Packed(ids_BL, positions_BL, attend_BLS, media, tuple(placements), targets)


def _media(batch: Batch, row: int) -> list[Placement]:
    return [place for place in batch.placements if place.sample == row and place.modality is not Modality.TEXT]


def _span(place: Placement) -> tuple[Modality, int, tuple[int, ...]]:
    return place.modality, place.start, place.grid


def targets_of(batch: Batch) -> Targets:
    """The targets of a batch whose rows stand side by side: each learned token, at the position before it."""
    learned_BL = batch.learn_BL & batch.valid_BL
    rows_T, places_T = learned_BL.nonzero(as_tuple=True)
    assert len(rows_T) == 0 or int(places_T.min()) > 0, "nothing stands before the first learned token"
    return Targets(rows_T, places_T - 1, batch.ids_BL[rows_T, places_T], torch.ones(len(rows_T)))
