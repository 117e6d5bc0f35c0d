"""Object tags as anchors: are these the tags of this picture? (OSCAR's contrastive loss; Li et al. 2020, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.errors import RequestError
from sensorium.fusion.pairs import Pairs, Words
from sensorium.model.joint import Joint
from sensorium.nn.trace import SILENT, Trace
from sensorium.objectives.loss import Loss


class PollutedTags:
    """Callable over (model, pairs, seed): in a share of the rows the tags give way to those of another row.

    Args:
        share: of the rows, by chance; OSCAR's is a half.
    """

    def __init__(self, share: float = 0.5) -> None:
        self.share = share

    def __call__(self, model: Joint, pairs: Pairs, seed: int, trace: Trace = SILENT) -> Loss:
        """Summed binary cross-entropy of the model's `match` (terms `tags` and `tags_right`); its size is the rows.

        Raises:
            RequestError: the words have no tags, or there is only one row.
        """
        chance = torch.Generator().manual_seed(seed)
        count = len(pairs)
        if count < 2 or not bool(pairs.words.tags_BL.any()):
            problem = "has one row" if count < 2 else "has no tags"
            raise RequestError(
                "polluted tags", f"are not to be had: the batch {problem}", "Set tags, and batch several samples"
            )
        shift = torch.randint(1, count, (count,), generator=chance)
        polluted_B = torch.rand(count, generator=chance) < self.share
        donors_B = torch.where(polluted_B, (torch.arange(count) + shift) % count, torch.arange(count))
        words = retag(pairs.words, donors_B, model.reader.pad)
        logits_B = model.match(model(Pairs(words, pairs.regions), trace=trace).pooled_BD)[:, 0]
        total = F.binary_cross_entropy_with_logits(logits_B, (~polluted_B).float(), reduction="sum")
        right = float(((logits_B > 0) == ~polluted_B).sum())
        return Loss(total, float(count), {"tags": (float(total.detach()), float(count)), "tags_right": (right, float(count))})


def retag(words: Words, donors_B: Tensor, pad: int) -> Words:
    """Row b's text with the tags of row `donors_B[b]`; the origins of tags go with them."""
    texts_BL = words.valid_BL & ~words.tags_BL
    ids, tags, spots = [], [], []
    for row, donor in enumerate(donors_B.tolist()):
        own, others = words.ids_BL[row, texts_BL[row]], words.ids_BL[donor, words.tags_BL[donor]]
        ids.append(torch.cat([own, others]))
        tags.append(torch.arange(len(ids[-1])) >= len(own))
        shift, begin = len(own) - int(texts_BL[donor].sum()), int(texts_BL[donor].sum())
        kept = [spot for spot in words.spots[row] if spot.start < len(own)]
        spots.append((*kept, *(spot._replace(start=spot.start + shift) for spot in words.spots[donor] if spot.start >= begin)))
    ids_BL = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=pad)
    valid_BL = torch.arange(ids_BL.shape[1]) < torch.tensor([len(row) for row in ids])[:, None]
    return Words(ids_BL, valid_BL, torch.nn.utils.rnn.pad_sequence(tags, batch_first=True), tuple(spots))
