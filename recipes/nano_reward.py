"""After teaching, practice: captions drawn from the model are rewarded by CIDEr-D; questions go on being taught beside it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path

from torch import Tensor

from recipes.nano_asked import Asked, album_asked
from recipes.nano_course import CAPTION, Course
from recipes.nano_photos import SMOOTHING, Ask, pupils, rows, tree, vocabulary
from sensorium.data.packing import pack
from sensorium.data.sentences import as_sentence
from sensorium.model.multimodal import MultimodalLM
from sensorium.objectives.cider import CiderD, words
from sensorium.objectives.loss import Loss
from sensorium.objectives.next_token import NextToken
from sensorium.objectives.self_critical import SelfCritical
from sensorium.training.loop import Group, Thunk, train
from sensorium.training.schedule import Plan

PHOTOS, TAUGHT, SHARE = 16, 10, 3.0
RATE, DECAY, TEMPERATURE = 1e-4, 0.0, 0.7


def run(
    model: MultimodalLM,
    course: Course,
    plan: Plan,
    state: Path | None,
    say: Callable[[str], None],
    workers: int = 2,
    every: int = 10,
) -> Mapping[str, Tensor]:
    """Train on; the tensors by their shipped names. Nothing is dropped out: what is drawn is what the model says."""
    tokens = vocabulary(model, course.texts())
    practice, teach = SelfCritical(tokens, temperature=TEMPERATURE), NextToken(SMOOTHING, tokens)
    connector, adapter = pupils(model)
    model.eval()
    places = list(course.photos)
    cider = CiderD([[words(as_sentence(text)) for text in course.photos[index].captions] for index in places])

    def loss(photos: Sequence[tuple[int, int]], taught: Sequence[Asked]) -> Loss:
        prompts = rows(model, [Ask(course.views[2 * places[place] + mirrored], CAPTION) for place, mirrored in photos])
        rewarded = practice(model, prompts, lambda row, text: cider(photos[row][0], words(text)))
        told = teach(model, pack([tree(model, item.store[item.view], item.turns) for item in taught]))
        total = rewarded.total + SHARE * rewarded.size / told.size * told.total
        return Loss(total, rewarded.size, {**rewarded.terms, **told.terms})

    def epoch(number: int) -> list[Sequence[Thunk]]:
        chance = random.Random(-1 - number)
        photos = [(place, chance.randrange(2)) for place in chance.sample(range(len(places)), len(places))]
        beside = cycle(taught(course, chance, number))
        batches: list[Sequence[Thunk]] = []
        for start in range(0, len(photos), PHOTOS):
            some, more = photos[start : start + PHOTOS], [next(beside) for _ in range(TAUGHT)]
            parts = range(min(workers, len(some)))
            batches.append([partial(loss, some[part::workers], more[part::workers]) for part in parts])
        return batches

    groups = [Group(connector, RATE, DECAY), Group(adapter, RATE, DECAY)]
    train(groups, epoch, plan, state=state, workers=workers, say=say, every=every)
    return {**connector, **adapter}


def taught(course: Course, chance: random.Random, seed: int) -> list[Asked]:
    """Questions about photos, rooms and drawings in a random order; about as many pictures of each kind."""
    asked = course.questions(-1 - seed)
    out = [item for album in course.later for item in album_asked(album, chance)]
    some = chance.sample(list(asked), min(len(asked), max(len(out) // 2, 1)))
    out += [Asked(course.views, 2 * index + chance.randrange(2), tuple(asked[index])) for index in some]
    chance.shuffle(out)
    return out
