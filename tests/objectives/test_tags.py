"""Polluted tags: whose tags stand where, with their origins, and the loss by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sensorium.errors import RequestError
from sensorium.fusion.pairs import Pairs
from sensorium.objectives.tags import PollutedTags, retag
from sensorium.parts import Image, Message, Sample, Text
from tests.objectives.joint_toys import TEXTS, pairs, toy

TAGS = ("ring", "red circle", "blue")


def tagged() -> Pairs:
    boxes = [[0.0, 0.0, 0.5, 0.5], [0.1, 0.1, 0.2, 0.9], [0.5, 0.5, 1.0, 1.0]]
    samples = [
        Sample(
            text,
            (Message("user", (Image(b""),)), Message("assistant", (Text(text),))),
            {"objects": [{"name": name, "box": box}]},
        )
        for text, name, box in zip(TEXTS, TAGS, boxes, strict=True)
    ]
    return Pairs(toy(tags=True).reader(samples, ("assistant",)), pairs().regions)


def said(row: torch.Tensor) -> str:
    tokenizer = toy().reader.tokenizer
    return " ".join(tokenizer.id_to_token(index) for index in row.tolist())


def test_tags_change_rows_with_their_origins() -> None:
    both = tagged()
    words = retag(both.words, torch.tensor([1, 1, 0]), toy().reader.pad)
    assert [said(row) for row in words.ids_BL] == [
        "[CLS] a red circle [SEP] red circle [SEP] [PAD]",
        "[CLS] two blue squares here [SEP] red circle [SEP]",
        "[CLS] ring [SEP] ring [SEP] [PAD] [PAD] [PAD] [PAD]",
    ]
    assert words.tags_BL[2].tolist() == [False] * 3 + [True] * 2 + [False] * 4
    assert words.valid_BL.sum(1).tolist() == [8, 9, 5]
    mixed = Pairs(words, both.regions)
    tag, word = mixed.origin(0, 6), mixed.origin(0, 2)
    assert tag is not None
    assert word is not None
    assert (tag.extent, tag.start, word.extent) == ((0.1, 0.1, 0.2, 0.9), 5, (0.0, 12.0))
    same = retag(both.words, torch.arange(3), toy().reader.pad)
    assert torch.equal(same.ids_BL, both.words.ids_BL)
    assert same.spots == both.words.spots


def test_the_loss_says_whose_tags_were_there() -> None:
    model, both = toy(tags=True), tagged()
    kept = PollutedTags(0.0)(model, both, 0)
    logits_B = model.match(model(both).pooled_BD)[:, 0]
    wanted = -F.logsigmoid(logits_B.detach()).sum()
    assert float(kept.total.detach()) == pytest.approx(float(wanted), abs=1e-5)
    swapped = PollutedTags(1.0)(model, both, 0)
    rows = torch.arange(3)
    possible = {
        round(
            float(F.softplus(model.match(model(Pairs(retag(both.words, donors, 0), both.regions)).pooled_BD)).sum().detach()), 4
        )
        for donors in (torch.tensor([a, b, c]) for a in (1, 2) for b in (0, 2) for c in (0, 1))
        if not bool((donors == rows).any())
    }
    assert round(float(swapped.total.detach()), 4) in possible


def test_pairs_without_tags_are_refused() -> None:
    with pytest.raises(RequestError, match="the batch has no tags"):
        PollutedTags()(toy(), pairs(), 0)
    with pytest.raises(RequestError, match="the batch has one row"):
        PollutedTags()(toy(), tagged().take([0], [0]), 0)
