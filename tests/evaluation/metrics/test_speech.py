"""Error rates against jiwer."""

from __future__ import annotations

import random

import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from sensorium.errors import RequestError
from sensorium.estimate import estimate
from sensorium.evaluation.metrics.edits import edits
from sensorium.evaluation.metrics.speech import character_rows, error_rate, word_rows

PAIRS = [
    ("a dog runs", "a dog runs"),
    ("the dog run", "a dog runs"),
    ("", "a dog"),
    ("a very long answer to it", "one"),
    ("dog", "dog"),
    ("собака бежит", "собака не бежит"),
    ("犬が走る", "犬が走った"),
    ("the the the", "the"),
    ("  two   dogs ", "two dogs"),
]


@given(st.text(alphabet="abc d", max_size=80), st.text(alphabet="abc d", max_size=80))
def test_edits_are_levenshteins(one: str, other: str) -> None:
    assert edits(one, other) == Levenshtein.distance(one, other)


def test_edits_of_long_sequences_of_words() -> None:
    dice = random.Random(0)
    one, other = ([dice.choice(["a", "b", "c", "d"]) for _ in range(length)] for length in (700, 640))
    assert edits(one, other) == Levenshtein.distance(one, other)


def test_each_pair_and_all_together_are_jiwers() -> None:
    heard, said = zip(*PAIRS, strict=True)
    for one, two in PAIRS:
        assert error_rate(word_rows([one], [two])) == pytest.approx(jiwer.wer(two, one))
        assert error_rate(character_rows([one], [two])) == pytest.approx(jiwer.cer(two, one))
    assert error_rate(word_rows(heard, said)) == pytest.approx(jiwer.wer(list(said), list(heard)))
    assert error_rate(character_rows(heard, said)) == pytest.approx(jiwer.cer(list(said), list(heard)))


@pytest.mark.parametrize(("heard", "said"), [("", ""), ("a b", ""), (" ", "")])
def test_where_nothing_was_said_jiwers_number_of_edits_stands(heard: str, said: str) -> None:
    assert error_rate(word_rows([heard], [said])) == jiwer.wer(said, heard)
    assert error_rate(character_rows([heard], [said])) == jiwer.cer(said, heard)


def test_a_normal_form_is_given_to_both_sides() -> None:
    assert error_rate(word_rows(["A Dog"], ["a dog"])) == 1.0
    assert error_rate(word_rows(["A Dog"], ["a dog"], str.lower)) == 0.0
    assert error_rate(character_rows(["AB"], ["ab"], str.lower)) == 0.0


def test_rates_of_rows_can_be_estimated() -> None:
    rows = word_rows([one for one, _ in PAIRS] * 4, [two for _, two in PAIRS] * 4)
    found = estimate(rows, error_rate)
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(error_rate(rows))
    assert error_rate(np.zeros((0, 2))) == 0.0


def test_transcripts_must_pair() -> None:
    with pytest.raises(RequestError, match=r"transcripts: are 1 for 2 recordings\. Give one for each"):
        word_rows(["a"], ["a", "b"])
