"""Gated cross-attention: a frozen language model reads media as memory through gates that start shut (Flamingo)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from sensorium.batch import Features, Modality, Placement
from sensorium.errors import RequestError
from sensorium.fusion.attend import Attend
from sensorium.nn.closed import ClosedConfig


class Memory(NamedTuple):
    """All media of each row, side by side.

    Args:
        x_BMD: features. valid_BM: bool. start_BM: the position in the row from which each is seen, int64.
    """

    x_BMD: Tensor
    valid_BM: Tensor
    start_BM: Tensor

    def visible(self, positions_BL: Tensor, latest: bool = False) -> Tensor:
        """`(B, L, M)` bool: a position sees the valid media of its own row that were placed at or before it.

        Args:
            latest: only the last of them, as Flamingo does; otherwise all.
        """
        seen_BLM = self.valid_BM[:, None] & (self.start_BM[:, None] <= positions_BL[:, :, None])
        if not latest or not seen_BLM.shape[-1]:
            return seen_BLM
        starts_BLM = torch.where(seen_BLM, self.start_BM[:, None], -1)
        return seen_BLM & (starts_BLM == starts_BLM.amax(-1, keepdim=True))


def remember(placements: Sequence[Placement], features: Mapping[Modality, Features], rows: int) -> Memory:
    """Gathers the features of the placed media of each row, in the order of the row.

    Args:
        placements: only their row, modality and start are read. features: one row a placement of its modality, in order.
        rows: rows of the batch; a row without media gets a memory without valid places.

    Raises:
        RequestError: another number of placements than features of a modality, or no features at all.
    """
    pieces: list[list[tuple[int, Tensor]]] = [[] for _ in range(rows)]
    if not features:
        raise RequestError("memory", "was given no features", "Leave the memory out for rows without media")
    for kind, given in features.items():
        spots = [item for item in placements if item.modality is kind]
        if len(spots) != given.x_BTD.shape[0]:
            problem = f"has {len(spots)} placements but {given.x_BTD.shape[0]} pieces of features"
            raise RequestError(str(kind), problem, "Encode exactly the media that were laid out, in their order")
        for spot, x_TD, valid_T in zip(spots, given.x_BTD, given.valid_BT, strict=True):
            pieces[spot.sample].append((spot.start, x_TD[valid_T]))
    like = next(iter(features.values())).x_BTD
    size = max(sum(len(x_TD) for _, x_TD in row) for row in pieces)
    x_BMD, start_BM = like.new_zeros(rows, size, like.shape[-1]), torch.zeros(rows, size, dtype=torch.long, device=like.device)
    valid_BM = torch.zeros(rows, size, dtype=torch.bool, device=like.device)
    filled = []
    for b, row in enumerate(pieces):
        at = 0
        parts = []
        for start, x_TD in sorted(row, key=lambda item: item[0]):
            start_BM[b, at : at + len(x_TD)] = start
            at += len(x_TD)
            parts.append(x_TD)
        valid_BM[b, :at] = True
        filled.append(torch.cat([*parts, x_BMD[b, at:]]))
    return Memory(torch.stack(filled), valid_BM, start_BM)


class GatedCrossAttentionConfig(ClosedConfig):
    """Shapes of a `GatedCrossAttention`.

    Args:
        dim: width of the language model. memory: width of the media. hidden: of the MLP.
        latest: a position sees only the last medium before it.
    """

    dim: int = Field(gt=0)
    memory: int = Field(gt=0)
    heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    hidden: int = Field(gt=0)
    latest: bool = False
    eps: float = 1e-5


class GatedCrossAttention(nn.Module):
    """Alayrac et al. 2022, figure 4: goes before a frozen decoder layer; with shut gates it is the identity, bit for bit."""

    def __init__(self, config: GatedCrossAttentionConfig) -> None:
        super().__init__()
        self.config = config
        self.norm = nn.LayerNorm(config.dim, eps=config.eps)
        self.attention = Attend(config.dim, config.memory, config.heads, config.head_dim)
        self.gate = nn.Parameter(torch.zeros(1))
        self.norm_mlp = nn.LayerNorm(config.dim, eps=config.eps)
        self.mlp = nn.Sequential(
            nn.Linear(config.dim, config.hidden, bias=False), nn.GELU(), nn.Linear(config.hidden, config.dim, bias=False)
        )
        self.gate_mlp = nn.Parameter(torch.zeros(1))

    def forward(self, hidden_BLD: Tensor, memory: Memory, positions_BL: Tensor) -> Tensor:
        """`(B, L, D)`; a position that sees no media comes out as it went in.

        Args:
            positions_BL: places in the row, counted with the past when decoding with a cache.
        """
        if not memory.x_BMD.shape[1]:
            return hidden_BLD
        visible_BLM = memory.visible(positions_BL, self.config.latest)
        seen_BL1 = visible_BLM.any(-1, keepdim=True)
        x_BLD = hidden_BLD.to(self.gate.dtype)
        x_BLD = x_BLD + self.gate.tanh() * self.attention(self.norm(x_BLD), memory.x_BMD.to(x_BLD.dtype), visible_BLM)
        x_BLD = x_BLD + self.gate_mlp.tanh() * self.mlp(self.norm_mlp(x_BLD))
        return torch.where(seen_BL1, x_BLD.to(hidden_BLD.dtype), hidden_BLD)
