"""The hallucination-augmented loss against its formula, and how captions are made to lie."""

from __future__ import annotations

import math
import random

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.objectives.contrastive import Contrast
from sensorium.objectives.hallucination import HallucinationContrast, hallucinate


def unit(*shape: int) -> Tensor:
    return F.normalize(torch.randn(*shape), dim=-1)


@pytest.mark.parametrize("shared", [False, True])
def test_hallucinated_captions_stand_in_the_denominator(shared: bool) -> None:
    images_PD, texts_PD, lies_PCD = unit(4, 6), unit(4, 6), unit(4, 2, 6)
    to_text = 0.0
    for i in range(4):
        lies = lies_PCD.flatten(0, 1) if shared else lies_PCD[i]
        below = sum(math.exp(float(images_PD[i] @ text_D) / 0.07) for text_D in (*texts_PD, *lies))
        to_text -= math.log(math.exp(float(images_PD[i] @ texts_PD[i]) / 0.07) / below)
    to_image = float(F.cross_entropy(texts_PD @ images_PD.t() / 0.07, torch.arange(4), reduction="sum"))
    loss = HallucinationContrast(shared=shared)(images_PD, texts_PD, lies_PCD)
    assert float(loss.total.detach()) == pytest.approx((to_text + to_image) / 2, rel=1e-5)
    assert loss.size == 4


def test_far_hallucinated_captions_leave_the_plain_loss() -> None:
    images_PD, texts_PD = unit(4, 6), unit(4, 6)
    right_PP = torch.eye(4).bool()
    right_PP[0, 1] = True
    mine = HallucinationContrast()(images_PD, texts_PD, -images_PD[:, None], right_PP)
    assert float(mine.total.detach()) == pytest.approx(
        float(Contrast()(images_PD, texts_PD, right_PP).total.detach()), rel=1e-5
    )


def test_resisted_counts_pictures_whose_caption_beats_all_of_its_lies() -> None:
    images_PD = torch.eye(3)
    lies_PCD = torch.stack([images_PD.roll(1, 0), images_PD.roll(2, 0)], dim=1)
    assert HallucinationContrast()(images_PD, images_PD, lies_PCD).terms["resisted"] == (3.0, 3.0)
    lies_PCD[1, 0] = images_PD[1]
    assert HallucinationContrast()(images_PD, images_PD, lies_PCD).terms["resisted"] == (2.0, 3.0)


def test_one_word_is_replaced_by_another_of_its_kind() -> None:
    kinds = ({"red", "blue", "green"}, {"star", "circle"})
    seen = {hallucinate("A red star, left of it a blue star.", kinds, random.Random(seed)) for seed in range(40)}
    assert seen == {
        "A green star, left of it a blue star.",
        "A red star, left of it a green star.",
        "A red circle, left of it a blue star.",
        "A red star, left of it a blue circle.",
    }


def test_only_words_known_to_be_absent_come_in_if_they_are_given() -> None:
    kinds = ({"cat", "dog", "cow"},)
    assert {hallucinate("a cat", kinds, random.Random(seed), absent={"cow"}) for seed in range(9)} == {"a cow"}
    assert hallucinate("a cat", kinds, random.Random(0), absent={"tree"}) is None
    assert hallucinate("nothing", kinds, random.Random(0)) is None
