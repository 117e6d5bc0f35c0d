"""Shared runs of words: BLEU, ROUGE-L and CIDEr-D, equal to pycocoevalcap 1.2 given the same words.

All take words, not text: `tokens.py` cuts text into them, and a score is only comparable with one of the same cut.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from sensorium.errors import RequestError
from sensorium.estimate import Rows
from sensorium.objectives.cider import CiderD

Words = Sequence[str]

ORDERS = 4
_SMALL, _TINY = 1e-9, 1e-15
_BETA = 1.2


def bleu_rows(said: Sequence[Words], references: Sequence[Sequence[Words]]) -> Rows:
    """Counts of each answer, `(n, 10)`: its length, that of the reference closest in length (the shorter of two as close), how
    many runs of 1 to 4 words it has, and how many of them are in a reference, each as often as in that one at most.

    Raises:
        RequestError: answers and references are not equally many, or an answer has no reference.
    """
    _paired(said, references)
    counts = [_counts(*pair) for pair in zip(said, references, strict=True)]
    return np.array(counts, dtype=np.float64).reshape(-1, 2 + 2 * ORDERS)


def bleu(order: int = ORDERS) -> Callable[[Rows], float]:
    """Corpus BLEU of such rows (Papineni et al. 2002): the geometric mean of the shares of runs of up to `order` words that a
    reference has, times the penalty for being shorter than the closest references. The score of one answer is that of its row.
    """
    assert 1 <= order <= ORDERS
    return partial(_bleu, order)


def _bleu(order: int, rows: Rows) -> float:
    own, closest, *counts = rows.sum(0).tolist()
    product = math.prod((counts[ORDERS + n] + _TINY) / (counts[n] + _SMALL) for n in range(order))
    score = float(product ** (1 / order))
    ratio = (own + _TINY) / (closest + _SMALL)
    return score * math.exp(1 - 1 / ratio) if ratio < 1 else score


def _counts(said: Words, references: Sequence[Words]) -> list[int]:
    most: Counter[tuple[str, ...]] = Counter()
    for reference in references:
        most |= _runs(reference)
    matches = [0] * ORDERS
    for run, count in _runs(said).items():
        matches[len(run) - 1] += min(count, most[run])
    closest = min((abs(len(reference) - len(said)), len(reference)) for reference in references)[1]
    return [len(said), closest, *(max(0, len(said) - n) for n in range(ORDERS)), *matches]


def _runs(words: Words) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[start : start + n]) for n in range(1, ORDERS + 1) for start in range(len(words) - n + 1))


def rouge_l(said: Words, references: Sequence[Words]) -> float:
    """F of the longest common subsequence, recall weighing 1.2 squared times as much as precision (Lin 2004); precision and
    recall are each the best over the references. No words count as one empty word, as in the reference code.

    Raises:
        RequestError: no references.
    """
    _paired([said], [references])
    mine, theirs = said or [""], [reference or [""] for reference in references]
    common = [_common(mine, reference) for reference in theirs]
    precision = max(common) / len(mine)
    recall = max(length / len(reference) for length, reference in zip(common, theirs, strict=True))
    if not common or max(common) == 0:
        return 0.0
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def _common(one: Words, other: Words) -> int:
    """The length of the longest common subsequence."""
    best = [0] * (len(other) + 1)
    for word in one:
        before = 0
        for place, candidate in enumerate(other, 1):
            before, best[place] = best[place], before + 1 if word == candidate else max(best[place], best[place - 1])
    return best[-1]


def cider_d(said: Sequence[Words], references: Sequence[Sequence[Words]]) -> list[float]:
    """CIDEr-D of each answer (Vedantam et al. 2015), rarity counted over these references; a hundred in papers is 1 here.

    A single picture has nothing to be rare among: its score is 0.

    Raises:
        RequestError: answers and references are not equally many, or an answer has no reference.
    """
    _paired(said, references)
    if not said:
        return []
    scorer = CiderD(references)
    return [scorer(place, words) for place, words in enumerate(said)]


def _paired(said: Sequence[Words], references: Sequence[Sequence[Words]]) -> None:
    if len(said) != len(references):
        problem = f"are {len(said)}, and their lists of references {len(references)}"
        raise RequestError("answers", problem, "Give a list of references for each answer")
    for place, own in enumerate(references):
        if not own:
            raise RequestError(f"answer {place}", "has no reference; at least 1 is needed", "Give one, or leave the answer out")
