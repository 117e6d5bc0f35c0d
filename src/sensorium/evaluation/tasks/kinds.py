"""Scores of one kind of items alone, beside those of all: a half of ChartQA, a domain of NoCaps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sensorium.estimate import Rows
from sensorium.evaluation.task import Corpus, Item, Reply, Scores


def share_of(name: str, score: Callable[[Item, Reply], Scores | None], part: str) -> Corpus:
    """A score among the items whose gold has this `part`."""

    def counted(items: Sequence[Item], replies: Sequence[Reply]) -> Rows:
        pairs = ((item, score(item, reply)) for item, reply in zip(items, replies, strict=True))
        found = [(float(item.gold["part"] == part), (scores or {}).get(name, 0.0)) for item, scores in pairs]
        return np.array([(inside, inside * value) for inside, value in found]).reshape(-1, 2)

    return Corpus(counted, ratio)


def ratio(counts: Rows) -> float:
    """The second column's sum over the first's; nan where that is 0."""
    inside, value = counts.sum(0)
    return float(value / inside) if inside else float("nan")
