"""Codebook: a connector's outputs should be the vectors that already make a frozen language model say the right word.

Such vectors are learned first, for each word its own, as soft prompts are (Lester et al. 2021, arXiv:2104.08691). Then no layer of
the language model is needed to teach the connector, which sees a hundred times more examples for the same work.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.batch import Features
from sensorium.objectives.loss import Loss


class Codebook(nn.Module):
    """Classification by the cosine to each word's code, and the cosine itself.

    Args:
        codes_WQD: of W words, as the language model reads them. gain_D: what the connector's last norm multiplies with.
        smoothing: of the labels.
    """

    codes_WE: Tensor
    mean_QD: Tensor
    gain_D: Tensor

    def __init__(self, codes_WQD: Tensor, gain_D: Tensor, smoothing: float = 0.1) -> None:
        super().__init__()
        plain_WQD = (codes_WQD / gain_D).detach()
        self.register_buffer("mean_QD", plain_WQD.mean(0))
        self.register_buffer("gain_D", gain_D.detach())
        self.register_buffer("codes_WE", F.normalize((plain_WQD - self.mean_QD).flatten(1), dim=1))
        self.scale = nn.Parameter(torch.tensor(12.0))
        self.smoothing = smoothing

    def forward(self, features: Features, words_P: Tensor) -> Loss:
        """`features` of P media, out of the connector; `words_P` is the right word's number of each."""
        cosines_PW = self.cosines(features)
        named_P = F.cross_entropy(self.scale * cosines_PW, words_P, reduction="none", label_smoothing=self.smoothing)
        near_P = 1 - cosines_PW.gather(1, words_P[:, None])[:, 0]
        total, count = (named_P + near_P).sum(), len(words_P)
        hits = float((cosines_PW.argmax(1) == words_P).sum())
        return Loss(total, count, {"loss": (float(total.detach()), count), "right": (hits, count)})

    def cosines(self, features: Features) -> Tensor:
        """To every word's code, `(P, W)`; what all codes have in common is left out."""
        plain_PQD = features.x_BTD.float() / self.gain_D - self.mean_QD
        return F.normalize(plain_PQD.flatten(1), dim=1) @ self.codes_WE.t()
