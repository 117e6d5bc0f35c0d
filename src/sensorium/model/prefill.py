"""Rows that begin alike are read once up to where they part: questions about one picture, or behind one template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

_WORTH = 0.8
"""Of the positions that reading every row whole would take, the share below which parting pays."""


class Plan(NamedTuple):
    """How a batch is read.

    Args:
        leaders: rows whose beginnings are read first. owner_B: for each row the place of its leader among them.
        shared_B: for each row how many positions it takes from its leader; at least one position is left to itself.
    """

    leaders: list[int]
    owner_B: list[int]
    shared_B: list[int]


def plan(embeds_BLD: Tensor, valid_BL: Tensor, adapted_B: Tensor, limit: int) -> Plan | None:
    """Which beginnings to share; None where every row is better read whole.

    Rows share a beginning where their embeddings, media among them, are the same to the last bit and the adapter is on for
    both or off for both.

    Args:
        limit: positions that the decoder allows, counted from the longest beginning to the end of the longest remainder.
    """
    rows, length = valid_BL.shape
    lengths = valid_BL.sum(1).tolist()
    if rows < 2:
        return None
    leaders: list[int] = []
    owner_B, reach = [0] * rows, dict[int, int]()
    for row in range(rows):
        found, most = -1, lengths[row] // 2
        for place, leader in enumerate(leaders):
            if bool(adapted_B[leader] == adapted_B[row]):
                alike = min(_alike(embeds_BLD[leader], embeds_BLD[row]), reach[place], lengths[row] - 1)
                found, most = (place, alike) if alike > most else (found, most)
        if found < 0:
            found, most = len(leaders), lengths[row] - 1
            leaders.append(row)
        owner_B[row], reach[found] = found, most
    widest = max((reach[place] for place in range(len(leaders)) if owner_B.count(place) > 1), default=0)
    shared_B = [min(reach[owner], widest) for owner in owner_B]
    rest = max(own - shared for own, shared in zip(lengths, shared_B, strict=True))
    pays = len(leaders) * widest + rows * rest <= _WORTH * rows * length
    return Plan(leaders, owner_B, shared_B) if widest and pays and widest + rest <= limit else None


def beginnings(embeds_BLD: Tensor, found: Plan) -> tuple[Tensor, Tensor]:
    """What the leaders read: embeddings `(U, L, D)`, and which of them are valid."""
    reach = [found.shared_B[row] for row in found.leaders]
    valid_UL = torch.arange(max(reach)) < torch.tensor(reach)[:, None]
    return embeds_BLD[found.leaders, : max(reach)], valid_UL


def remainders(embeds_BLD: Tensor, valid_BL: Tensor, shared_B: Sequence[int]) -> tuple[Tensor, Tensor]:
    """What is left to each row: embeddings `(B, L, D)`, padded on the right, and which of them are valid."""
    left_B = valid_BL.sum(1) - torch.tensor(shared_B)
    place_BL = torch.tensor(shared_B)[:, None] + torch.arange(int(left_B.max()))
    valid = torch.arange(place_BL.shape[1]) < left_B[:, None]
    rest_BLD = embeds_BLD[torch.arange(len(shared_B))[:, None], place_BL.clamp(max=embeds_BLD.shape[1] - 1)]
    return rest_BLD.masked_fill(~valid[..., None], 0.0), valid


def _alike(one_LD: Tensor, other_LD: Tensor) -> int:
    """Positions from the first on that are the same."""
    return int((one_LD == other_LD).all(1).long().cumprod(0).sum())
