"""The words of captions: known cuts, agreement with Stanford's own program, and what is said where that is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.estimate import NotMeasured
from sensorium.evaluation.metrics import tokens
from sensorium.evaluation.metrics.tokens import stanford_words, treebank_words

CUTS = {
    "A child in a pink dress is climbing up a set of stairs .": "a child in a pink dress is climbing up a set of stairs",
    "The dog's colour isn't grey; he'd've gone.": "the dog 's colour is n't grey he 'd 've gone",
    'A "fancy" T-shirt (red) & two-year-old hat...': "a fancy t-shirt -lrb- red -rrb- & two-year-old hat",
    "They cannot stop, can't they? I'm gonna go": "they can not stop ca n't they i 'm gon na go",
    "It's 5:30 p.m. for $3.50, 50% of 1,000": "it 's 5:30 p.m. for $ 3.50 50 % of 1,000",
    "rock 'n' roll of the 80's at 10 o'clock , y'all": "rock 'n' roll of the 80 's at 10 o'clock y' all",
    "Mr. Smith vs. St. Bernard -- done!": "mr. smith vs. st. bernard done",
    "“Two” dogs’ and ‘one’ – isn’t": "two dogs and one is n't",
    "Собака бежит. Ein Hund läuft über die Straße.": "собака бежит ein hund läuft über die straße",
    "犬が走る。 चलो": "犬が走る 。 चलो",
    "": "",
    " . , !": "",
}


@pytest.mark.parametrize("text", CUTS, ids=range(len(CUTS)))
def test_words_are_cut_as_the_treebank_has_it(text: str) -> None:
    assert treebank_words(text) == CUTS[text].split()


@given(st.text())
def test_no_letter_is_lost(text: str) -> None:
    joined = "".join(treebank_words(text))
    plain = text.lower().translate(tokens._PLAIN)
    assert [letter for letter in joined if letter.isalnum() and letter.isascii()] != [] or not any(
        letter.isascii() and letter.isalnum() for letter in plain
    )
    assert all(word == word.strip() and word for word in treebank_words(text))


@pytest.mark.slow
def test_stanfords_program_cuts_these_the_same_way() -> None:
    found = stanford_words(list(CUTS))
    if isinstance(found, NotMeasured):
        assert "Java" in found.reason
        return
    assert found == [treebank_words(text) for text in CUTS]


def test_without_java_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "which", lambda _: None)
    found = stanford_words(["a dog"])
    assert isinstance(found, NotMeasured)
    assert str(found) == "not measured: Java, which the reference program needs, is not installed"


def test_without_the_package_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "find_spec", lambda _: None)
    found = stanford_words(["a dog"])
    assert isinstance(found, NotMeasured)
    assert "pycocoevalcap, which brings the program, is not installed" in found.reason


def test_a_program_that_fails_is_no_score(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\nexit 3\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    found = stanford_words(["a dog", "a cat"])
    assert isinstance(found, NotMeasured)
    assert "ended with 3 after 1 of 2 texts" in found.reason


def test_a_part_that_the_package_lacks_is_named() -> None:
    found = tokens.missing_program("spice/other.jar")
    assert isinstance(found, NotMeasured)
    assert found.reason == "pycocoevalcap is installed without spice/other.jar"
