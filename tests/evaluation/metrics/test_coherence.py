"""Alignment, order and time by hand and against scipy."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
import torch
from scipy.stats import kendalltau
from torch import Tensor

from sensorium.errors import RequestError
from sensorium.evaluation.metrics.coherence import (
    alignment,
    captions_in_time,
    exchanged,
    kendall_tau,
    moment_hit,
    moment_recall,
    order_accuracy,
    span_overlap,
)
from sensorium.parts import Image, Message, Text


class Space:
    """Puts a text or picture named by digits at that angle."""

    def embed(self, messages: Sequence[Message]) -> Tensor:
        names = [
            part.text if isinstance(part, Text) else str(getattr(part, "source", ""))
            for (part,) in (one.parts for one in messages)
        ]
        angles = torch.deg2rad(torch.tensor([float(name) for name in names]))
        return torch.stack([angles.cos(), angles.sin()], 1)


def test_alignment_is_the_cosine_of_each_pair() -> None:
    media = [Message("user", (Image(angle),)) for angle in ("0", "90")]
    texts = [Message("user", (Text(angle),)) for angle in ("60", "270")]
    assert alignment(Space(), media, texts) == pytest.approx([0.5, -1.0], abs=1e-6)
    assert alignment(Space(), [], []) == []
    with pytest.raises(RequestError, match=r"alignment: got 2 media for 1 texts\. Give pairs"):
        alignment(Space(), media, texts[:1])


@pytest.mark.parametrize("pairs", [2, 3, 5, 8])
def test_exchanged_pairs_never_keep_their_own(pairs: int) -> None:
    assert sorted(exchanged(pairs)) == list(range(pairs))
    assert all(place != other for place, other in enumerate(exchanged(pairs)))


def test_order_agrees_with_scipys_tau() -> None:
    dice = random.Random(0)
    for size in range(2, 9):
        right = [str(number) for number in range(size)]
        told = dice.sample(right, size)
        wanted = kendalltau([told.index(name) for name in right], range(size)).statistic
        assert kendall_tau(told, right) == pytest.approx(wanted)
        assert order_accuracy(told, right) == pytest.approx((wanted + 1) / 2)


def test_orders_of_nothing_and_of_other_things() -> None:
    assert kendall_tau([], []) == kendall_tau(["a"], ["a"]) == 1.0
    for told, right in ((["a"], ["a", "b"]), (["a", "a"], ["a", "b"]), (["a", "a"], ["a", "a"])):
        with pytest.raises(RequestError, match="Give each of them once"):
            order_accuracy(told, right)


def test_spans_overlap_as_stretches_of_time() -> None:
    assert span_overlap((0, 4), (2, 6)) == pytest.approx(2 / 6)
    assert span_overlap((0, 1), (1, 2)) == span_overlap((3, 3), (0, 9)) == span_overlap((5, 2), (0, 9)) == 0.0
    assert moment_hit((0, 4), (0, 8)) == 1.0
    assert moment_hit((0, 3.9), (0, 8)) == moment_hit(None, (0, 8)) == 0.0
    assert moment_recall([(8, 9), (0, 4)], (0, 8), 1) == 0.0
    assert moment_recall([(8, 9), (0, 4)], (0, 8), 2) == 1.0
    assert moment_recall([], (0, 8), 5) == 0.0


def test_captions_in_time() -> None:
    right = [(0.0, 4.0), (4.0, 8.0)]
    assert captions_in_time(right, right) == 1.0
    assert captions_in_time([(0.0, 4.0)], right) == pytest.approx(2 * 1 * 0.5 / 1.5)
    half = captions_in_time([(0.0, 2.2)], [(0.0, 4.0)])  # overlap 0.55 meets 0.3 and 0.5 of the four
    assert half == pytest.approx(0.5)
    assert captions_in_time([], []) == 1.0
    assert captions_in_time([], right) == captions_in_time(right, []) == captions_in_time([(8.0, 9.0)], right) == 0.0
