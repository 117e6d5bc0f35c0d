"""How varied a model's answers are among themselves, and how long."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from sensorium.evaluation.metrics.ngram import ORDERS, Words, bleu, bleu_rows


def distinct(said: Sequence[Words], n: int) -> float:
    """Distinct-n (Li et al. 2016, arXiv:1510.03055): different runs of n words over all of them, in all answers together.

    It falls as answers grow in number: compare equally many. 0 where no answer has n words.
    """
    runs = [tuple(words[start : start + n]) for words in said for start in range(len(words) - n + 1)]
    return len(set(runs)) / len(runs) if runs else 0.0


def self_bleu(said: Sequence[Words], order: int = ORDERS) -> float:
    """The mean BLEU of each answer with all others as its references (Zhu et al. 2018, arXiv:1802.01886); 1 is all alike.

    0 for fewer than two answers. Takes time that grows with the square of their number: sample a few hundred.
    """
    if len(said) < 2:
        return 0.0
    measure = bleu(order)
    rows = [bleu_rows([words], [[*said[:place], *said[place + 1 :]]]) for place, words in enumerate(said)]
    return statistics.fmean(measure(row) for row in rows)


def vocabulary(said: Sequence[Words]) -> int:
    """How many different words are used."""
    return len({word for words in said for word in words})


class Lengths(NamedTuple):
    """Words an answer; `empty` counts the answers without any."""

    mean: float
    median: float
    shortest: int
    longest: int
    empty: int


def lengths(said: Sequence[Words]) -> Lengths:
    """Of all answers; zeros where there are none."""
    counts = [len(words) for words in said] or [0]
    empty = sum(not words for words in said)
    return Lengths(statistics.fmean(counts), statistics.median(counts), min(counts), max(counts), empty)
