"""Conflicts, what is missing, and the choice of variants by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from sensorium.errors import MediaError, RequestError
from sensorium.evaluation.stress import conflict
from sensorium.evaluation.stress.suite import GROUPS, amounts, known_kinds, stress
from sensorium.evaluation.task import Item, Reply, Task
from sensorium.evaluation.variant import media, words_of
from sensorium.media.image import decode, encode_png
from sensorium.parts import Audio, Image, Message, Sample, Text

PICTURES = [
    Image(encode_png(torch.randint(0, 255, (3, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))))
    for seed in range(4)
]


def item(number: int, question: str, answer: str) -> Item:
    return Item(Sample(str(number), (Message("user", (PICTURES[number], Text(question))),)), {"answer": answer})


ITEMS = [
    item(0, "What color is it?", "red"),
    item(1, "Is it round?", "yes"),
    item(2, "What color is it?", "red"),
    item(3, "What color is it?", "Blue."),
]


def exact(one: Item, reply: Reply) -> Mapping[str, float]:
    return {"right": float(reply.text == one.gold["answer"])}


TASK = Task("colours", "", lambda folder, split: ITEMS, exact, "right", answer=lambda one: str(one.gold["answer"]))


def test_a_caption_lies_with_the_answer_of_another_item_to_the_same_question() -> None:
    told = [words_of(one) for one in [v.change(ITEMS, 0) for v in stress(("lying-caption",), TASK)]]
    assert told == [
        "Caption: the answer is Blue.\nWhat color is it?",
        "Caption, checked by three people: the answer is Blue.\nWhat color is it?",
    ]
    assert [conflict.lie_of(ITEMS, place, TASK) for place in range(4)] == ["Blue.", "Blue.", "Blue.", "red"]
    alike = [ITEMS[0], ITEMS[2]]
    assert conflict.lie_of(alike, 0, TASK) is None
    assert stress(("lying-caption",), TASK)[0].change(alike, 0) == ITEMS[0]


def test_a_second_picture_is_anothers_and_the_question_says_which_is_meant() -> None:
    after, before = stress(("second-medium",), TASK)
    one = after.change(ITEMS, 0)
    assert media(one) == [PICTURES[0], PICTURES[2]]
    assert words_of(one) == "The question is about the first picture.\nWhat color is it?"
    other = before.change(ITEMS, 0)
    assert media(other) == [PICTURES[2], PICTURES[0]] and "second picture" in words_of(other)
    assert after.change(ITEMS[:1], 0) == ITEMS[0], "there is no other"


def test_each_medium_is_removed_in_turn() -> None:
    both = Item(Sample("b", (Message("user", (PICTURES[0], Audio(b"x"), Text("What?"))),)), {})
    kinds = {variant.name: variant.change([both], 0).sample.messages[0].parts for variant in stress(("missing",))}
    assert kinds["no-image"] == (Audio(b"x"), Text("What?"))
    assert kinds["no-audio"] == (PICTURES[0], Text("What?"))
    assert kinds["no-video"] == kinds["no-document"] == both.sample.messages[0].parts
    assert kinds["no-text"] == (PICTURES[0], Audio(b"x"))
    words = Item(Sample("w", (Message("user", (Text("What?"),)),)), {})
    (no_text,) = stress(("no-text",))
    assert no_text.change([words], 0) == words, "nothing would be left"


def test_a_truncated_file_is_its_first_bytes_which_no_longer_decode() -> None:
    whole = PICTURES[0].source
    assert isinstance(whole, bytes)
    for variant, share in zip(stress(("truncated",)), (0.9, 0.5, 0.1), strict=True):
        (part,) = media(variant.change(ITEMS, 0))
        assert isinstance(part.source, bytes) and part.source == whole[: int(len(whole) * share)]
        with pytest.raises(MediaError):
            decode(part.source)
    gone = Item(Sample("g", (Message("user", (Image("/no/such/file.png"),)),)), {})
    assert stress(("truncated",))[0].change([gone], 0) == gone


def test_names_of_variants_are_unique_and_each_says_how_much_it_harms() -> None:
    names = [variant.name for variant in stress(task=None)]
    assert len(names) == len(set(names)) == len(amounts())
    assert [variant.name for variant in stress(("fog",))] == [f"fog-{level}" for level in range(1, 6)]
    assert amounts()["white-noise-5"] == "-5 dB" and amounts()["occlusion-2"] == "20 % of the area"
    assert [variant.level for variant in stress(("rotation",))] == [1, 2, 3, 4, 5]


def test_a_task_gets_what_its_media_can_suffer() -> None:
    kinds = {variant.kind for variant in stress(task=TASK)}
    assert {"fog", "typos", "lying-caption", "no-image", "truncated", "second-medium"} <= kinds
    assert not kinds & {"babble", "frames-dropped", "no-audio"}
    assert {variant.kind for variant in stress(("audio", "babble"), TASK)} == {"babble"}, "named itself it is there"
    assert known_kinds(None) == GROUPS


def test_an_unknown_kind_is_named_with_the_nearest() -> None:
    with pytest.raises(RequestError, match=r"stress 'fgo': is of no known kind. The nearest is fog"):
        stress(("fgo",))
    with pytest.raises(RequestError, match="Use all, image, audio"):
        stress(("%",))


def test_the_page_names_every_kind_and_every_number() -> None:
    page = (Path(__file__).parents[3] / "docs" / "stress.md").read_text("utf-8")
    prose, tables = ([line for line in page.splitlines() if line.startswith("|") == wanted] for wanted in (False, True))
    rows = {name: line for line in (*prose, *reversed(tables)) for name in re.findall(r"`([a-z-]+)`", line)}
    exact = ("gaussian-noise", "shot-noise", "contrast", "jpeg", "occlusion", "rotation", "babble", "typos", "band-limit")
    for kinds in GROUPS.values():
        for kind in kinds:
            assert kind.name in rows, kind.name
            numbers = [number for amount in kind.amounts for number in re.findall(r"-?\d+(?:\.\d+)?", amount)]
            if kind.name in exact:
                assert all(number in rows[kind.name] for number in numbers), (kind.name, numbers)
