"""Whether an exam was seen in training: its rows and media in a training corpus, and how sure the model is of its answers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from sensorium.audit.exam import share
from sensorium.data.checking.media import MediaCheck, Verdict
from sensorium.data.checking.memory import Memory, Place
from sensorium.data.checking.sketch import sketch_text
from sensorium.data.row import Row, Source
from sensorium.errors import RequestError
from sensorium.estimate import Rows, estimate
from sensorium.evaluation.result import Finding
from sensorium.evaluation.sureness import Sure
from sensorium.evaluation.task import Item, Task
from sensorium.parts import Image, Media, Message, Sample, Text

CHECK, SURENESS = "contamination", "memorised"
FEWEST, MOST = 20, 100
"""Items of an exam, and of its twins, that `memorised` needs, and looks at."""


class Leak(NamedTuple):
    """An item that stands in the training data.

    Args:
        item: its id. how: `question` (with the same media, if any) or `medium` alone. file, row: where; counted from 1.
    """

    item: str
    how: str
    file: str
    row: int

    def __str__(self) -> str:
        return f"{self.item}: its {self.how} is in row {self.row} of {self.file}"


def leaks(items: Sequence[Item], train: Source) -> list[Leak]:
    """The items whose questions or media are in the training data, the same or nearly: pictures scaled or compressed anew,
    and texts of 40 bytes and more that share 85 % of their 8-byte shingles. Short texts must be the same.

    Each question of a training row is looked at alone, answers are not. A question that stands beside other media is another.
    """
    memory, media = Memory(), MediaCheck()
    seen = _Seen(memory, media)
    try:
        for item in train.rows():
            if isinstance(item, Row):
                for shown, asked in _questions(item.sample):
                    seen.learn(shown, asked, Place(item.file, item.row, other=True))
        found = (seen.find(item, _questions(item.sample)) for item in items)
        return [leak for leak in found if leak is not None]
    finally:
        memory.close()


def contamination(task: Task, items: Sequence[Item], train: Source) -> Finding:
    """Passed where nothing of the items is in the training data."""
    found = leaks(items, train)
    caught = {leak.item for leak in found}
    clusters = [item.cluster or f"item {item.sample.id}" for item in items]
    hit = share([float(item.sample.id in caught) for item in items], clusters)
    questions = sum(leak.how == "question" for leak in found)
    if found:
        claim = (
            f"{len(found)} of {len(items)} items are in the training data {train.name}: {questions} with their questions, "
            f"{len(found) - questions} with their media alone."
        )
    else:
        claim = f"None of {len(items)} items is in the training data {train.name}, nor any of their media."
    return Finding(CHECK, task.name, claim, not found, hit, tuple(str(leak) for leak in found[:20]))


def memorised(sure: Sure, task: Task, items: Sequence[Item], twins: Sequence[Item], among: int = 1) -> Finding | None:
    """Whether a model is surer of the right answers to an exam than of those to a fresh one that was drawn alike.

    Without training on either, the mean log-probability of the right answers is the same for both (the loss test of membership:
    Yeom et al. 2018, arXiv:1709.01604). Where the exam was trained on, it is higher there.

    Args:
        twins: items of the same task that no training can have seen, such as those of another seed, drawn as the exam's were.
            Of either the first `MOST` are looked at.
        among: exams judged so; to be found guilty takes an interval widened for their number (Bonferroni).

    Returns:
        None where the model could be asked for under `FEWEST` of either.

    Raises:
        RequestError: right answers of this task are no text, or there are under `FEWEST` items of either.
    """
    answer = task.answer
    if answer is None or min(len(items), len(twins)) < FEWEST:
        problem = f"has {len(items)} items and {len(twins)} twins" if answer is not None else "has no right answers in words"
        raise RequestError(f"task {task.name}", problem, f"Give {FEWEST} of each, of a task whose answers are words")
    asked = [replace(item, choices=(answer(item),)) for item in (*items[:MOST], *twins[:MOST])]
    mine = [1.0] * len(items[:MOST]) + [0.0] * len(twins[:MOST])
    found = [row for row in zip(asked, sure(task, asked), mine, strict=True) if row[1] is not None]
    count, fresh = sum(own > 0 for _, _, own in found), sum(own == 0 for _, _, own in found)
    if min(count, fresh) < FEWEST:
        return None
    clusters = [f"{own} {item.cluster or f'item {item.sample.id}'}" for item, _, own in found]
    gap = estimate(np.array([row[1:] for row in found], float), _gap, clusters=clusters)._replace(n=count)
    stretch = NormalDist().inv_cdf(1 - 0.025 / among) / NormalDist().inv_cdf(0.975)
    guilty = gap.value > (gap.value - gap.low) * stretch
    measured = f"{gap.value:+.3g} [{gap.low:+.3g}, {gap.high:+.3g}] nats a right answer, {count} items, {fresh} twins"
    if not guilty and gap.low > 0:
        measured += f"; of {among} exams looked at, one may show as much by chance"
    how = "surer" if guilty else "no surer"
    claim = f"The model is {how} of this exam's answers than of those to fresh questions drawn alike ({measured})."
    surest = sorted((row for row in found if row[2] > 0), key=lambda row: -(row[1] or 0.0))
    evidence = tuple(item.sample.id for item, _, _ in surest[:10]) if guilty else ()
    return Finding(SURENESS, task.name, claim, not guilty, gap, evidence)


def _gap(rows: Rows) -> float:
    mine = rows[:, 1] > 0
    return float(np.mean(rows[mine, 0]) - np.mean(rows[~mine, 0])) if mine.any() and not mine.all() else math.nan


class _Seen:
    """What was in the training data. A medium goes by the name of the first one that is the same or looks alike."""

    def __init__(self, memory: Memory, media: MediaCheck) -> None:
        self.memory, self.media = memory, media

    def learn(self, shown: Sequence[Media], asked: str, here: Place) -> None:
        """Remember a question and its media."""
        known = [self._name(part, here)[0] for part in shown]
        self._look(known, asked, here)

    def find(self, item: Item, questions: Iterator[tuple[Sequence[Media], str]]) -> Leak | None:
        """Where an item stands, its question before a medium."""
        here, medium = Place("", 0), None
        for shown, asked in questions:
            named = [self._name(part, here) for part in shown]
            place = self._look([name for name, _ in named], asked, here)
            if place is not None and place.other and (shown or asked):
                return Leak(item.sample.id, "question", place.file, place.row)
            medium = medium or next((place for _, place in named if place is not None and place.other), None)
        return None if medium is None else Leak(item.sample.id, "medium", medium.file, medium.row)

    def _name(self, part: Media, here: Place) -> tuple[str, Place | None]:
        verdict: Verdict = self.media(part)
        digest = verdict.digest or str(part.source)
        if not isinstance(part, Image):  # a stretch or some pages of it
            digest += repr(replace(part, source=""))
        named = here._replace(name=digest)
        place = self.memory.same("medium", digest.encode(), named)
        if verdict.sketch is not None and (place is None or not place.other):
            place = self.memory.near_picture(verdict.sketch, named) or place
        return (digest if place is None else place.name), place

    def _look(self, media: Sequence[str], asked: str, here: Place) -> Place | None:
        beside = "|".join(media).encode()
        words = " ".join(asked.casefold().split()).encode()
        if (place := self.memory.same("question", beside + b"\n" + words, here)) is not None:
            return place
        sketch = sketch_text(asked)
        near = None if sketch is None else self.memory.near_text(sketch, beside, here)
        return None if near is None else near[0]


def _questions(sample: Sample) -> Iterator[tuple[Sequence[Media], str]]:
    """Each user's turn with all media shown so far; a row that asks nothing is looked at by its other words."""
    shown: list[Media] = []
    asked = [message for message in sample.messages if message.role == "user"]
    for message in sample.messages:
        shown += [part for part in message.parts if not isinstance(part, Text)]
        if message in asked or not asked:
            yield tuple(shown), _words(message)


def _words(message: Message) -> str:
    return "\n".join(part.text for part in message.parts if isinstance(part, Text))
