"""Naming: a connector's outputs should lie, somewhere, near the embeddings of the words that belong to the medium.

A cheap first lesson without the language model's layers: what it then reads resembles words that it knows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.batch import Features
from sensorium.objectives.loss import Loss


class Naming(nn.Module):
    """Multi-label classification whose classes are token embeddings.

    Args:
        embeddings_VD: of the whole vocabulary. words: the ids that may be named. frequency: how often each one is, in 0..1.
    """

    directions_VD: Tensor

    def __init__(self, embeddings_VD: Tensor, words: Sequence[int], frequency: Sequence[float]) -> None:
        super().__init__()
        centred_VD = embeddings_VD[torch.tensor(list(words))].float() - embeddings_VD.float().mean(0)
        self.register_buffer("directions_VD", F.normalize(centred_VD, dim=-1))
        self.bias_V = nn.Parameter(torch.logit(torch.tensor(list(frequency)).clamp(1e-4, 1 - 1e-4)) - 1.0)
        self.scale = nn.Parameter(torch.tensor(16.0))

    def forward(self, features: Features, present_PV: Tensor) -> Loss:
        """`features` of P media, out of the connector; `present_PV` is 1 where a word belongs to a medium, otherwise 0."""
        unit_PTD = F.normalize(features.x_BTD, dim=-1)
        scores_PTV = (unit_PTD.bfloat16() @ self.directions_VD.t().bfloat16()).float() * self.scale
        scores_PTV = scores_PTV.masked_fill(~features.valid_BT[..., None], -torch.inf)
        steps = math.log(features.x_BTD.shape[1])
        scores_PV = scores_PTV.logsumexp(1) - steps + self.bias_V
        total = F.binary_cross_entropy_with_logits(scores_PV, present_PV.float(), reduction="sum")
        return Loss(total, len(present_PV), {"loss": (float(total.detach()), len(present_PV))})
