"""Codebook: what a connector found, moved to the nearest of a few messages that the language model is known to understand.

A frozen language model reads soft tokens rightly only near those it was shown. A connector taught by few speakers comes near,
for a new one, but not near enough; so its output chooses, softly, among the learned messages (compare the soft vector
quantisation of Agustsson et al. 2017, arXiv:1704.00648).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Codebook(nn.Module):
    """W codes of Q positions each.

    Args:
        sharpness: on the cosines. At 20 the softmax prefers a code that is 0.1 nearer than the next sevenfold.
    """

    def __init__(self, codes: int, queries: int, dim: int, sharpness: float = 20.0) -> None:
        super().__init__()
        self.sharpness = sharpness
        self.codes = nn.Parameter(torch.randn(codes, queries, dim) * 0.02)

    def forward(self, x_PQD: Tensor) -> Tensor:
        """The codes, mixed by how near each is: `(P, Q, D)` to the same shape."""
        weights_PW = (self.sharpness * self.cosines(x_PQD)).softmax(1)
        return torch.einsum("pw,wqd->pqd", weights_PW, self.codes.to(weights_PW.dtype))

    def cosines(self, x_PQD: Tensor) -> Tensor:
        """To every code, `(P, W)`, float32; what all codes have in common is left out."""
        mean_QD = self.codes.float().mean(0)
        own_WE = F.normalize((self.codes.float() - mean_QD).flatten(1), dim=1)
        return F.normalize((x_PQD.float() - mean_QD).flatten(1), dim=1) @ own_WE.t()
