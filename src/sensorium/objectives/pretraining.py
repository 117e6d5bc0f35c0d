"""Pretraining of a joint model on pictures with texts: masked words and regions, matching and word-region transport at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.batch import Features
from sensorium.fusion.pairs import Pairs, Words
from sensorium.model.joint import Joint
from sensorium.model.joint_reading import View
from sensorium.nn.closed import ClosedConfig
from sensorium.nn.trace import Trace
from sensorium.objectives.contrastive import Contrast
from sensorium.objectives.loss import Loss
from sensorium.objectives.masked_language import MaskedLanguage
from sensorium.objectives.masked_region import MaskedRegion
from sensorium.objectives.matching import judge, mine
from sensorium.objectives.word_region import Aligner, WordRegion

Term = Literal["masked_language", "masked_region", "matching", "word_region", "contrast"]


class Weights(ClosedConfig):
    """Of each term's mean in the sum; one at 0 is not computed. Word-region transport needs `matching`.

    Args:
        contrast: of the small dual encoder beside the model whose similarities find hard wrong partners; at 0 they are even.
    """

    masked_language: float = 1.0
    masked_region: float = 1.0
    matching: float = 1.0
    word_region: float = 1.0
    contrast: float = 1.0


class Shown(NamedTuple):
    """A batch: what is said, what is shown, and what tells one pair's content from another's."""

    words: Words
    views: list[View]
    texts: list[str]


class Glance(nn.Module):
    """A dual encoder of almost nothing: the mean word embedding and the mean region embedding, each through one layer.

    Args:
        width: D of the joint model.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.words, self.regions = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, words: Features, regions: Features) -> tuple[Tensor, Tensor]:
        """Unit vectors `(B, D)` of pictures and of texts."""
        return self._mean(regions, self.regions), self._mean(words, self.words)

    def _mean(self, side: Features, into: nn.Module) -> Tensor:
        valid_BL1 = side.valid_BT[..., None]
        mean_BD = (side.x_BTD * valid_BL1).sum(1) / valid_BL1.sum(1).clamp_min(1)
        return F.normalize(into(mean_BD), dim=-1)


class Pretraining(nn.Module):
    """Callable over (model, batch). What is hidden and who is wrongly paired is drawn from torch's generator; in evaluation
    mode it is always the same, so that sighted and blind are asked alike.

    Word-region transport is of the embeddings through `align`, before words and regions have seen one another: there the plan
    has to find which word means which region, while finished states can tell a matched pair from a mismatched one without that.

    Args:
        weights: of the terms. target: of masked regions (see `MaskedRegion`). share: of words and regions that are hidden.
    """

    def __init__(
        self, width: int, weights: Weights, target: Literal["features", "classes"] = "features", share: float = 0.15
    ) -> None:
        super().__init__()
        self.weights = weights
        self.words, self.regions = MaskedLanguage(share), MaskedRegion(target, share)
        self.transport, self.align = WordRegion(), Aligner(width) if weights.word_region else None
        self.glance = Glance(width) if weights.contrast else None
        self.contrast = Contrast() if weights.contrast else None

    def forward(self, model: Joint, batch: Shown) -> Loss:
        """The weighted sum of the terms' means, times the rows (`loss`); terms by name as their own objectives call them."""
        seed = int(torch.randint(2**31, ())) if self.training else 0
        return self.terms(model, Pairs(batch.words, model.look(batch.views)), batch.texts, seed)

    def terms(self, model: Joint, pairs: Pairs, texts: list[str], seed: int) -> Loss:
        """The same of pairs whose regions are known already; equal texts are never wrong partners."""
        found: dict[Term, Loss] = {}
        alike_PP = torch.tensor([[one == other for other in texts] for one in texts])
        similar_PP = torch.zeros(len(texts), len(texts))
        if self.glance is not None and self.contrast is not None:
            words, regions = model.embedding.say(pairs.words), model.embedding.see(pairs.regions, None)
            pictures_PD, said_PD = self.glance(Features(words.x_BTD, model.reader.content(pairs.words)), regions)
            found["contrast"] = self.contrast(pictures_PD, said_PD, alike_PP)
            similar_PP = (pictures_PD @ said_PD.t()).detach() * self.contrast.log_scale.exp().detach()
        if self.weights.masked_language:
            found["masked_language"] = self.words(model, pairs, seed)
        if self.weights.masked_region:
            found["masked_region"] = self.regions(model, pairs, seed)
        if self.weights.matching:
            trace = Trace(("joint.words.embedding", "joint.regions.embedding"))
            found["matching"], output, matched_B = judge(model, pairs, mine(similar_PP, alike_PP, seed), trace)
            if self.align is not None:
                words_BL = model.reader.content(output.pairs.words)
                words = Features(trace.found["joint.words.embedding"], words_BL)
                regions = Features(trace.found["joint.regions.embedding"], output.regions.valid_BT)
                words, regions = self.align(words, regions)
                found["word_region"] = self.transport(words, regions, matched_B)
        return self._sum(found, float(len(pairs)))

    def _sum(self, found: Mapping[Term, Loss], rows: float) -> Loss:
        total = torch.zeros(())
        terms: dict[str, tuple[float, float]] = {}
        for name, loss in found.items():
            total = total + float(getattr(self.weights, name)) * loss.total / max(loss.size, 1.0)
            renamed = {"loss": "contrast", "found": "contrast_found"} if name == "contrast" else {}
            terms |= {renamed.get(key, key): value for key, value in loss.terms.items()}
        return Loss(total * rows, rows, {"loss": (float(total.detach()) * rows, rows), **terms})
