"""The normal form of spoken English beside Whisper's own, as transformers has it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from num2words import num2words
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

from sensorium.evaluation.metrics.speech import error_rate, word_rows
from sensorium.evaluation.metrics.spoken import spoken_english, written_numbers

SAME = """
Mr. Smith's dog isn't here, he'd gone.
We can't, won't and didn't; let's go, y'all!
Two hundred and five people in nineteen eighty four
the twenty first of May
three point one four percent
It cost twenty dollars and fifty cents
$20.50 and 1,000,000 people, 50% off
Um, uh, I'm gonna go [laughter] (coughs) now
one hundred
one of the ones
one two three
two thousand and ten, twenty twenty, nineteen oh four
five million three hundred thousand and twelve
the sixties and the eighties
two and a half, and a dog and a half
Dr. J. and Prof. X at St. John's
Café naïve Straße
it's a dog's life; they've been, she'd done it
first second third fourth fifth eighth twelfth twentieth
the one hundredth time, thirty-three and a half percent
fifteen hundred
twenty five hundred
in the 1980s at 10am on page 3 10, the 3rd, 5 million
three hundred twenty one thousand six hundred fifty four
hello   world .
""".strip().splitlines()


@pytest.mark.parametrize("text", SAME)
def test_these_become_what_whispers_own_form_makes_of_them(text: str) -> None:
    assert spoken_english(text) == " ".join(EnglishTextNormalizer({})(text).split())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("two hundred and five", "205"),
        ("twenty twenty", "2020"),
        ("twenty first", "21st"),
        ("eleventh hundredth", "11th 100th"),
        ("three point one four", "3.14"),
        ("ten euros", "€10"),
        ("zero", "0"),
        ("ninth", "9th"),  # which the original forgets
        ("and", "and"),
        ("a hundred and a dog", "a 100 and a dog"),
        ("point", "point"),
        ("", ""),
    ],
)
def test_numbers_in_figures(text: str, wanted: str) -> None:
    assert written_numbers(text) == wanted


@given(st.text())
def test_the_form_of_a_form_holds_no_mark_and_no_capital(text: str) -> None:
    found = spoken_english(text)
    assert found == " ".join(found.split())
    assert not set(found) & set(",;!?()[]\"'-_")
    assert found == found.lower() or not found.isascii()


@given(st.integers(min_value=0, max_value=10**12), st.booleans())
def test_any_number_said_in_words_comes_back(value: int, joined: bool) -> None:
    words = num2words(value).replace(",", "")
    found = written_numbers(words.replace("-", " ") if joined else words.replace("-", " ").replace(" and ", " "))
    assert found == ("one" if value == 1 else str(value))


def test_forms_are_what_is_compared() -> None:
    heard, said = ["It's twenty dollars"], ["it is $20."]
    assert error_rate(word_rows(heard, said)) == 1.0
    assert error_rate(word_rows(heard, said, spoken_english)) == 0.0
