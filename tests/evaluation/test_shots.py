"""Solved examples before a question."""

from __future__ import annotations

import pytest

from sensorium.errors import RequestError
from sensorium.evaluation.shots import shots_curve, with_shots
from sensorium.evaluation.task import Item
from sensorium.evaluation.variant import media
from sensorium.parts import Image, Message, Sample, Text


def item(number: int, cluster: str = "", picture: str = "") -> Item:
    shown = Image(picture or f"{number}.png")
    return Item(Sample(f"q{number}", (Message("user", (shown, Text(f"What is {number}?"))),)), {"answer": str(number)}, cluster)


def answer(asked: Item) -> str:
    return str(asked.gold["answer"])


TRAIN = [item(number) for number in range(100, 140)]


def test_examples_stand_before_the_question_with_their_media_and_right_answers() -> None:
    (asked,) = with_shots([item(1)], TRAIN, 2, answer, seed=0)
    roles = [message.role for message in asked.sample.messages]
    assert roles == ["user", "assistant", "user", "assistant", "user"]
    assert asked.sample.messages[-1] == item(1).sample.messages[0]
    for shown, said in zip(asked.sample.messages[:-1:2], asked.sample.messages[1::2], strict=True):
        ((_, words), (right,)) = shown.parts, said.parts
        assert isinstance(words, Text) and isinstance(right, Text)
        assert words.text == f"What is {right.text}?"
    assert (asked.sample.id, asked.gold) == ("q1", {"answer": "1"})
    assert len(media(asked)) == 3


def test_more_shots_add_examples_and_exchange_none() -> None:
    items = [item(number) for number in range(10)]
    one, two, four = (with_shots(items, TRAIN, k, answer, seed=3) for k in (1, 2, 4))
    for few, more, most in zip(one, two, four, strict=True):
        assert few.sample.messages[:2] == more.sample.messages[:2] == most.sample.messages[:2]
        assert more.sample.messages[:4] == most.sample.messages[:4]
    assert len({shot.sample.messages[0] for shot in one}) > 3


def test_they_depend_on_the_item_and_the_seed_alone() -> None:
    items = [item(number) for number in range(5)]
    whole = with_shots(items, TRAIN, 2, answer, seed=1)
    assert with_shots(items[3:4], TRAIN, 2, answer, seed=1) == whole[3:4]
    assert with_shots(items, TRAIN, 2, answer, seed=2) != whole


def test_no_example_shares_the_items_id_picture_or_cluster() -> None:
    asked = item(1, cluster="a", picture="own.png")
    near = [item(1), item(2, cluster="a"), item(3, picture="own.png"), item(4, cluster="b")]
    (shown,) = with_shots([asked], near, 1, answer, seed=0)
    assert shown.sample.messages[0] == near[3].sample.messages[0]
    with pytest.raises(RequestError, match=r"item q1: has 1 examples apart from its own picture, and 2 are wanted"):
        with_shots([asked], near, 2, answer, seed=0)


def test_examples_may_be_the_items_themselves() -> None:
    items = [item(number) for number in range(4)]
    for asked in with_shots(items, items, 3, answer, seed=0):
        assert len(set(asked.sample.messages[::2])) == 4


def test_no_shots_change_nothing() -> None:
    assert with_shots([item(1)], [], 0, answer, seed=0) == [item(1)]


def test_the_curve_has_a_variant_for_each_count() -> None:
    items = [item(number) for number in range(6)]
    curve = shots_curve(TRAIN, answer, seed=5)
    assert [(variant.name, variant.kind, variant.level) for variant in curve] == [
        ("shots-0", "shots", 0.0),
        ("shots-1", "shots", 1.0),
        ("shots-2", "shots", 2.0),
        ("shots-4", "shots", 4.0),
    ]
    assert curve[0].change(items, 2) == items[2]
    assert curve[2].change(items, 2) == with_shots(items, TRAIN, 2, answer, seed=5)[2]
