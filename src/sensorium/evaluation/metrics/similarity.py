"""Nearness of meaning from vectors: greedy matching of tokens, the formula of BERTScore, and cosine of whole texts.

The numbers depend on the model that gives the vectors, so a score is named after it, such as `MiniLM token match`: what papers
call BERTScore is this formula with a layer of RoBERTa-large, and no other model's figures may be set beside it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sensorium.errors import RequestError

Vectors = NDArray[np.float64]


class Match(NamedTuple):
    """How much of what is said is in the reference, how much of that is said, and their harmonic mean; -1..1."""

    precision: float
    recall: float
    f: float


class Tokens(NamedTuple):
    """A text's tokens without special ones, and their vectors `(T, D)` of any length."""

    ids: Sequence[Hashable]
    vectors_TD: ArrayLike


def greedy_match(said: Tokens, right: Tokens, weights: Mapping[Hashable, float] | None = None) -> Match:
    """Each token takes the nearest of the other side by cosine; precision is the mean over those said, recall over the others
    (Zhang et al. 2020, arXiv:1904.09675, equations of section 3). A side without tokens, or without weight, gives zeros.

    Args:
        weights: of each token in the means, such as `rarity`; those it does not hold weigh nothing. None weighs all alike.
    """
    if not len(said.ids) or not len(right.ids):
        return Match(0.0, 0.0, 0.0)
    near_XY = _unit(said.vectors_TD) @ _unit(right.vectors_TD).T
    means = []
    for tokens, nearest in ((said.ids, near_XY.max(1)), (right.ids, near_XY.max(0))):
        own = np.array([1.0 if weights is None else weights.get(token, 0.0) for token in tokens])
        if own.sum() == 0:
            return Match(0.0, 0.0, 0.0)
        means.append(float(own @ nearest / own.sum()))
    precision, recall = means
    return Match(precision, recall, 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0)


def best_match(said: Tokens, right: Sequence[Tokens], weights: Mapping[Hashable, float] | None = None) -> Match:
    """Of several references the highest precision, recall and F, each for itself, as the reference code takes them.

    Raises:
        RequestError: no reference.
    """
    if not right:
        raise RequestError("token match", "has no reference", "Give at least 1")
    found = [greedy_match(said, one, weights) for one in right]
    return Match(*(max(values) for values in zip(*found, strict=True)))


def rarity(references: Sequence[Sequence[Hashable]]) -> dict[Hashable, float]:
    """BERTScore's inverse document frequency with plus-one smoothing, by token: log of (N + 1) / (texts that hold it + 1)."""
    held = Counter(token for reference in references for token in set(reference))
    return {token: math.log((len(references) + 1) / (count + 1)) for token, count in held.items()}


def cosine(one_ND: ArrayLike, other_ND: ArrayLike) -> Vectors:
    """Row by row, `(N,)`; 0 where a vector is zero.

    Raises:
        RequestError: of different shapes.
    """
    one, other = np.atleast_2d(np.asarray(one_ND, np.float64)), np.atleast_2d(np.asarray(other_ND, np.float64))
    if one.shape != other.shape:
        raise RequestError("cosine", f"got vectors {one.shape} and {other.shape}", "Give as many of one as of the other")
    found: Vectors = (_unit(one) * _unit(other)).sum(-1)
    return found


def sentence_similarity(
    vectors: Callable[[Sequence[str]], ArrayLike], said: Sequence[str], references: Sequence[Sequence[str]]
) -> list[float]:
    """Of each text the cosine with the nearest of its references.

    Args:
        vectors: of texts, `(len(texts), D)`, such as `DualEncoder.texts` or `BertEncoder.vectors`.

    Raises:
        RequestError: not equally many, or a text without reference.
    """
    if len(said) != len(references) or not all(references):
        problem = (
            f"are {len(said)}, for {len(references)} lists of references, {sum(not own for own in references)} of them empty"
        )
        raise RequestError("texts", problem, "Give at least 1 reference for each")
    if not said:
        return []
    places = {text: place for place, text in enumerate(dict.fromkeys([*said, *(text for own in references for text in own)]))}
    unit_ND = _unit(vectors(list(places)))
    return [
        float(max(unit_ND[places[text]] @ unit_ND[places[other]] for other in own))
        for text, own in zip(said, references, strict=True)
    ]


def _unit(vectors: ArrayLike) -> Vectors:
    x_ND = np.atleast_2d(np.asarray(vectors, dtype=np.float64))
    lengths = np.linalg.norm(x_ND, axis=-1, keepdims=True)
    unit_ND: Vectors = np.divide(x_ND, lengths, out=np.zeros_like(x_ND), where=lengths > 0)
    return unit_ND
