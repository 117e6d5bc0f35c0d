"""VQA accuracy against what the official program made of the same answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sensorium.errors import RequestError
from sensorium.evaluation.metrics.vqa import official, vqa_accuracy, without_punctuation

OFFICIAL = json.loads(Path(__file__).with_name("vqa_official.json").read_text("utf-8"))
"""Answers, and what the official program (VQA v2, PythonEvaluationTools) gave for them."""


def test_every_answer_is_normalised_as_the_official_program_does() -> None:
    assert len(OFFICIAL["normal"]) >= 400
    wrong = {text: (official(text), wanted) for text, wanted in OFFICIAL["normal"].items() if official(text) != wanted}
    assert not wrong


def test_every_accuracy_is_the_official_one() -> None:
    assert len(OFFICIAL["accuracy"]) >= 100
    for answer, people, wanted in OFFICIAL["accuracy"]:
        assert vqa_accuracy(answer, people) == pytest.approx(wanted, abs=1e-9), (answer, people)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("The two dogs.", "2 dogs"),
        ("dont know", "don't know"),
        ("1,000", "1000"),
        ("2.5", "2.5"),
        ("black/white", "black white"),
        ("black / white", "black white"),
        ("none", "0"),
        ("A", ""),
        ("", ""),
    ],
)
def test_known_forms(text: str, wanted: str) -> None:
    assert official(text) == wanted


def test_three_of_ten_are_enough_for_nine_of_ten_leave_one_outs() -> None:
    people = ["red"] * 3 + ["blue"] * 7
    assert vqa_accuracy("red", people) == pytest.approx((3 * 2 / 3 + 7 * 1) / 10)
    assert vqa_accuracy("blue", people) == 1.0
    assert vqa_accuracy("green", people) == 0.0
    assert vqa_accuracy("red", ["red"]) == 0.0  # nobody else said so


def test_people_who_all_agree_keep_their_punctuation() -> None:
    assert vqa_accuracy("t-shirt", ["t-shirt"] * 10) == 0.0
    assert vqa_accuracy("t-shirt", ["t-shirt"] * 9 + ["shirt"]) == pytest.approx(1.0)
    assert without_punctuation("t-shirt") == "t shirt"


def test_at_most_32_full_stops_go() -> None:
    assert without_punctuation("." * 40) == "." * 8


def test_nobodys_answer_is_refused() -> None:
    with pytest.raises(RequestError, match=r"vqa accuracy: got no person's answer\. Give them all, or judge by exact_match"):
        vqa_accuracy("a", [])
