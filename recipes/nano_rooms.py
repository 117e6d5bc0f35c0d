"""At last, rooms: a teacher's answers to questions asked about pictures they were not asked about; captions stay as they are.

The right answers are known by heart by then and say little more. Crossed with other pictures there are thousands of times more
questions, so that what is learned is how the teacher answers (hints without labels: Hinton et al. 2015, section 2).
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path

import torch
from torch import Tensor

from recipes.nano_asked import Asked
from recipes.nano_course import Course
from recipes.nano_photos import pupils, tree, vocabulary
from recipes.nano_teacher import Teacher
from sensorium.data.packing import Packed, pack
from sensorium.model.multimodal import MultimodalLM
from sensorium.objectives.distillation import Distillation, Lessons, Seen
from sensorium.objectives.loss import Loss
from sensorium.objectives.next_token import NextToken
from sensorium.training.features import FeatureStore
from sensorium.training.feed import Thunk
from sensorium.training.loop import train
from sensorium.training.optimizer import Group
from sensorium.training.schedule import Plan

ROOMS, HELD, RATE, SHARE, NEW = 12, 5, 3e-4, 2.0, 2 / 3
"""Rooms of a step, and other pictures beside them; how much it counts that something else is said of these (`SHARE`); the new
weights' share in the mean of new and old that is kept (Wortsman et al. 2022, arXiv:2109.01903)."""


def run(
    model: MultimodalLM,
    course: Course,
    store: FeatureStore,
    teacher: Teacher,
    plan: Plan,
    state: Path | None,
    say: Callable[[str], None],
    workers: int = 2,
    every: int = 10,
) -> Mapping[str, Tensor]:
    """Train on; the tensors by their shipped names.

    Args:
        course: of which everything goes on being said as it is said now; its texts hold the rooms' answers too.
        store: of the rooms.
    """
    before = copy.deepcopy(model, {id(model.layout): model.layout}).eval()
    teach, keep = NextToken(vocabulary=vocabulary(model, course.texts())), Distillation(Lessons(temperature=1.0))
    connector, adapter = pupils(model)
    old = {name: parameter.detach().clone() for name, parameter in {**connector, **adapter}.items()}
    model.eval()
    views = {name: view for view, name in enumerate(store.names)}

    def lay(asked: Sequence[Asked]) -> Packed:
        return pack([tree(model, item.store[item.view], item.turns) for item in asked])

    def loss(rooms: Sequence[Asked], held: Sequence[Asked]) -> Loss:
        told, others = teach(model, lay(rooms)), lay(held)
        with torch.no_grad():
            said = Seen(teach.logits(before, others))
        kept = keep(Seen(teach.logits(model, others)), said)
        total = told.total + SHARE * told.size / kept.size * kept.total
        return Loss(total, told.size, {**told.terms, "changed": kept.terms["logits"]})

    def epoch(number: int) -> list[Sequence[Thunk]]:
        chance, others = random.Random(number), cycle(course.asked(number))
        order = chance.sample(teacher.pictures, len(teacher.pictures))
        batches: list[Sequence[Thunk]] = []
        for start in range(0, len(order), ROOMS):
            rooms = [Asked(store, views[path], tuple(teacher.turns(path, chance))) for path in order[start : start + ROOMS]]
            held = [next(others) for _ in range(HELD)]
            parts = range(min(workers, len(rooms), HELD))
            batches.append([partial(loss, rooms[part::workers], held[part::workers]) for part in parts])
        return batches

    groups = [Group(connector, RATE, 0.0), Group(adapter, RATE, 0.0)]
    train(groups, epoch, plan, state=state, workers=workers, say=say, every=every)
    return {name: torch.lerp(old[name], parameter.detach(), NEW) for name, parameter in {**connector, **adapter}.items()}
