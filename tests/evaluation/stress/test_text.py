"""Questions put otherwise: by small rules that are tested one by one, and never beyond the question."""

from __future__ import annotations

import types

import pytest

from sensorium.evaluation.stress.text import (
    CASES,
    DIALECTS,
    KINDS,
    PARAPHRASES,
    RATES,
    casing,
    dialect,
    distracted,
    paraphrase,
    typos,
)
from sensorium.evaluation.task import Item
from sensorium.evaluation.variant import Variant, words_of
from sensorium.parts import Image, Message, Sample, Text

LONG = "Which of the following animals is standing behind the large wooden fence " * 40


def asked(*texts: str, **meta: object) -> Item:
    parts = (Image(b"x"), *(Text(text) for text in texts))
    turns = (Message("user", (Text("What is it?"),)), Message("assistant", (Text("A cat."),)), Message("user", parts))
    return Item(Sample("q", turns, types.MappingProxyType(dict(meta))), {})


def variants(name: str) -> tuple[Variant, ...]:
    (kind,) = (kind for kind in KINDS if kind.name == name)
    return kind.variants()


def test_slips_come_at_the_stated_rate_and_leave_short_words_and_signs_alone() -> None:
    letters = sum(len(word) for word in LONG.split() if len(word) > 2)
    for rate in RATES:
        slipped = typos(LONG, 3, rate)
        changed = sum(one != other for one, other in zip(LONG.split(), slipped.split(), strict=True))
        longer = [word for word in LONG.split() if len(word) > 2]
        expected = sum(1 - (1 - rate) ** len(word) for word in longer)
        assert changed == pytest.approx(expected, rel=0.15, abs=6), (rate, letters)
    assert typos("A. 12 + 7 = ? is it", 3, 1.0) == "A. 12 + 7 = ? is it"
    assert typos(LONG, 3, 0.0) == LONG


def test_casing() -> None:
    assert casing("What Is It?", 0, CASES[0]) == "what is it?"
    assert casing("What Is It?", 0, CASES[1]) == "WHAT IS IT?"
    mixed = casing(LONG, 0, CASES[2])
    assert mixed.lower() == LONG.lower() and 0.4 < sum(letter.isupper() for letter in mixed) / len(LONG) < 0.6


@pytest.mark.parametrize(
    ("form", "plain", "other"),
    [
        (0, "What colour is the grey sofa?", "What color is the gray couch?"),
        (0, "What color are the trash cans? Tires", "What colour are the rubbish cans? Tyres"),
        (0, "Is there a dog?", "Is there a dog?"),
        (1, "What is the man holding?", "What's the man holdin'?"),
        (1, "What is this thing?", "What's this thing?"),
        (1, "Is the building tall?", "Is the building tall?"),
        (1, "Which is not a dog?", "Which ain't a dog?"),
        (1, "What are they going to eat?", "What are they gonna eat?"),
        (2, "What color is the ball?", "What color the ball is?"),
        (2, "Where is the dog in the picture?", "Where the dog in the picture is?"),
        (2, "What is the man holding?", "What the man is holding?"),
        (2, "How many dogs are there?", "How many dogs there are?"),
        (2, "Is there a dog?", "There is a dog?"),
        (2, "Is the ball red?", "Is the ball red?"),
    ],
)
def test_dialect(form: int, plain: str, other: str) -> None:
    assert dialect(plain, DIALECTS[form]) == other


@pytest.mark.parametrize(
    ("form", "plain", "other"),
    [
        (0, "What is in the picture?", "What is in the image?"),
        (0, "Is the big dog in the Photo?", "Is the large dog in the Picture?"),
        (1, "How many dogs are there?", "What is the number of dogs?"),
        (1, "How many dogs are there in the picture?", "What is the number of dogs in the picture?"),
        (1, "Is there a red ball?", "Can you see a red ball?"),
        (1, "What color is the ball?", "Which color does the ball have?"),
        (1, "What is the man holding?", "What is the man holding?"),
        (1, "What is this?", "Tell me what this is."),
        (1, "Describe the picture.", "Say what can be seen in the picture."),
    ],
)
def test_paraphrase(form: int, plain: str, other: str) -> None:
    assert paraphrase(plain, 0, PARAPHRASES[form]) == other


def test_a_frame_and_an_aside_hold_the_whole_question() -> None:
    assert "What is this?" in paraphrase("What is this?", 5, PARAPHRASES[2]) != "What is this?"
    once = distracted("What is this?", 5, 4)
    assert once.endswith(" What is this?") and once.count(".") == 4 and once == distracted("What is this?", 5, 4)


def test_only_the_last_question_changes() -> None:
    item = asked("What is the colour?", "Answer with one word.")
    for kind in KINDS:
        for variant in kind.variants():
            changed = variant.change([item], 0)
            assert changed == variant.change([item], 0)
            assert changed.sample.messages[:2] == item.sample.messages[:2]
            assert changed.sample.messages[2].parts[0] == Image(b"x") and changed.gold == item.gold
    aside = variants("distractor")[0].change([item], 0).sample.messages[2].parts
    assert aside[1] == Text("What is the colour?") and isinstance(aside[2], Text) and aside[2].text.endswith("one word.")


def test_a_task_may_give_its_own_wordings() -> None:
    whole = asked("What is it?", wordings=["Name it.", "Say what it is."])
    told = [variant.change([whole], 0).sample.messages[2].parts[1] for variant in variants("paraphrase")]
    assert told == [Text("Name it."), Text("Say what it is."), Text("Name it.")]
    within = asked("What is it?\nAnswer with one word.", question="What is it?", wordings=["Name it."])
    assert words_of(variants("paraphrase")[0].change([within], 0)).endswith("Name it.\nAnswer with one word.")
