"""Image-text matching: do the two belong together? With wrong partners that a contrastive model finds hard to tell (ALBEF)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.errors import RequestError
from sensorium.fusion.pairs import Pairs
from sensorium.model.joint import Joint, JointOutput
from sensorium.nn.trace import SILENT, Trace
from sensorium.objectives.loss import Loss


class Partners(NamedTuple):
    """A wrong text for each picture and a wrong picture for each text, by row."""

    texts: list[int]
    pictures: list[int]


def mine(similar_PP: Tensor, alike_PP: Tensor, seed: int) -> Partners:
    """Wrong partners drawn in proportion to the softmax of their similarity (Li et al. 2021, section 3.2).

    Args:
        similar_PP: picture i and text j, on the scale of the contrastive loss; zeros draw evenly.
        alike_PP: bool, pairs that must not pass for wrong: the matched ones, and others that fit as well.

    Raises:
        RequestError: a picture or text for which all others are alike.
    """
    chance = torch.Generator().manual_seed(seed)
    scores_PP = similar_PP.detach().float().masked_fill(alike_PP, float("-inf"))
    if bool(alike_PP.all(1).any() | alike_PP.all(0).any()):
        raise RequestError("matching", "finds no wrong partner for a pair of this batch", "Use larger or more varied batches")
    texts = torch.multinomial(scores_PP.softmax(1), 1, generator=chance)[:, 0].tolist()
    pictures = torch.multinomial(scores_PP.t().softmax(1), 1, generator=chance)[:, 0].tolist()
    return Partners(texts, pictures)


def judge(model: Joint, pairs: Pairs, partners: Partners, trace: Trace = SILENT) -> tuple[Loss, JointOutput, Tensor]:
    """Each pair once matched and, from either side, once mismatched.

    Returns:
        The summed binary cross-entropy over three judgements a pair (terms `matching` and `matching_right`); the model's output
        for them, in the order matched, wrong text, wrong picture; and which of them are matched, bool.
    """
    rows = list(range(len(pairs)))
    shown = pairs.take([*rows, *partners.texts, *rows], [*rows, *rows, *partners.pictures])
    output = model(shown, trace=trace)
    logits_B = model.match(output.pooled_BD)[:, 0]
    matched_B = torch.arange(len(shown)) < len(rows)
    total = F.binary_cross_entropy_with_logits(logits_B, matched_B.float(), reduction="sum")
    count, right = float(len(shown)), float(((logits_B > 0) == matched_B).sum())
    terms = {"matching": (float(total.detach()), count), "matching_right": (right, count)}
    return Loss(total, count, terms), output, matched_B


class Matching:
    """Callable over (model, pairs, seed), with hard wrong partners where similarities are given."""

    def __call__(
        self,
        model: Joint,
        pairs: Pairs,
        seed: int,
        similar_PP: Tensor | None = None,
        alike_PP: Tensor | None = None,
        trace: Trace = SILENT,
    ) -> Loss:
        """See `mine` for the similarities and `judge` for the loss.

        Args:
            alike_PP: by default each pair is alike with itself only.
        """
        count = len(pairs)
        alike_PP = torch.eye(count, dtype=torch.bool) if alike_PP is None else alike_PP
        similar_PP = torch.zeros(count, count) if similar_PP is None else similar_PP
        return judge(model, pairs, mine(similar_PP, alike_PP, seed), trace)[0]
