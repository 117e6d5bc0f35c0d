"""The picture stages of `nano` one after the other: name, learn by example, practise beside teachers."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from recipes import nano_data, nano_features, nano_naming, nano_photos, nano_runs
from recipes.nano_alike import Kernel, looks
from recipes.nano_asked import Album
from recipes.nano_course import Course
from recipes.nano_fresh import SIDE
from recipes.nano_teacher import Teacher
from sensorium.batch import Modality
from sensorium.model.multimodal import MultimodalLM
from sensorium.training.features import FeatureStore
from sensorium.training.schedule import Plan

NAMING_EPOCHS, CAPTIONING = 2, 35 / 100
"""The share of the minutes in which captions are copied (`CAPTIONING`); the rest is for the two runs that go on from there."""
HEARD, EARLY = 0.5, Kernel(0.5, 0.4, 0.5, 0.4, 3.0)
"""The share of rooms' first teacher in an answer; his kernels."""


def run(
    model: MultimodalLM, photos: list[nano_data.Photo], views: FeatureStore, data: Path, minutes: float, work: Path
) -> Mapping[str, Tensor]:
    """The tensors by their shipped names; each stage goes on from its own state in `work`.

    After the examples there are two runs, whose mean is better than either (Wortsman et al. 2022, arXiv:2203.05482).
    """
    small = nano_features.pooled(views, work / "photos-small", SIDE, print)
    rooms, drawings = albums(model, data, work)
    softened = rooms._replace(soft=Teacher(rooms.rows, looks(rooms.store), model.dual, EARLY).soft(HEARD))
    lessons = nano_runs.Lessons(photos, small, rooms, softened, drawings, 0)
    course = lessons.course(softened._replace(pictures=3.0), drawings._replace(pictures=0.6))
    if not (work / "captioning").is_file():
        name(model, course, work / "naming-photos")
    lessons = lessons._replace(steps=nano_photos.EPOCHS * (len(course.asked(0)) // nano_photos.BATCH))
    nano_photos.run(model, course, Plan(lessons.steps, minutes * CAPTIONING), work / "captioning", print)
    other = copy.deepcopy(model, {id(model.layout): model.layout})
    one = nano_runs.first(model, lessons, minutes, work)
    two = nano_runs.second(other, lessons, minutes, work)
    return {name: torch.lerp(one[name], two[name], 0.5) for name in one}


def albums(model: MultimodalLM, data: Path, work: Path) -> tuple[Album, Album]:
    """Rooms, shown several times an epoch, since most of their questions are about language, and some drawings."""
    rooms, drawings = nano_data.rooms(data), nano_data.drawings()
    indoors, drawn = _small(model, rooms, work, "rooms"), _small(model, drawings, work, "drawings")
    return Album(indoors, rooms, 4.0, 12), Album(drawn, drawings, 0.3, 8)


def _small(model: MultimodalLM, rows: Sequence[nano_data.PictureQuestion], work: Path, title: str) -> FeatureStore:
    store = nano_features.pictures(model, sorted({row.path for row in rows}), work / title, print)
    return nano_features.pooled(store, work / f"{title}-small", SIDE, print)


def name(model: MultimodalLM, course: Course, state: Path) -> None:
    """The connector alone, without the language model's layers."""
    places = list(course.photos)
    texts = [" ".join(photo.captions) for photo in course.photos.values()]

    def show(row: int, chance: random.Random) -> Tensor:
        return course.views[2 * places[row] + chance.randrange(2)]

    embeddings_VD, tokenizer = model.decoder.embed_tokens.weight.detach(), model.layout.tokenizer
    nano_naming.run(model.connectors[Modality.IMAGE], embeddings_VD, tokenizer, texts, show, NAMING_EPOCHS, state, print)
