"""Masked language modelling: the words that were hidden, from the other words and the whole picture (Devlin et al. 2019)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.fusion.pairs import Pairs, Words
from sensorium.model.joint import Joint
from sensorium.nn.trace import SILENT, Trace
from sensorium.objectives.loss import Loss


class Hidden(NamedTuple):
    """Words as the model sees them, and where (`chosen_BL`, bool) their ids have to be guessed."""

    words: Words
    chosen_BL: Tensor


class MaskedLanguage:
    """Callable over (model, pairs, seed). Only words are hidden, never regions with them (UNITER's conditional masking).

    Args:
        share: of the words and tags. masked, swapped: of the chosen ones so many become `[MASK]`, so many a word by chance, and
            the rest stay; BERT's are 0.8 and 0.1.
    """

    def __init__(self, share: float = 0.15, masked: float = 0.8, swapped: float = 0.1) -> None:
        self.share, self.masked, self.swapped = share, masked, swapped

    def __call__(self, model: Joint, pairs: Pairs, seed: int, trace: Trace = SILENT) -> Loss:
        """Summed cross-entropy over the chosen words; its size is how many there are.

        Terms: `masked_language`, and `words_right`, the share guessed.
        """
        return guess(model, pairs, self.hide(model, pairs.words, seed), trace)

    def hide(self, model: Joint, words: Words, seed: int) -> Hidden:
        """Choose and hide; a pure function of the words and the seed. Every row loses at least one word where it has any."""
        chance = torch.Generator().manual_seed(seed)
        content_BL = model.reader.content(words)
        draw_BL = torch.rand(words.ids_BL.shape, generator=chance).masked_fill(~content_BL, 2.0)
        least_B1 = draw_BL.amin(1, keepdim=True)
        chosen_BL = content_BL & ((draw_BL < self.share) | (draw_BL == least_B1))
        fate_BL = torch.rand(words.ids_BL.shape, generator=chance)
        others_BL = torch.randint(model.config.vocabulary, words.ids_BL.shape, generator=chance)
        ids_BL = torch.where(chosen_BL & (fate_BL < self.masked), model.reader.mask, words.ids_BL)
        swapped_BL = chosen_BL & (fate_BL >= self.masked) & (fate_BL < self.masked + self.swapped)
        return Hidden(words.with_ids(torch.where(swapped_BL, others_BL, ids_BL)), chosen_BL)


def guess(model: Joint, pairs: Pairs, hidden: Hidden, trace: Trace = SILENT) -> Loss:
    """The loss of given hidden words: `pairs` holds the true ones."""
    output = model(Pairs(hidden.words, pairs.regions), trace=trace)
    logits_TV = model.word_head(output.words.x_BTD[hidden.chosen_BL], model.embedding.words.weight)
    ids_T = pairs.words.ids_BL[hidden.chosen_BL]
    total = F.cross_entropy(logits_TV, ids_T, reduction="sum")
    count, right = float(len(ids_T)), float((logits_TV.argmax(-1) == ids_T).sum())
    return Loss(total, count, {"masked_language": (float(total.detach()), count), "words_right": (right, count)})
