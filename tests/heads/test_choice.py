from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sensorium.errors import RequestError
from sensorium.heads.choice import ChoiceTrie

STOP = 9


def test_a_choice_that_begins_another_may_end_or_go_on() -> None:
    trie = ChoiceTrie([[1, 2], [1], [3, 2, 1]], STOP)
    assert trie.allowed([]) == (1, 3)
    assert trie.allowed([1]) == (2, STOP)
    assert trie.allowed([1, 2]) == (STOP,)
    assert trie.chosen([1]) == 1
    assert trie.chosen([3, 2]) is None


def test_mask_keeps_only_the_allowed_tokens_of_each_row() -> None:
    logits = torch.arange(20.0).view(2, 10)
    out = ChoiceTrie([[1, 2], [4]], STOP).mask(logits, [[], [4]])
    assert out.isfinite().nonzero().tolist() == [[0, 1], [0, 4], [1, 9]]
    assert out[1, 9] == 19.0


@given(st.sets(st.lists(st.integers(0, 5), min_size=1, max_size=4).map(tuple), min_size=1, max_size=6), st.randoms())
def test_every_walk_over_allowed_tokens_ends_in_a_choice(sequences: set[tuple[int, ...]], chance: object) -> None:
    choices = sorted(sequences)
    trie = ChoiceTrie(choices, STOP)
    said: list[int] = []
    while (token := chance.choice(trie.allowed(said))) != STOP:  # type: ignore[attr-defined]
        said.append(token)
    index = trie.chosen(said)
    assert index is not None
    assert choices[index] == tuple(said)


def test_bad_choices_are_named() -> None:
    for sequences, words in (
        ([], "choices: are none"),
        ([[1], []], "choice 1: has no tokens"),
        ([[1], [2], [1]], "choice 2: has the same tokens as choice 0"),
        ([[1, STOP]], "choice 0: holds the end token 9"),
    ):
        with pytest.raises(RequestError, match=words):
            ChoiceTrie(sequences, STOP)
    with pytest.raises(RequestError, match=r"none begins with the tokens \[7\]"):
        ChoiceTrie([[1]], STOP).allowed([7])
