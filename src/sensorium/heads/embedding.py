"""Features or hidden states to one unit vector: the retrieval head, and plain averaging."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from sensorium.batch import Features
from sensorium.errors import RequestError
from sensorium.nn.closed import ClosedConfig


class EmbeddingConfig(ClosedConfig):
    """Shapes of an `EmbeddingHead`.

    Args:
        dim_in: width of the features. dim_out: width of the shared space.
        queries: learned weightings of the places. dim: width in which each of them gathers. hidden: of the MLP.
        mean: add a linear map of the plain average. dropout: of the features and inside the MLP.
    """

    dim_in: int = Field(gt=0)
    dim_out: int = Field(gt=0)
    queries: int = Field(default=4, gt=0)
    dim: int = Field(default=512, gt=0)
    hidden: int = Field(default=1024, gt=0)
    mean: bool = True
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)


class EmbeddingHead(nn.Module):
    """Attention pooling with learned queries (as in Set Transformer's PMA, Lee et al. 2019), then an MLP, then length 1."""

    def __init__(self, config: EmbeddingConfig) -> None:
        super().__init__()
        self.config = config
        self.value = nn.Linear(config.dim_in, config.dim)
        self.score = nn.Linear(config.dim_in, config.queries)
        self.norm = nn.LayerNorm(config.queries * config.dim)
        self.up = nn.Linear(config.queries * config.dim, config.hidden)
        self.down = nn.Linear(config.hidden, config.dim_out)
        self.mean = nn.Linear(config.dim_in, config.dim_out) if config.mean else None
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, features: Features) -> Tensor:
        """`(P, T, dim_in)` to unit vectors `(P, dim_out)`; invalid places have no weight.

        Raises:
            RequestError: a piece without a single valid feature.
        """
        x_PTD = self.dropout(features.x_BTD)
        mean_PD = mean_pool(Features(x_PTD, features.valid_BT))
        weights_PTQ = self.weights(Features(x_PTD, features.valid_BT))
        pooled_PE = torch.einsum("ptq,ptd->pqd", weights_PTQ, F.gelu(self.value(x_PTD))).flatten(1)
        out_PD = self.down(self.dropout(F.gelu(self.up(self.norm(pooled_PE)))))
        if self.mean is not None:
            out_PD = out_PD + self.mean(mean_PD)
        return F.normalize(out_PD, dim=-1)

    def weights(self, features: Features) -> Tensor:
        """How much each place counts for each query, `(P, T, queries)`; each query's column sums to 1."""
        scores_PTQ: Tensor = self.score(features.x_BTD)
        return scores_PTQ.masked_fill(~features.valid_BT[..., None], -torch.inf).softmax(1)


def mean_pool(features: Features) -> Tensor:
    """The average of the valid places, `(B, D)`, in the features' dtype.

    Raises:
        RequestError: a row without a single valid place.
    """
    counts_B = features.valid_BT.sum(1)
    if not bool((counts_B > 0).all()):
        row = int((counts_B == 0).nonzero()[0])
        raise RequestError(f"features of row {row}", "have no valid place to embed", "Leave empty media out of the request")
    total_BD = torch.where(features.valid_BT[..., None], features.x_BTD, 0.0).sum(1)
    return total_BD / counts_B[:, None].to(total_BD.dtype)


class ResidualMap(nn.Module):
    """A small residual map of vectors, the identity at first: it bends a frozen text space towards the pictures.

    Args:
        dim: width of the vectors. hidden: inner width. dropout: inside.
    """

    def __init__(self, dim: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.up, self.down, self.dropout = nn.Linear(dim, hidden), nn.Linear(hidden, dim), nn.Dropout(dropout)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(self, x_BD: Tensor) -> Tensor:
        """Unit vectors `(B, D)`."""
        return F.normalize(x_BD + self.down(self.dropout(F.gelu(self.up(x_BD)))), dim=-1)
