"""The two runs of `nano`'s pictures after the examples: practice beside right answers, then rooms; practice beside teachers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from recipes import nano_data, nano_reward, nano_rooms
from recipes.nano_alike import Kernel, looks
from recipes.nano_asked import Album
from recipes.nano_beside import Beside
from recipes.nano_course import Course
from recipes.nano_reward import Practice
from recipes.nano_right import Right
from recipes.nano_teacher import Teacher
from recipes.nano_things import Things
from sensorium.model.multimodal import MultimodalLM
from sensorium.training.features import FeatureStore
from sensorium.training.schedule import Plan

FIRST, SECOND, KERNEL = (18 / 100, 12 / 100), (23 / 100, 12 / 100), Kernel(0.3, 0.7, 0.8, 0.4, 0.3)
"""Each stage's share of the minutes; the kernels of rooms' teacher."""
Weights = Mapping[str, Tensor]


class Lessons(NamedTuple):
    """What both runs have in common."""

    photos: list[nano_data.Photo]
    views: FeatureStore
    rooms: Album
    softened: Album
    drawings: Album
    steps: int

    def course(self, rooms: Album, drawings: Album) -> Course:
        """All photos, and these after the first epoch."""
        return Course(self.photos, self.views, [self.rooms, self.drawings], [rooms, drawings])


def first(model: MultimodalLM, lessons: Lessons, minutes: float, work: Path) -> Weights:
    """Practice beside right answers; then rooms are told, and captions stay."""
    course = lessons.course(lessons.softened._replace(pictures=5.0), lessons.drawings._replace(pictures=0.2))
    plan = Plan(lessons.steps, minutes * FIRST[0], warmup=10, floor=0.1)
    nano_reward.run(model, course, Right(course), Practice(16, 1e-4, 0.05), plan, work / "practice", print)
    rooms = lessons.rooms
    teacher = Teacher(rooms.rows, looks(rooms.store, model), model.dual, KERNEL)
    held = lessons.course(rooms._replace(pictures=0.0), lessons.drawings._replace(pictures=0.05))
    plan = Plan(lessons.steps, minutes * FIRST[1], warmup=10, floor=0.1)
    return nano_rooms.run(model, held, rooms.store, teacher, plan, work / "rooms-told", print)


def second(model: MultimodalLM, lessons: Lessons, minutes: float, work: Path) -> Weights:
    """Practice beside teachers in two cycles of the rate; the mean of both ends (Izmailov et al. 2018, arXiv:1803.05407)."""
    rooms, photos = lessons.rooms, [photo for photo in lessons.photos if photo.split == "train"]
    course = lessons.course(lessons.softened._replace(pictures=3.0), lessons.drawings._replace(pictures=0.6))
    things = Things([photo.captions for photo in photos], torch.stack([lessons.views[2 * at].float() for at in course.photos]))
    ends: list[dict[str, Tensor]] = []
    for cycle, share in enumerate(SECOND):
        teacher = Teacher(rooms.rows, looks(rooms.store, model), model.dual, KERNEL)
        beside = Beside(course, things, rooms.store, teacher, lessons.drawings)
        plan, state = Plan(lessons.steps, minutes * share, warmup=10, floor=0.1), work / f"taught-{cycle}"
        tensors = nano_reward.run(model, course, beside, Practice(12, 2e-4), plan, state, print, seed=cycle)
        ends.append({name: tensor.detach().clone() for name, tensor in tensors.items()})
    return {name: torch.lerp(ends[0][name], ends[1][name], 0.5) for name in ends[0]}
