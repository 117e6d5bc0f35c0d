"""A task as a model sat it: its items and, for each variant, the answers that were kept; what all checks look at."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sensorium.estimate import Estimate, Rows, estimate, mcnemar, mean
from sensorium.evaluation.blanked import BLANKED
from sensorium.evaluation.kept import Kept, read_answers
from sensorium.evaluation.limited import judged
from sensorium.evaluation.paired import Paired, by_items, corpus_difference, difference
from sensorium.evaluation.result import Result
from sensorium.evaluation.task import Item, Reply, Task
from sensorium.evaluation.variant import BLIND, PLAIN, SHUFFLED
from sensorium.parts import Text

LOOKED_AT = (SHUFFLED.name, BLANKED.name, BLIND.name)
"""The variants that take an item's own media away, the one that tells most first."""
_DOWN = re.compile(r"\b(wer|cer|error|loss|distance)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Exam:
    """One task's items and answers.

    Args:
        kept: by the variant's name, each in the order of the items; the plain one is there.
    """

    task: Task
    items: Sequence[Item]
    kept: Mapping[str, Sequence[Kept]]

    def __post_init__(self) -> None:
        ids = [item.sample.id for item in self.items]
        for name, rows in self.kept.items():
            assert [row.id for row in rows] == ids, f"the answers of {name} are not those of the items"

    @cached_property
    def plain(self) -> Sequence[Kept]:
        """The answers to the items as they are."""
        return self.kept[PLAIN.name]

    @cached_property
    def clusters(self) -> list[str]:
        """What each item is drawn together with."""
        return [item.cluster or f"item {item.sample.id}" for item in self.items]

    @cached_property
    def right(self) -> list[str | None]:
        """The right answers as words, where words stand for them."""
        answer = self.task.answer
        return [None if answer is None else answer(item) for item in self.items]

    @cached_property
    def questions(self) -> list[str]:
        """What each item asks last, media left out."""
        asked = [[message for message in item.sample.messages if message.role == "user"] for item in self.items]
        return [
            "\n".join(part.text for part in messages[-1].parts if isinstance(part, Text)) if messages else ""
            for messages in asked
        ]

    @cached_property
    def kinds(self) -> list[str]:
        """What kind of question each item is: as its sample or gold says, or by the question's first two words."""
        told = [item.sample.meta.get("kind") or item.gold.get("kind") or item.gold.get("type") for item in self.items]
        return [
            str(kind) if kind else " ".join(plain(question).split()[:2])
            for kind, question in zip(told, self.questions, strict=True)
        ]

    @cached_property
    def differing(self) -> bool:
        """Whether the items have choices that are not the same for all."""
        return len({item.choices for item in self.items}) > 1

    def compared(self, variant: str) -> list[int]:
        """The places of items that the variant changed and that the model took both ways."""
        pairs = enumerate(zip(self.plain, self.kept[variant], strict=True))
        return [place for place, (one, other) in pairs if one.key != other.key and "refused" not in finishes(one, other)]

    def gain(self, variant: str, places: Sequence[int]) -> tuple[float, Estimate]:
        """The task's main score of these items as they are, and how much better that is than under the variant."""
        rows = [self._rows(name, places) for name in (PLAIN.name, variant)]
        measure = self._measure
        split = rows[0].shape[1]
        sign = -1.0 if self.task.missed.get(self.task.main, 0.0) > 0 or _DOWN.search(self.task.main) else 1.0
        clusters = [self.clusters[place] for place in places]
        if self.task.main not in self.task.corpus:
            return mean(rows[0]), difference((sign * (rows[0] - rows[1])[:, 0]).tolist(), clusters)

        def better(both: Rows) -> float:
            return sign * (measure(both[:, :split]) - measure(both[:, split:]))

        return measure(rows[0]), estimate(np.concatenate(rows, axis=1), better, clusters=clusters)

    def test(self, variant: str, places: Sequence[int]) -> Paired:
        """How often the main score differs so much from that under the variant by chance; the sign means nothing here."""
        one, other = (self._rows(name, places) for name in (PLAIN.name, variant))
        clusters = [self.clusters[place] for place in places]
        if self.task.main in self.task.corpus:
            return corpus_difference(one, other, clusters, self._measure)
        binary = np.isin([one, other], (0.0, 1.0)).all()
        exact = mcnemar((one[:, 0] > 0).tolist(), (other[:, 0] > 0).tolist()) if binary else None
        return by_items((one - other)[:, 0].tolist(), clusters, exact)

    def _rows(self, variant: str, places: Sequence[int]) -> Rows:
        rows = [self.kept[variant][place] for place in places]
        if (corpus := self.task.corpus.get(self.task.main)) is not None:
            made = np.asarray(corpus.rows([self.items[place] for place in places], [row.reply for row in rows]))
            return made.reshape(len(rows), -1)
        missed = self.task.missed.get(self.task.main, 0.0)
        return np.array([[missed if row.scores is None else row.scores[self.task.main]] for row in rows], dtype=np.float64)

    def _measure(self, rows: Rows) -> float:
        return self.task.corpus[self.task.main].measure(rows)


def share(values: Sequence[float] | NDArray[np.float64], clusters: Sequence[str]) -> Estimate:
    """Their mean with its interval; counted cluster by cluster, which takes no longer for many items than for few."""
    rows = np.asarray(values, dtype=np.float64)
    if np.isin(rows, (0.0, 1.0)).all() or len(set(clusters)) < 2:
        return estimate(rows, clusters=clusters)
    _, place = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.stack([np.bincount(place, weights=rows), np.bincount(place)], axis=1)
    return estimate(sums, _mean_of_sums)._replace(n=len(rows))


def _mean_of_sums(sums: Rows) -> float:
    total, count = sums.sum(axis=0)
    return float(total / count)


def open_exams(folder: Path, result: Result, tasks: Sequence[Task], data: Path) -> list[Exam]:
    """The exams of a run folder.

    Args:
        tasks: those of the run. data: the folder of the data, as the run was given it.

    Raises:
        RequestError: the data is not there. DataError: the answers are not.
    """
    by_name = {task.name: task for task in tasks}
    exams = []
    for row in result.tasks:
        task = by_name[row.task]
        items = list(judged(task, data, str(row.about["split"]), int(row.about["limit"] or 0)))
        names = [PLAIN.name, *(name for name in row.outcomes if name != PLAIN.name)]
        exams.append(Exam(task, items, {name: read_answers(folder, row.task, name) for name in names}))
    return exams


def plain(text: str) -> str:
    """Words alone, small: answers that differ in nothing else are the same."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def said(reply: Reply) -> str:
    """An answer to compare: its words, or its signs where it has none; of a search what was found first."""
    return plain(reply.text) or reply.text.strip() or next(iter(reply.ranking), "")


def finishes(*rows: Kept) -> list[str]:
    """How the answers ended."""
    return [row.reply.finish for row in rows]
