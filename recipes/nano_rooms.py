"""At last, rooms: a teacher's answers to questions asked about pictures they were not asked about; captions stay as they are.

The right answers are known by heart by then and say little more. Crossed with other pictures there are thousands of times more
questions, so that what is learned is how the teacher answers (hints without labels: Hinton et al. 2015, section 2).
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path

import torch
from torch import Tensor

from recipes.nano_asked import Album, Asked, album_asked
from recipes.nano_course import CAPTION, Course
from recipes.nano_photos import pupils, tree, vocabulary
from recipes.nano_teacher import Teacher
from sensorium.data.packing import pack
from sensorium.data.sentences import as_sentence
from sensorium.model.multimodal import MultimodalLM
from sensorium.objectives.distillation import Distillation, Lessons, Seen
from sensorium.objectives.loss import Loss
from sensorium.objectives.next_token import NextToken
from sensorium.training.loop import Group, Thunk, train
from sensorium.training.schedule import Plan

ROOMS, PHOTOS, RATE, SHARE = 12, 4, 4e-4, 4.0
"""Pictures of a step, and photos with questions and with captions beside them; how much a changed caption counts."""


def run(
    model: MultimodalLM,
    course: Course,
    rooms: Album,
    drawings: Album,
    teacher: Teacher,
    plan: Plan,
    state: Path | None,
    say: Callable[[str], None],
    workers: int = 2,
    every: int = 10,
) -> Mapping[str, Tensor]:
    """Train on; the tensors by their shipped names. What is said of photos and drawings is held to what was said before."""
    before = copy.deepcopy(model, {id(model.layout): model.layout}).eval()
    teach, keep = NextToken(0.0, vocabulary(model, course.texts())), Distillation(Lessons(temperature=1.0))
    connector, adapter = pupils(model)
    model.eval()
    views = {name: view for view, name in enumerate(rooms.store.names)}

    def seen(of: MultimodalLM, held: Sequence[Asked]) -> Seen:
        packed = pack([tree(of, item.store[item.view], item.turns) for item in held])
        return Seen(of.decoder.logits(teach.hidden(of, packed)))

    def loss(asked: Sequence[Asked], held: Sequence[Asked]) -> Loss:
        told = teach(model, pack([tree(model, item.store[item.view], item.turns) for item in asked]))
        with torch.no_grad():
            was = seen(before, held)
        kept = keep(seen(model, held), was)
        total = told.total + SHARE * told.size / kept.size * kept.total
        return Loss(total, told.size, {**told.terms, "changed": kept.terms["logits"]})

    def epoch(number: int) -> Iterator[Sequence[Thunk]]:
        chance = random.Random(number)
        photos, more = cycle(questions(course, chance, number)), cycle(said(course, drawings, chance))
        order = chance.sample(teacher.pictures, len(teacher.pictures))
        for start in range(0, len(order) - ROOMS + 1, ROOMS):
            some = order[start : start + ROOMS]
            told = [Asked(rooms.store, views[path], tuple(teacher.turns(path, chance))) for path in some]
            told += [next(photos) for _ in range(PHOTOS)]
            held = [next(more) for _ in range(PHOTOS)]
            yield [partial(loss, told[part::workers], held[part::workers]) for part in range(workers)]

    groups = [Group(connector, RATE, 0.0), Group(adapter, RATE, 0.0)]
    train(groups, lambda number: list(epoch(number)), plan, state=state, workers=workers, say=say, every=every)
    return {**connector, **adapter}


def questions(course: Course, chance: random.Random, seed: int) -> list[Asked]:
    """About photos, with their right answers."""
    asked = course.questions(seed)
    order = chance.sample(list(asked), len(asked))
    return [Asked(course.views, 2 * place + chance.randrange(2), tuple(asked[place])) for place in order]


def said(course: Course, drawings: Album, chance: random.Random) -> list[Asked]:
    """Captions of photos, and some questions about drawings: what is to stay."""
    held = list(album_asked(drawings, chance))
    for place, photo in course.photos.items():
        captions = tuple((CAPTION, as_sentence(text), 1.0) for text in photo.captions)
        held.append(Asked(course.views, 2 * place + chance.randrange(2), captions))
    chance.shuffle(held)
    return held
