"""Multi-head attention from queries to a masked memory: the step that all learned-query connectors share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium.nn.attention import attend_openly, bias_of


class Attend(nn.Module):
    """Scaled dot-product attention (Vaswani et al. 2017) with separate widths for queries and memory.

    A query that may see nothing gets exactly zero, before the output projection, instead of NaN.

    Args:
        dim: width of the queries and of the result. memory: width of the memory. heads, head_dim: inner shape.
        bias: of the query, key and value projections and of the output projection.
    """

    def __init__(self, dim: int, memory: int, heads: int, head_dim: int, bias: bool = False) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        self.query = nn.Linear(dim, heads * head_dim, bias=bias)
        self.key = nn.Linear(memory, heads * head_dim, bias=bias)
        self.value = nn.Linear(memory, heads * head_dim, bias=bias)
        self.out = nn.Linear(heads * head_dim, dim, bias=bias)

    def forward(self, x_BQD: Tensor, memory_BMD: Tensor, visible_BQM: Tensor) -> Tensor:
        """`(B, Q, dim)`; `visible_BQM` (bool; Q may be 1 for all queries alike) says what each query sees."""
        q_BNQH, k_BNMH, v_BNMH = self._project(x_BQD, memory_BMD)
        some_BQ1 = visible_BQM.any(-1, keepdim=True)
        mask_B1QM = (visible_BQM | ~some_BQ1)[:, None]
        return self._merge(F.scaled_dot_product_attention(q_BNQH, k_BNMH, v_BNMH, attn_mask=mask_B1QM), some_BQ1)

    def openly(self, x_BQD: Tensor, memory_BMD: Tensor, visible_BQM: Tensor) -> tuple[Tensor, Tensor]:
        """The same, with the attention `(B, N, Q, M)` that it rests on, all zero for a query that sees nothing; slower."""
        some_BQ1 = visible_BQM.any(-1, keepdim=True)
        bias_B1QM = bias_of(visible_BQM | ~some_BQ1, x_BQD.dtype)
        y_BNQH, weights_BNQM = attend_openly(*self._project(x_BQD, memory_BMD), bias_BNLS=bias_B1QM)
        return self._merge(y_BNQH, some_BQ1), weights_BNQM * some_BQ1[:, None]

    def _project(self, x_BQD: Tensor, memory_BMD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self._split(self.query(x_BQD)), self._split(self.key(memory_BMD)), self._split(self.value(memory_BMD))

    def _merge(self, y_BNQH: Tensor, some_BQ1: Tensor) -> Tensor:
        y_BQE = y_BNQH.transpose(1, 2).flatten(2)
        out: Tensor = self.out(torch.where(some_BQ1, y_BQE, torch.zeros_like(y_BQE)))
        return out

    def _split(self, x_BSE: Tensor) -> Tensor:
        return x_BSE.view(*x_BSE.shape[:2], self.heads, self.head_dim).transpose(1, 2)
