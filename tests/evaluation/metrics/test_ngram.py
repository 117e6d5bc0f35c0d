"""BLEU, ROUGE-L and CIDEr-D against pycocoevalcap, on ordinary captions and on the edges."""

from __future__ import annotations

import random

import numpy as np
import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from sensorium.errors import RequestError
from sensorium.estimate import estimate
from sensorium.evaluation.metrics.ngram import bleu, bleu_rows, cider_d, rouge_l

Corpus = list[tuple[str, list[str]]]

EDGES: Corpus = [
    ("", ["a dog runs"]),
    ("a dog runs", [""]),
    ("", [""]),
    ("dog", ["dog"]),
    ("dog", ["a cat sits"]),
    ("the the the the the", ["the cat is on the mat", "there is a cat on the mat"]),
    ("собака бежит по траве", ["собака бежит", "пёс бежит по траве"]),
    ("犬 が 走る", ["犬 が 走る"]),
    ("a man rides a bike", ["a man rides a bike", "a man rides a bike"]),
    ("one two three four five six", ["one two three", "one two three four five six seven eight nine"]),
]


def made(seed: int, count: int) -> Corpus:
    dice = random.Random(seed)
    words = ["a", "the", "dog", "man", "red", "ball", "runs", "on", "grass", "two"]

    def text() -> str:
        return " ".join(dice.choice(words) for _ in range(dice.randrange(0, 12)))

    return [(text(), [text() for _ in range(dice.randrange(1, 6))]) for _ in range(count)]


CORPORA = {
    "edges": EDGES,
    "made": made(0, 80),
    "one": [("a dog runs on grass", ["a dog runs on the grass"])],
    "mixed": EDGES + made(1, 40),
}


@pytest.fixture(params=CORPORA, ids=list(CORPORA))
def corpus(request: pytest.FixtureRequest) -> Corpus:
    return CORPORA[request.param]


def words_of(corpus: Corpus) -> tuple[list[list[str]], list[list[list[str]]]]:
    return [said.split() for said, _ in corpus], [[text.split() for text in right] for _, right in corpus]


def as_theirs(corpus: Corpus) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    return {number: right for number, (_, right) in enumerate(corpus)}, {
        number: [said] for number, (said, _) in enumerate(corpus)
    }


def test_bleu_of_the_corpus_and_of_each_answer_is_the_references(corpus: Corpus) -> None:
    wanted, wanted_each = Bleu(4).compute_score(*as_theirs(corpus), verbose=0)
    rows = bleu_rows(*words_of(corpus))
    for order in (1, 2, 3, 4):
        assert bleu(order)(rows) == pytest.approx(wanted[order - 1], abs=1e-9)
        assert [bleu(order)(row[None]) for row in rows] == pytest.approx(wanted_each[order - 1], abs=1e-9)


def test_rouge_l_is_the_references(corpus: Corpus) -> None:
    _, wanted = Rouge().compute_score(*as_theirs(corpus))
    assert [rouge_l(said, right) for said, right in zip(*words_of(corpus), strict=True)] == pytest.approx(
        list(wanted), abs=1e-12
    )


def test_cider_d_is_the_references(corpus: Corpus) -> None:
    _, wanted = Cider().compute_score(*as_theirs(corpus))
    assert cider_d(*words_of(corpus)) == pytest.approx(list(wanted), abs=1e-9)


def test_rarity_needs_more_than_one_picture() -> None:
    assert cider_d([["a", "dog"]], [[["a", "dog"]]]) == [0.0]
    assert cider_d([], []) == []


def test_bleu_of_resampled_rows_is_bleu_of_the_resampled_corpus() -> None:
    said, right = words_of(made(2, 30))
    rows, drawn = bleu_rows(said, right), np.random.default_rng(0).integers(0, 30, 30)
    again = bleu_rows([said[place] for place in drawn], [right[place] for place in drawn])
    assert bleu()(rows[drawn]) == bleu()(again)
    found = estimate(rows, bleu(1))
    assert found.low < found.value == bleu(1)(rows) < found.high


def test_known_values_by_hand() -> None:
    rows = bleu_rows([["a", "b", "c"]], [[["a", "b", "d", "e"]]])
    assert rows[0].tolist() == [3, 4, 3, 2, 1, 0, 2, 1, 0, 0]
    assert bleu(1)(rows) == pytest.approx(2 / 3 * np.exp(1 - 4 / 3), abs=1e-6)
    precision, recall = 2 / 3, 2 / 4
    assert rouge_l(["a", "b", "c"], [["a", "x", "b", "d"]]) == pytest.approx(
        (1 + 1.44) * precision * recall / (recall + 1.44 * precision)
    )


@pytest.mark.parametrize("score", [bleu_rows, cider_d])
def test_an_answer_without_references_is_named(score: object) -> None:
    assert callable(score)
    with pytest.raises(RequestError, match=r"answer 1: has no reference; at least 1 is needed\. Give one, or leave"):
        score([["a"], ["b"]], [[["a"]], []])
    with pytest.raises(RequestError, match="answers: are 1, and their lists of references 2"):
        score([["a"]], [[["a"]], [["b"]]])


def test_rouge_without_references_is_refused() -> None:
    with pytest.raises(RequestError, match="has no reference"):
        rouge_l(["a"], [])


def test_nothing_said_is_nothing() -> None:
    assert bleu_rows([], []).shape == (0, 10)
    assert bleu()(bleu_rows([], [])) == 0.0
