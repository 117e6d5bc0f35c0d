"""Masked words: which are hidden and how, and the loss against torch's cross-entropy."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sensorium.fusion.pairs import Pairs
from sensorium.objectives.masked_language import MaskedLanguage, guess
from tests.objectives.joint_toys import pairs, toy


def test_the_chosen_words_become_masks_others_or_stay() -> None:
    model, words = toy(), pairs().words.take([1] * 4000)
    hidden = MaskedLanguage(0.15)(model, pairs(), 0), MaskedLanguage(0.15).hide(model, words, 0)
    assert hidden[0].size >= 3
    chosen_BL, ids_BL = hidden[1].chosen_BL, hidden[1].words.ids_BL
    assert not bool((chosen_BL & ~model.reader.content(words)).any())
    assert bool(chosen_BL.any(1).all())
    counts_B = chosen_BL.sum(1).float()
    expected = 4 * 0.15 + 0.85**4  # four words at 15 %, and one where none was drawn
    assert float(counts_B.mean()) == pytest.approx(expected, abs=0.05)
    assert float((ids_BL[chosen_BL] == model.reader.mask).float().mean()) == pytest.approx(
        0.8 + 0.1 / model.config.vocabulary, abs=0.03
    )
    assert float((ids_BL[chosen_BL] == words.ids_BL[chosen_BL]).float().mean()) == pytest.approx(0.1, abs=0.03)
    assert torch.equal(ids_BL[~chosen_BL], words.ids_BL[~chosen_BL])
    assert torch.equal(MaskedLanguage(0.15).hide(model, words, 0).words.ids_BL, ids_BL)
    assert not torch.equal(MaskedLanguage(0.15).hide(model, words, 1).words.ids_BL, ids_BL)


def test_the_loss_is_the_cross_entropy_at_the_chosen_places() -> None:
    model, both = toy(), pairs()
    hidden = MaskedLanguage(0.5).hide(model, both.words, 3)
    loss = guess(model, both, hidden)
    logits_BLV = model.word_head(model(Pairs(hidden.words, both.regions)).words.x_BTD, model.embedding.words.weight)
    targets_BL = both.words.ids_BL.masked_fill(~hidden.chosen_BL, -100)
    wanted = F.cross_entropy(logits_BLV.flatten(0, 1), targets_BL.flatten(), reduction="sum")
    assert float(loss.total.detach()) == pytest.approx(float(wanted), abs=1e-4)
    assert loss.size == float(hidden.chosen_BL.sum())
    right = (logits_BLV.argmax(-1) == targets_BL).sum()
    assert loss.terms["words_right"] == (float(right), loss.size)
