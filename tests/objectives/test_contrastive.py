"""Contrastive objectives against CLIP's and SigLIP's own formulas, and what several right texts and doubt change."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.errors import RequestError
from sensorium.objectives.contrastive import Contrast, Doubt, alike, holding, own


def vectors(count: int = 6, dim: int = 8, seed: int = 0) -> tuple[Tensor, Tensor]:
    chance = torch.Generator().manual_seed(seed)
    return tuple(F.normalize(torch.randn(count, dim, generator=chance), dim=-1) for _ in range(2))  # type: ignore[return-value]


def mean(objective: Contrast, *inputs: Tensor) -> float:
    loss = objective(*inputs)
    return float(loss.total.detach()) / loss.size


def test_softmax_is_the_loss_of_clips_figure_3() -> None:
    images_PD, texts_PD = vectors()
    logits_PP, labels_P = images_PD @ texts_PD.t() / 0.07, torch.arange(6)
    wanted = (F.cross_entropy(logits_PP, labels_P) + F.cross_entropy(logits_PP.t(), labels_P)) / 2
    assert mean(Contrast(), images_PD, texts_PD) == pytest.approx(float(wanted), abs=1e-5)


def test_sigmoid_is_siglips_equation_pair_by_pair() -> None:
    images_PD, texts_PD = vectors()
    total = 0.0
    for i, image_D in enumerate(images_PD):
        for j, text_D in enumerate(texts_PD):
            sign = 1 if i == j else -1
            total += math.log(1 + math.exp(-sign * (10.0 * float(image_D @ text_D) - 10.0)))
    objective = Contrast("sigmoid")
    assert mean(objective, images_PD, texts_PD) == pytest.approx(total / len(images_PD), abs=1e-4)
    objective(images_PD, texts_PD).total.backward()
    assert objective.bias is not None and objective.bias.grad is not None and objective.log_scale.grad is not None
    assert float(objective.bias.grad) != 0 and float(objective.log_scale.grad) != 0


@pytest.mark.parametrize("form", ["softmax", "sigmoid"])
def test_the_order_of_the_pairs_and_which_side_is_which_do_not_matter(form: str) -> None:
    images_PD, texts_PD = vectors()
    objective, order = Contrast(form), torch.tensor([3, 1, 5, 0, 2, 4])  # type: ignore[arg-type]
    wanted = mean(objective, images_PD, texts_PD)
    assert mean(objective, images_PD[order], texts_PD[order]) == pytest.approx(wanted, abs=1e-5)
    assert mean(objective, texts_PD, images_PD) == pytest.approx(wanted, abs=1e-5)


def test_a_caption_that_says_the_same_is_no_negative() -> None:
    """By hand: two pictures with one text; each right pair against the third text alone."""
    images_PD = torch.eye(3)
    texts_PD = torch.eye(3)[[0, 0, 2]]
    right_PP = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]]).bool()
    objective = Contrast(scale=2.0)
    scores_PP = 2 * images_PD @ texts_PD.t()

    def row(scores_P: Tensor, right: list[int], wrong: list[int]) -> float:
        against = sum(math.exp(float(scores_P[j])) for j in wrong)
        return sum(math.log(1 + against / math.exp(float(scores_P[i]))) for i in right) / len(right)

    rows = [row(scores_PP[0], [0, 1], [2]), row(scores_PP[1], [0, 1], [2]), row(scores_PP[2], [2], [0, 1])]
    columns = [row(scores_PP.t()[0], [0, 1], [2]), row(scores_PP.t()[1], [0, 1], [2]), row(scores_PP.t()[2], [2], [0, 1])]
    assert mean(objective, images_PD, texts_PD, right_PP) == pytest.approx((sum(rows) + sum(columns)) / 6, abs=1e-5)


@pytest.mark.parametrize("form", ["softmax", "sigmoid"])
def test_near_duplicates_no_longer_push_apart(form: str) -> None:
    """Two pictures with equal captions: as negatives they part the pictures, as right pairs they do not."""
    image_D = torch.tensor([1.0, 0.0])
    images_PD, texts_PD = image_D.repeat(2, 1).requires_grad_(), image_D.repeat(2, 1)
    objective = Contrast(form, scale=20.0)  # type: ignore[arg-type]
    right_PP = alike(["a red star", "The red star!"])
    assert mean(objective, images_PD, texts_PD, right_PP) < mean(objective, images_PD, texts_PD)
    if form == "softmax":
        assert mean(objective, images_PD, texts_PD, right_PP) == 0.0


def test_alike_knows_the_same_picture_and_the_same_words_in_order() -> None:
    texts = ["A red star.", "the red  star", "star red", "Ein roter Stern", "a blue star", "der"]
    same_PP = alike(texts)
    assert same_PP.nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [2, 2], [3, 3], [4, 4], [5, 5]]
    both_PP = alike(texts, pictures=["a", "b", "c", "a", "d", "e"])
    assert bool(both_PP[0, 3]) and bool(both_PP[3, 0]) and not bool(both_PP[1, 3])


def test_a_text_holds_those_that_say_no_more_in_the_same_words() -> None:
    texts = ["A small red star.", "the Red star!", "a red ring and a star", "star red", "A red star is left of a ring"]
    assert holding(texts).nonzero().tolist() == [[0, 0], [0, 1], [1, 1], [2, 2], [3, 3], [4, 1], [4, 4]]


@pytest.mark.parametrize("form", ["softmax", "sigmoid"])
def test_a_text_that_says_less_is_right_for_the_picture_of_one_that_says_more(form: str) -> None:
    """Two texts of which the first holds the second: picture 0 is pulled towards both, picture 1 to its own alone."""
    texts_PD = torch.eye(2)
    right_PP = holding(["a small red star", "a red star"])
    pulled = []
    for right in (None, right_PP):
        images_PD = torch.eye(2).requires_grad_()
        Contrast(form)(images_PD, texts_PD, right).total.backward()  # type: ignore[arg-type]
        assert images_PD.grad is not None
        pulled.append(-images_PD.grad)
    assert float(pulled[0][0, 1]) < 0 <= float(pulled[1][0, 1])
    assert float(pulled[1][1, 0]) < 0


@pytest.mark.parametrize("form", ["softmax", "sigmoid"])
def test_doubt_leaves_out_exactly_the_wrong_pairs(form: str) -> None:
    images_PD = torch.eye(10)
    texts_PD = images_PD.clone()
    texts_PD[[2, 7]] = images_PD[[7, 2]]
    doubting = Contrast(form, Doubt(trim=0.2))  # type: ignore[arg-type]
    kept = [0, 1, 3, 4, 5, 6, 8, 9]
    scores_PP = doubting.scores(images_PD, texts_PD).detach()
    if form == "softmax":
        own_P = torch.arange(10)
        both = (F.cross_entropy(scores, own_P, reduction="none")[kept].mean() for scores in (scores_PP, scores_PP.t()))
        wanted = float(sum(both)) / 2
    else:
        losses_PP = F.binary_cross_entropy_with_logits(scores_PP, torch.eye(10), reduction="none")
        wanted = float(losses_PP.sum(1)[kept].mean())
    loss = doubting(images_PD, texts_PD)
    assert loss.size == 8
    assert float(loss.total.detach()) / 8 == pytest.approx(wanted, abs=1e-6)


def test_a_doubted_picture_is_right_for_no_text_but_still_wrong_for_others() -> None:
    """Pictures 0 and 1 have one caption; 1 shows something else. Text 0 is then right for picture 0 against 2 and 3 alone."""
    images_PD = torch.eye(4)
    images_PD[1] = -images_PD[0]
    texts_PD = torch.eye(4)[[0, 0, 2, 3]]
    right_PP = alike(["star", "star", "ring", "moon"])
    loss = Contrast(doubt=Doubt(trim=0.3), scale=5.0)(images_PD, texts_PD, right_PP)
    assert loss.size == 3
    near, far = math.exp(5.0), 1.0
    to_text = [2 * math.log(1 + 2 * far / near) / 2, *[math.log(1 + 3 * far / near)] * 2]
    to_image = [math.log(1 + 2 * far / near), *[math.log(1 + 3 * far / near)] * 2]
    assert float(loss.total.detach()) == pytest.approx((sum(to_text) + sum(to_image)) / 2, abs=1e-5)


@pytest.mark.parametrize("form", ["softmax", "sigmoid"])
def test_a_model_that_knows_nothing_doubts_nothing(form: str) -> None:
    images_PD, texts_PD = torch.eye(10), torch.ones(10, 10) / 10**0.5
    assert Contrast(form, Doubt(trim=0.5))(images_PD, texts_PD).size == 10  # type: ignore[arg-type]
    apart = Contrast(form, Doubt(trim=0.5))(images_PD, images_PD)  # type: ignore[arg-type]
    assert apart.size == 10


def test_soft_targets_are_a_mixture_with_what_the_model_says() -> None:
    images_PD, texts_PD = vectors()
    scores_PP = images_PD @ texts_PD.t() / 0.07
    wanted = 0.0
    for scores in (scores_PP, scores_PP.t()):
        target = 0.6 * torch.eye(6) + 0.4 * scores.softmax(1)
        wanted += float(F.cross_entropy(scores, target)) / 2
    assert mean(Contrast(doubt=Doubt(soft=0.4)), images_PD, texts_PD) == pytest.approx(wanted, abs=1e-5)
    logits_PP = 10 * images_PD @ texts_PD.t() - 10
    target = 0.6 * torch.eye(6) + 0.4 * logits_PP.sigmoid()
    wanted = float(F.binary_cross_entropy_with_logits(logits_PP, target, reduction="sum")) / 6
    assert mean(Contrast("sigmoid", Doubt(soft=0.4)), images_PD, texts_PD) == pytest.approx(wanted, abs=1e-5)


def test_doubt_out_of_range_is_refused() -> None:
    with pytest.raises(RequestError, match=r"contrastive trim: is 1.0, outside 0 to 1\. Give the share of pairs in doubt"):
        Doubt(trim=1.0)


def test_the_scale_has_an_upper_bound_and_crowding_is_told() -> None:
    objective = Contrast(scale=500.0)
    assert float(objective.scale.detach()) == pytest.approx(100.0)
    images_PD, texts_PD = vectors()
    apart, fallen = objective(images_PD, texts_PD), objective(images_PD[:1].expand(6, -1), texts_PD)
    assert apart.terms["crowded"][0] / apart.terms["crowded"][1] < 0.6
    assert fallen.terms["crowded"][0] / fallen.terms["crowded"][1] == pytest.approx(1.0, abs=1e-5)
    assert objective(images_PD, images_PD).terms["found"] == (6.0, 6.0)
    assert own(2).tolist() == [[True, False], [False, True]]
