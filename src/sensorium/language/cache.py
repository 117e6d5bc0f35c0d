"""The key-value cache: one preallocated tensor, every row with its own length."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sensorium.language.config import DecoderConfig

STEP = 64
"""Capacity grows to a multiple of this many positions."""


class KVCache:
    """Keys and values of the positions already read, `store` being `[layer, 2, row, kv_head, position, head_dim]`.

    Row b holds positions 0..lengths[b]-1 without holes; what lies behind is zero or stale, and finite. Layers with
    a sliding window keep their old positions too, so that `crop` and `fork` need no history; attention leaves them out.

    Args:
        config: of the decoder it serves.
        rows: conversations decoded together.
        capacity: positions to make room for at once; it grows by itself when more come.
    """

    def __init__(
        self,
        config: DecoderConfig,
        rows: int,
        capacity: int = 0,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        shape = (config.layers, 2, rows, config.kv_heads, _round_up(capacity), config.head_dim)
        self.store = torch.zeros(shape, dtype=dtype, device=device)
        self.lengths: list[int] = [0] * rows
        self._slots: tuple[Tensor, Tensor] | None = None
        self._start = self._stop = 0

    @property
    def rows(self) -> int:
        """Conversations held."""
        return len(self.lengths)

    @property
    def capacity(self) -> int:
        """Positions there is room for in each row."""
        return self.store.shape[4]

    @property
    def bytes(self) -> int:
        """Memory taken by the store, used or not."""
        return self.store.numel() * self.store.element_size()

    @property
    def longest(self) -> int:
        """Positions in the longest row."""
        return max(self.lengths, default=0)

    @property
    def even(self) -> bool:
        """Whether all rows are of one length."""
        return len(set(self.lengths)) < 2

    def reserve(self, positions: int) -> None:
        """Make room for `positions` in each row; at least half as much again as before when it has to grow."""
        if positions <= self.capacity:
            return
        used, old = self.longest, self.store
        capacity = _round_up(max(positions, self.capacity + self.capacity // 2))
        self.store = old.new_zeros((*old.shape[:4], capacity, old.shape[5]))
        self.store[..., :used, :] = old[..., :used, :]

    def begin(self, count: int) -> None:
        """Before the first layer: make room for `count` more positions in each row."""
        self._start, self._stop = self.longest, self.longest + count
        self.reserve(self._stop)
        self._slots = None
        if not self.even:
            start_B = torch.tensor(self.lengths, device=self.store.device)
            slot_BL = start_B[:, None] + torch.arange(count, device=self.store.device)
            self._slots = torch.arange(self.rows, device=self.store.device)[:, None], slot_BL

    def append(self, layer: int, k_BKLH: Tensor, v_BKLH: Tensor) -> tuple[Tensor, Tensor]:
        """Write a layer's new keys and values behind each row; give all of them, `(B, K, S, H)` each, as views."""
        assert not k_BKLH.requires_grad, "a cache holds no graph: call the decoder under torch.no_grad()"
        k_BKPH, v_BKPH = self.store[layer]
        if self._slots is None:
            k_BKPH[:, :, self._start : self._stop] = k_BKLH
            v_BKPH[:, :, self._start : self._stop] = v_BKLH
        else:
            rows_B1, slot_BL = self._slots
            k_BKPH.transpose(1, 2)[rows_B1, slot_BL] = k_BKLH.transpose(1, 2).to(k_BKPH.dtype)
            v_BKPH.transpose(1, 2)[rows_B1, slot_BL] = v_BKLH.transpose(1, 2).to(v_BKPH.dtype)
        return k_BKPH[:, :, : self._stop].to(k_BKLH.dtype), v_BKPH[:, :, : self._stop].to(v_BKLH.dtype)

    def advance(self, counts: Sequence[int]) -> None:
        """After the last layer: row b has `counts[b]` more positions."""
        self.lengths = [length + count for length, count in zip(self.lengths, counts, strict=True)]

    def crop(self, lengths: int | Sequence[int]) -> None:
        """Forget what lies behind `lengths` positions, one number for all rows or one for each."""
        wanted = [lengths] * self.rows if isinstance(lengths, int) else list(lengths)
        assert len(wanted) == self.rows and all(length >= 0 for length in wanted)
        self.lengths = [min(length, old) for length, old in zip(wanted, self.lengths, strict=True)]

    def fork(self, rows: Sequence[int] | Tensor) -> None:
        """Row i becomes a copy of the old row `rows[i]`: reorders, repeats and drops rows, as beam search needs."""
        picked = rows.tolist() if isinstance(rows, Tensor) else list(rows)
        if picked == list(range(self.rows)):
            return
        used, old = self.longest, self.store
        self.store = old.new_zeros((*old.shape[:2], len(picked), *old.shape[3:]))
        for row, source in enumerate(picked):
            self.store[:, :, row, :, :used] = old[:, :, source, :, :used]
        self.lengths = [self.lengths[source] for source in picked]


def _round_up(positions: int) -> int:
    return -(-positions // STEP) * STEP
