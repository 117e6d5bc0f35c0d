"""The formula of BERTScore in closed form, rarity, cosine, and the vectors of a small text encoder."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from sensorium.encoders.text import Bert, BertConfig, BertEncoder
from sensorium.errors import RequestError
from sensorium.evaluation.metrics.minilm import token_match, token_vectors
from sensorium.evaluation.metrics.similarity import (
    Match,
    Tokens,
    best_match,
    cosine,
    greedy_match,
    rarity,
    sentence_similarity,
)

X, Y, Z = [1.0, 0.0], [0.0, 2.0], [3.0, 4.0]
"""Cosines: X with Z 0.6, Y with Z 0.8, X with Y 0."""


def test_each_token_takes_its_nearest() -> None:
    found = greedy_match(Tokens("ab", [X, Y]), Tokens("z", [Z]))
    assert found.precision == pytest.approx((0.6 + 0.8) / 2)
    assert found.recall == pytest.approx(0.8)
    assert found.f == pytest.approx(2 * 0.7 * 0.8 / 1.5)


def test_the_papers_formula_with_weights() -> None:
    chance = np.random.default_rng(0)
    said, right = Tokens("abcd", chance.normal(size=(4, 8))), Tokens("xyz", chance.normal(size=(3, 8)))
    weights = dict(zip("abcdxyz", chance.random(7), strict=True))
    rows, columns = (np.asarray(one.vectors_TD) for one in (said, right))
    near = np.array([[one @ two / math.sqrt(one @ one) / math.sqrt(two @ two) for two in columns] for one in rows])
    precision = sum(weights[name] * max(near[place]) for place, name in enumerate("abcd")) / sum(
        weights[name] for name in "abcd"
    )
    recall = sum(weights[name] * max(near[:, place]) for place, name in enumerate("xyz")) / sum(weights[name] for name in "xyz")
    found = greedy_match(said, right, weights)
    assert found == pytest.approx((precision, recall, 2 * precision * recall / (precision + recall)))
    assert greedy_match(said, right) != found


def test_texts_without_tokens_or_weight_match_nothing() -> None:
    empty = Tokens("", np.zeros((0, 2)))
    assert greedy_match(empty, Tokens("a", [X])) == greedy_match(Tokens("a", [X]), empty) == Match(0.0, 0.0, 0.0)
    assert greedy_match(Tokens("a", [X]), Tokens("a", [X]), {}) == Match(0.0, 0.0, 0.0)
    assert greedy_match(Tokens("a", [[0.0, 0.0]]), Tokens("a", [X])) == Match(0.0, 0.0, 0.0)


def test_of_several_references_each_number_is_the_best() -> None:
    found = best_match(Tokens("ab", [X, Y]), [Tokens("z", [Z]), Tokens("x", [X])])
    assert found == pytest.approx((0.7, 1.0, 2 * 0.7 * 0.8 / 1.5))
    with pytest.raises(RequestError, match=r"token match: has no reference\. Give at least 1"):
        best_match(Tokens("a", [X]), [])


def test_rarity_is_smoothed_by_one() -> None:
    assert rarity(["aab", "b"]) == pytest.approx({"a": math.log(3 / 2), "b": math.log(3 / 3)})


def test_cosine_row_by_row() -> None:
    assert cosine([X, Y, [0.0, 0.0]], [Z, Z, Z]).tolist() == pytest.approx([0.6, 0.8, 0.0])
    with pytest.raises(RequestError, match=r"cosine: got vectors \(1, 2\) and \(2, 2\)"):
        cosine([X], [X, Y])


def test_a_text_is_near_the_nearest_of_its_references() -> None:
    table = {"x": X, "y": Y, "z": Z}
    asked: list[list[str]] = []

    def vectors(texts: list[str]) -> list[list[float]]:
        asked.append(list(texts))
        return [table[text] for text in texts]

    assert sentence_similarity(vectors, ["z", "x"], [["x", "y"], ["x"]]) == pytest.approx([0.8, 1.0])  # type: ignore[arg-type]
    assert asked == [["z", "x", "y"]]
    assert sentence_similarity(vectors, [], []) == []  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="texts: are 1, for 1 lists of references, 1 of them empty"):
        sentence_similarity(vectors, ["x"], [[]])  # type: ignore[arg-type]


@pytest.fixture
def encoder() -> BertEncoder:
    words = ["[PAD]", "[CLS]", "[SEP]", "a", "dog", "cat", "runs"]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="[PAD]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    torch.manual_seed(0)
    bert = Bert(BertConfig(vocabulary=7, width=8, depth=1, heads=2, mlp_width=16, positions=16)).eval()
    return BertEncoder(bert, tokenizer, window=6)


def test_token_vectors_are_the_encoders_without_its_frame(encoder: BertEncoder) -> None:
    first, empty, long = token_vectors(encoder, ["a dog runs", "", "a dog runs a cat runs a"], batch=2)
    (ids_T,) = [piece.tensor for piece in encoder.prepare("a dog runs")]
    assert ids_T is not None
    with torch.no_grad():
        wanted = encoder([ids_T]).x_BTD[0, 1:-1]
    assert list(first.ids) == [3, 4, 6]
    assert np.allclose(first.vectors_TD, wanted.numpy(), atol=1e-6)
    assert list(empty.ids) == []
    assert list(long.ids) == [3, 4, 6, 3, 5, 6, 3]
    assert np.shape(long.vectors_TD) == (7, 8)


def test_a_text_matches_itself(encoder: BertEncoder) -> None:
    same, other = token_match(encoder, ["a dog runs", "a cat"], [["dog", "a dog runs"], ["dog runs"]])
    assert same == pytest.approx((1.0, 1.0, 1.0))
    assert other.f < 1
