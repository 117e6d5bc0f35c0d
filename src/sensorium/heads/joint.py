"""What single- and two-stream models say: masked words, masked regions, whether text and picture belong together, an answer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class WordHead(nn.Module):
    """BERT's masked-word head (Devlin et al. 2019): dense, GELU, norm, then the word embeddings as the classifier.

    Args:
        width: D. vocabulary: V. eps: of the norm.
    """

    def __init__(self, width: int, vocabulary: int, eps: float) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, hidden_TD: Tensor, embeddings_VD: Tensor) -> Tensor:
        """Hidden states at the masked places to logits `(T, V)`."""
        return F.linear(self.norm(F.gelu(self.dense(hidden_TD))), embeddings_VD, self.bias)


class RegionHead(nn.Module):
    """UNITER's masked-region heads (Chen et al. 2020, section 3.2): features, back through the transposed input projection,
    and classes.

    Args:
        width: D. dim: of the region features. classes: that a region can be of; 0 builds no classifier.
    """

    def __init__(self, width: int, dim: int, classes: int, eps: float) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width, eps=eps))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.classes = None
        if classes:
            self.classes = nn.Sequential(
                nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width, eps=eps), nn.Linear(width, classes)
            )

    def rebuild(self, hidden_TD: Tensor, projection_DF: Tensor) -> Tensor:
        """Hidden states at the masked regions to features; `projection_DF` is the weight that took features in."""
        return F.linear(self.features(hidden_TD), projection_DF.t(), self.bias)


class Verdict(nn.Module):
    """A pooled vector to classes through one hidden layer; with one class, a logit of yes.

    Args:
        width: D. hidden: inner width. classes: how many.
    """

    def __init__(self, width: int, hidden: int, classes: int, eps: float) -> None:
        super().__init__()
        self.dense = nn.Linear(width, hidden)
        self.norm = nn.LayerNorm(hidden, eps=eps)
        self.out = nn.Linear(hidden, classes)

    def forward(self, pooled_BD: Tensor) -> Tensor:
        """`(B, classes)`."""
        out: Tensor = self.out(self.norm(F.gelu(self.dense(pooled_BD))))
        return out
