"""What can be had without looking: the commonest right answer, the one that the question's words alone call for, and chance."""

from __future__ import annotations

import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sensorium.evaluation.task import Item, Reply, Task
from sensorium.evaluation.variant import chance, words_of

MAJORITY, QUESTION_ONLY, CHANCE = "majority", "question-only", "chance"
_NEIGHBOURS, _LOOKED_AT = 25, 64


def floors(
    task: Task, items: Sequence[Item], train: Sequence[Item] = (), gallery: Sequence[Item] = ()
) -> dict[str, list[Reply]]:
    """Replies made without any medium, by the floor's name, each list in the order of the items.

    `majority` is the commonest right answer; `question-only` the commonest among the 25 items with the likest questions,
    by the cosine of their TF-IDF vectors of words, pairs of words and beginnings. Where items have differing choices the
    commonest place among them takes the part of the answer. Where a gallery is to be put in order, `chance` is an order drawn
    for each item by itself.

    Args:
        train: items whose right answers may be known. Without them the items stand in for one another: an item's own cluster
            is then left out, and where the votes are as close as the left-out items could turn them, the commonest answer of
            all is taken, since leaving one out of a balanced set would else always leave the other answer on top.

    Returns:
        Nothing for a task of which no text is the right answer.
    """
    if gallery:
        ids = [item.sample.id for item in gallery]
        return {CHANCE: [Reply("", "choice", ranking=_drawn(ids, chance(item, CHANCE))) for item in items]}
    if task.answer is None or not items:
        return {}
    fixed = len({item.choices for item in (*items, *train)}) == 1
    poll = _Poll([_vote(item, task.answer(item), fixed) for item in train or items], leave_out=not train)
    near = _Near(poll, [words_of(item) for item in train or items])
    majority, question_only = [], []
    for item in items:
        labels = [_label(item, place, fixed) for place in range(len(item.choices))]
        common = poll.votes(_own(item), labels)
        majority.append(_reply(item, labels, common))
        question_only.append(_reply(item, labels, near.votes(words_of(item), _own(item), labels) or common))
    return {MAJORITY: majority, QUESTION_ONLY: question_only}


def basis(task: Task, train: Sequence[Item]) -> str:
    """What the floors of `floors(task, items, train)` rest on, in words."""
    if task.gallery is not None:
        return "the gallery in an order drawn for each item"
    if task.answer is None:
        return "none"
    if train:
        return f"the right answers of {len(train)} items of another split"
    return "the right answers of the other items of the same split, those of the same picture left out"


def _drawn(ids: Sequence[str], seed: int) -> tuple[str, ...]:
    return tuple(random.Random(seed).sample(ids, len(ids)))


class _Vote(NamedTuple):
    """A right answer, or the place of it among differing choices, and what must not hear it."""

    label: str
    owner: str


class _Votes(NamedTuple):
    """Weight by label, the winner first among equals by how common it is at all, and the weight of all votes heard."""

    weights: Mapping[str, float]
    winner: str
    total: float


class _Poll:
    """All right answers, counted as a whole and by owner."""

    def __init__(self, cast: Sequence[_Vote], leave_out: bool) -> None:
        self.cast, self.leave_out = cast, leave_out
        self.whole = Counter(vote.label for vote in cast)
        self.order = sorted(self.whole, key=lambda label: (-self.whole[label], label))
        self.rank = {label: rank for rank, label in enumerate(self.order)}
        self.owned: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for vote in cast if leave_out else ():
            self.owned[vote.owner][vote.label] += 1

    def votes(self, owner: str, labels: Sequence[str]) -> _Votes:
        """Everybody's votes but the owner's, for these labels alone where there are any."""
        own = self.owned.get(owner, Counter())
        able = labels or self.order[: len(own) + 1]  # one of these is the commonest, whatever the owner's are
        weights = {label: float(self.whole[label] - own[label]) for label in able}
        return self.counted(weights, own.total(), len(self.cast) - own.total()) or _Votes({}, able[0], 0.0)

    def counted(self, weights: Mapping[str, float], left_out: float, total: float) -> _Votes | None:
        """The commonest of all among those that the weight left out could have put first; None where nobody voted."""
        least = max(max(weights.values(), default=0.0) - left_out - 1e-9, 1e-9)
        near = [label for label, weight in weights.items() if weight >= least]
        return _Votes(weights, min(near, key=self.rank.__getitem__), total) if near else None


class _Near:
    """Finds votes by the likeness of their questions."""

    def __init__(self, poll: _Poll, questions: Sequence[str]) -> None:
        self.poll = poll
        self.places: dict[str, int] = {}
        self.asked: list[list[_Vote]] = []
        for question, vote in zip(map(_plain, questions), poll.cast, strict=True):
            if (place := self.places.setdefault(question, len(self.asked))) == len(self.asked):
                self.asked.append([])
            self.asked[place].append(vote)
        bags = [_bag(question) for question in self.places]
        seen = Counter(word for bag in bags for word in bag)
        self.rarity = {word: math.log(1 + len(bags) / count) for word, count in seen.items()}
        holders: defaultdict[str, list[int]] = defaultdict(list)
        for place, bag in enumerate(bags):
            for word in bag:
                holders[word].append(place)
        self.where: dict[str, NDArray[np.int64]] = {word: np.array(places) for word, places in holders.items()}
        self.size = np.sqrt([sum(self.rarity[word] ** 2 for word in bag) or 1.0 for bag in bags])
        self.known: dict[str, list[tuple[float, int]]] = {}

    def votes(self, question: str, owner: str, labels: Sequence[str]) -> _Votes | None:
        """Of the nearest questions, until enough items are heard; None where no question is like this one."""
        weights: defaultdict[str, float] = defaultdict(float)
        heard, left_out = 0, 0.0
        for likeness, place in self._nearest(_plain(question)):
            if heard >= _NEIGHBOURS or likeness <= 0:
                break
            for label, voter in self.asked[place]:
                if self.poll.leave_out and voter == owner:
                    left_out += likeness
                elif not labels or label in labels:
                    weights[label] += likeness
                    heard += 1
        return self.poll.counted(weights, left_out, sum(weights.values()))

    def _nearest(self, question: str) -> list[tuple[float, int]]:
        if question not in self.known:
            like = np.zeros(len(self.asked))
            bag = sorted(_bag(question))
            for word in bag:
                if word in self.where:
                    like[self.where[word]] += self.rarity[word] ** 2
            like /= self.size * math.sqrt(sum(self.rarity.get(word, 0.0) ** 2 for word in bag) or 1.0)
            if (same := self.places.get(question)) is not None:
                like[same] = 1.0
            best = np.argpartition(-like, min(_LOOKED_AT, len(like)) - 1)[:_LOOKED_AT]
            best = best[np.lexsort((best, -like[best]))]
            self.known[question] = [(float(like[place]), int(place)) for place in best]
        return self.known[question]


def _reply(item: Item, labels: Sequence[str], votes: _Votes) -> Reply:
    if not labels:
        return Reply(votes.winner, confidence=votes.weights.get(votes.winner, 0.0) / max(votes.total, 1.0))
    place = labels.index(votes.winner)
    weights = [votes.weights.get(label, 0.0) + 1 / len(labels) for label in labels]
    logprobs = tuple(math.log(weight / sum(weights)) for weight in weights)
    return Reply(item.choices[place], "choice", weights[place] / sum(weights), logprobs)


def _vote(item: Item, answer: str, fixed: bool) -> _Vote:
    if answer in item.choices:
        return _Vote(_label(item, item.choices.index(answer), fixed), _own(item))
    return _Vote(answer, _own(item))


def _label(item: Item, place: int, fixed: bool) -> str:
    return item.choices[place] if fixed else f"place {place}"


def _own(item: Item) -> str:
    return f"cluster {item.cluster}" if item.cluster else f"item {item.sample.id}"


def _plain(question: str) -> str:
    return " ".join(re.findall(r"\w+", question.casefold()))


def _bag(question: str) -> frozenset[str]:
    """Of a plain question: words, pairs of words, and the first two and three as what kind of question it is."""
    words = question.split()
    pairs = [f"{one} {other}" for one, other in pairwise(words)]
    return frozenset([*words, *pairs, f"^{' '.join(words[:2])}", f"^{' '.join(words[:3])}"])
