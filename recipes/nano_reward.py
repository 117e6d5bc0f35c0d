"""After examples, practice: captions drawn from the model are rewarded by CIDEr-D; questions are taught beside it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from recipes.nano_asked import Asked
from recipes.nano_course import CAPTION, Course
from recipes.nano_photos import Ask, pupils, rows, tree, vocabulary
from sensorium.data.packing import pack
from sensorium.data.sentences import as_sentence
from sensorium.model.multimodal import MultimodalLM
from sensorium.objectives.cider import CiderD, words
from sensorium.objectives.loss import Loss
from sensorium.objectives.next_token import NextToken
from sensorium.objectives.self_critical import SelfCritical
from sensorium.training.feed import Thunk
from sensorium.training.loop import train
from sensorium.training.optimizer import Group
from sensorium.training.schedule import Plan

SHARE, TEMPERATURE, EPOCHS = 3.0, 0.7, 1000
"""How much an answer that is taught counts beside a caption that is drawn; epochs of one run, at most."""


class Practice(NamedTuple):
    """Photos of a step; the learning rate; how far the right answer's share is lowered, of what is taught."""

    photos: int
    rate: float
    smoothing: float = 0.0


def run(
    model: MultimodalLM,
    course: Course,
    beside: Callable[[int], Iterable[Sequence[Asked]]],
    practice: Practice,
    plan: Plan,
    state: Path | None,
    say: Callable[[str], None],
    seed: int = 0,
    workers: int = 2,
    every: int = 10,
) -> Mapping[str, Tensor]:
    """Train on; the tensors by their shipped names. Nothing is dropped out: what is drawn is what the model says.

    Args:
        beside: by seed, what is taught in step after step. seed: of what is drawn and taught when.
    """
    tokens = vocabulary(model, course.texts())
    draw, teach = SelfCritical(tokens, temperature=TEMPERATURE), NextToken(practice.smoothing, tokens)
    connector, adapter = pupils(model)
    model.eval()
    places = list(course.photos)
    cider = CiderD([[words(as_sentence(text)) for text in course.photos[index].captions] for index in places])

    def loss(photos: Sequence[tuple[int, int]], taught: Sequence[Asked]) -> Loss:
        prompts = rows(model, [Ask(course.views[2 * places[place] + mirrored], CAPTION) for place, mirrored in photos])
        rewarded = draw(model, prompts, lambda row, text: cider(photos[row][0], words(text)))
        told = teach(model, pack([tree(model, item.store[item.view], item.turns) for item in taught]))
        total = rewarded.total + SHARE * rewarded.size / told.size * told.total
        return Loss(total, rewarded.size, {**rewarded.terms, **told.terms})

    def epoch(number: int) -> list[Sequence[Thunk]]:
        chance = random.Random(chosen := -1 - number - EPOCHS * seed)
        photos = [(place, chance.randrange(2)) for place in chance.sample(range(len(places)), len(places))]
        others = cycle(beside(chosen))
        batches: list[Sequence[Thunk]] = []
        for start in range(0, len(photos), practice.photos):
            some, more = photos[start : start + practice.photos], next(others)
            parts = range(min(workers, len(some)))
            batches.append([partial(loss, some[part::workers], more[part::workers]) for part in parts])
        return batches

    groups = [Group(connector, practice.rate, 0.0), Group(adapter, practice.rate, 0.0)]
    train(groups, epoch, plan, state=state, workers=workers, say=say, every=every)
    return {**connector, **adapter}
