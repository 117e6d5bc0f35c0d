"""Word-region alignment: optimal transport between a text's words and a picture's regions (Chen et al. 2020, section 3.2).

The plan is found by the inexact proximal point method (IPOT; Xie, Wang, Wang & Zha 2018): unlike Sinkhorn's it converges to
the exact plan, which is sparse, with a step size that needs no tuning.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.batch import Features
from sensorium.nn.trace import SILENT, Trace
from sensorium.objectives.loss import Loss


class Transport(NamedTuple):
    """What goes where: `plan_BLG` sums to 1 in each row (0 without words or regions), `distance_B` is its cost."""

    plan_BLG: Tensor
    distance_B: Tensor


@torch.no_grad()
def ipot(cost_BLG: Tensor, words_BL: Tensor, regions_BG: Tensor, beta: float = 0.5, rounds: int = 50) -> Tensor:
    """The plan `(B, L, G)` between the even distributions over the valid words and over the valid regions.

    Args:
        cost_BLG: of word l and region g. words_BL, regions_BG: bool, which are there.
        beta: weight of the proximal term; more is slower and steadier.
    """
    there_BLG = words_BL[:, :, None] & regions_BG[:, None]
    words_B, regions_B = words_BL.sum(1).clamp_min(1)[:, None], regions_BG.sum(1).clamp_min(1)[:, None]
    kernel_BLG = torch.exp(-cost_BLG.float() / beta) * there_BLG
    plan_BLG = there_BLG.float()
    scale_BG = regions_BG / regions_B
    for _ in range(rounds):
        step_BLG = kernel_BLG * plan_BLG
        scale_BL = words_BL / (words_B * torch.einsum("blg,bg->bl", step_BLG, scale_BG)).clamp_min(1e-30)
        scale_BG = regions_BG / (regions_B * torch.einsum("blg,bl->bg", step_BLG, scale_BL)).clamp_min(1e-30)
        plan_BLG = scale_BL[:, :, None] * step_BLG * scale_BG[:, None]
    return plan_BLG


def transport(words: Features, regions: Features, beta: float = 0.5, rounds: int = 50) -> Transport:
    """From words to regions at the cost `1 - cosine`; gradients reach the cost, not the plan."""
    cost_BLG = 1 - F.normalize(words.x_BTD, dim=-1) @ F.normalize(regions.x_BTD, dim=-1).transpose(1, 2)
    plan_BLG = ipot(cost_BLG, words.valid_BT, regions.valid_BT, beta, rounds)
    return Transport(plan_BLG, (plan_BLG * cost_BLG).sum((1, 2)))


class WordRegion:
    """Callable over the hidden states of words and regions: matched pairs should be near, mismatched ones `margin` apart.

    UNITER's code subtracts the mismatched pairs' distance without end; where they are the more numerous, everything then moves
    apart, matched pairs too. The margin bounds how near matched pairs come as well: words and regions share one direction as
    far as it allows, and a word is one of several that make up its region.

    Args:
        beta, rounds: of `ipot`. margin: in cosine distance.
    """

    def __init__(self, beta: float = 0.5, rounds: int = 50, margin: float = 0.5) -> None:
        self.beta, self.rounds, self.margin = beta, rounds, margin

    def __call__(self, words: Features, regions: Features, matched_B: Tensor, trace: Trace = SILENT) -> Loss:
        """The matched pairs' distances, and as much again for what the mismatched ones lack; its size is the matched pairs.

        Traces `word_region.plan` `(B, L, G)`. Terms: `word_region` (distance of matched pairs), `word_region_wrong`.
        """
        plan_BLG, distance_B = transport(words, regions, self.beta, self.rounds)
        trace("word_region.plan", plan_BLG)
        near, far = distance_B[matched_B], distance_B[~matched_B]
        terms = {"word_region": (float(near.detach().sum()), float(len(near)))}
        if len(far):
            terms["word_region_wrong"] = (float(far.detach().sum()), float(len(far)))
        lacking = (self.margin - far).clamp_min(0).sum() * (len(near) / max(len(far), 1))
        return Loss(near.sum() + lacking, float(len(near)), terms)


class Aligner(nn.Module):
    """Where words and regions are compared: each word with the two beside it, and each region, through a layer of its own.

    An embedded word by itself cannot tell which of two red things it is about; "red" before "circle" can. And what else is
    learned of the embeddings does not pull at this space. States of more words than that are no use: they can all come to say
    the whole text, and then none means a region.

    Args:
        width: D of the model.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.words, self.regions = nn.Conv1d(width, width, 3, padding=1), nn.Linear(width, width)

    def forward(self, words: Features, regions: Features) -> tuple[Features, Features]:
        """Embeddings `(B, L, D)` and `(B, G, D)` to vectors of the same shapes; invalid words are nobody's neighbours."""
        said_BDL = (words.x_BTD * words.valid_BT[..., None]).transpose(1, 2)
        met_BLD = self.words(said_BDL).transpose(1, 2)
        return Features(met_BLD, words.valid_BT), Features(self.regions(regions.x_BTD), regions.valid_BT)
