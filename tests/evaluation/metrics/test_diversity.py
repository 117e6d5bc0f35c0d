"""Variety by hand."""

from __future__ import annotations

import pytest

from sensorium.evaluation.metrics.diversity import Lengths, distinct, lengths, self_bleu, vocabulary

SAID = [["a", "dog", "runs"], ["a", "dog", "sits"], ["a"], []]


def test_distinct_runs_over_all_runs() -> None:
    assert distinct(SAID, 1) == pytest.approx(4 / 7)
    assert distinct(SAID, 2) == pytest.approx(3 / 4)
    assert distinct(SAID, 4) == 0.0
    assert distinct([], 1) == 0.0


def test_answers_all_alike_have_a_self_bleu_of_one() -> None:
    same = [["a", "dog", "runs", "on", "grass"]] * 3
    assert self_bleu(same) == pytest.approx(1.0, abs=1e-6)
    assert self_bleu([["a", "b", "c", "d"], ["e", "f", "g", "h"]], 1) == pytest.approx(0.0, abs=1e-6)
    assert self_bleu([["a", "b"], ["a", "c"]], 1) == pytest.approx(0.5, abs=1e-6)
    assert self_bleu(same[:1]) == self_bleu([]) == 0.0


def test_words_and_lengths() -> None:
    assert vocabulary(SAID) == 4
    assert lengths(SAID) == Lengths(7 / 4, 2.0, 0, 3, 1)
    assert lengths([]) == Lengths(0, 0, 0, 0, 0)
    assert lengths([["犬"]]) == Lengths(1, 1, 1, 1, 0)
