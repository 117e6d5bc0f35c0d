"""A batch being decoded: its key-value cache, its media memory and its adapter rows, which are reordered together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy

import torch
from torch import Tensor

from sensorium.batch import Batch, Features, Modality
from sensorium.fusion.cross_attention import Memory
from sensorium.language.cache import KVCache
from sensorium.model import prefill
from sensorium.model.multimodal import MultimodalLM, rows_with_pictures
from sensorium.nn.trace import SILENT

CHUNK = 512
"""Positions prefilled at once: bounds the memory of attention scores without slowing the matrix products."""


class Session:
    """Rows decoded together, each at its own length.

    Args:
        model: its weights are only read.
        batch: the prompts, laid out to be answered.
        room: tokens that will follow at most.
        features: the batch's media, already encoded and connected.
    """

    def __init__(
        self, model: MultimodalLM, batch: Batch, room: int, features: Mapping[Modality, Features] | None = None
    ) -> None:
        self.model = model
        self.adapted_B = rows_with_pictures(batch)
        embeds_BLD, self.memory = model.embed_batch(batch, SILENT, features)
        limit = 0 if self.memory is not None else model.decoder.config.max_positions
        shared = prefill.plan(embeds_BLD, batch.valid_BL, self.adapted_B, limit) if limit else None
        if shared is None:
            self._begin(len(batch.samples), embeds_BLD.shape[1] + room, embeds_BLD.dtype)
            self.hidden_BD = self._read(embeds_BLD, batch.valid_BL)
            return
        adapted_B, self.adapted_B = self.adapted_B, self.adapted_B[shared.leaders]
        self._begin(len(shared.leaders), embeds_BLD.shape[1] + room, embeds_BLD.dtype)
        self._read(*prefill.beginnings(embeds_BLD, shared))
        self.cache.fork(shared.owner_B)
        self.cache.crop(shared.shared_B)
        self.adapted_B = adapted_B
        self.hidden_BD = self._read(*prefill.remainders(embeds_BLD, batch.valid_BL, shared.shared_B))

    @property
    def rows(self) -> int:
        """Rows still being decoded."""
        return self.cache.rows

    def logits(self) -> Tensor:
        """What follows each row: `(B, V)` float32."""
        return self.model.decoder.logits(self.hidden_BD)

    def step(self, ids_B: Sequence[int] | Tensor) -> Tensor:
        """Append one token to each row; the logits of what follows it, `(B, V)`."""
        self.hidden_BD = self.extend(torch.as_tensor(ids_B)[:, None])[:, -1]
        return self.logits()

    def extend(self, ids_BL: Tensor, valid_BL: Tensor | None = None) -> Tensor:
        """Append several tokens to each row (padded on the right where `valid_BL` is False): hidden states `(B, L, D)`."""
        return self._decode(self.model.decoder.embed(ids_BL), valid_BL)

    def fork(self, rows: Sequence[int]) -> None:
        """Row i becomes a copy of the old row `rows[i]`; rows may be repeated, reordered and dropped."""
        picked = torch.tensor(list(rows), dtype=torch.int64)
        self.cache.fork(picked)
        self.adapted_B, self.hidden_BD = self.adapted_B[picked], self.hidden_BD[picked]
        if self.memory is not None:
            self.memory = Memory(*(tensor[picked] for tensor in self.memory))

    def branch(self, rows: Sequence[int]) -> Session:
        """Another session whose row i is a copy of `rows[i]`; this one stays as it is."""
        other = copy(self)
        other.cache = copy(self.cache)
        other.fork(rows)
        return other

    def crop(self, lengths: int | Sequence[int]) -> None:
        """Forget all but the first `lengths` positions, one number for all rows or one for each."""
        self.cache.crop(lengths)

    def _begin(self, rows: int, capacity: int, dtype: torch.dtype) -> None:
        self.cache = KVCache(self.model.decoder.config, rows, capacity, dtype=dtype)

    def _read(self, embeds_BLD: Tensor, valid_BL: Tensor) -> Tensor:
        """Hidden states `(B, D)` of each row's last position."""
        hidden_BD = torch.zeros(embeds_BLD.shape[0], embeds_BLD.shape[2], dtype=embeds_BLD.dtype)
        last_B = valid_BL.sum(1) - 1
        for start in range(0, embeds_BLD.shape[1], CHUNK):
            hidden_BLD = self._decode(embeds_BLD[:, start : start + CHUNK], valid_BL[:, start : start + CHUNK])
            here_B = (last_B >= start) & (last_B < start + CHUNK)
            hidden_BD[here_B] = hidden_BLD[here_B, last_B[here_B] - start]
        return hidden_BD

    def _decode(self, embeds_BLD: Tensor, valid_BL: Tensor | None) -> Tensor:
        whole = valid_BL is None or bool(valid_BL.all())
        with self.model.adapted(self.adapted_B):
            return self.model.decode(embeds_BLD, self.memory, valid_BL=None if whole else valid_BL, cache=self.cache)
