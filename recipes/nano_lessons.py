"""The picture stages of `nano` one after the other: name, learn by example, practise."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from recipes import nano_data, nano_drawings, nano_features, nano_naming, nano_photos, nano_reward, nano_teacher
from recipes.nano_asked import Album
from recipes.nano_course import Course
from recipes.nano_fresh import SIDE
from sensorium.batch import Features, Modality
from sensorium.model.multimodal import MultimodalLM
from sensorium.training.features import FeatureStore
from sensorium.training.schedule import Plan

NAMING_EPOCHS, EXAMPLE, PRACTICE = 2, 0.545, 0.272
"""`EXAMPLE`, `PRACTICE`: the shares of the minutes in which captions are copied, and drawn and rewarded. What is left goes on
with the latter, and of rooms the teacher's answers count most then: the right ones are known by heart by that time."""
HEARD, BELIEVED, RATE = 0.5, 0.85, 2e-4
"""The teacher's share of an answer about a room, before and in the last stage; the learning rate of that."""


def run(
    model: MultimodalLM, photos: list[nano_data.Photo], views: FeatureStore, data: Path, minutes: float, work: Path
) -> Mapping[str, Tensor]:
    """The tensors by their shipped names; each stage goes on from its own state in `work`."""
    small = nano_features.pooled(views, work / "photos-small", SIDE, print)
    rooms, drawings = albums(model, data, work)
    heard = rooms._replace(soft=nano_teacher.Teacher(rooms.rows, seen(rooms), model.dual).soft(HEARD))
    course = Course(photos, small, [rooms, drawings], [heard._replace(pictures=3.0), drawings._replace(pictures=0.6)])
    if not (work / "captioning").is_file():
        name(model, course, work / "naming-photos")
    steps = nano_photos.EPOCHS * (len(course.asked(0)) // nano_photos.BATCH)
    nano_photos.run(model, course, Plan(steps, minutes * EXAMPLE), work / "captioning", print)
    course = Course(photos, small, [rooms, drawings], [heard._replace(pictures=5.0), drawings._replace(pictures=0.2)])
    nano_reward.run(model, course, Plan(steps, minutes * PRACTICE, warmup=10, floor=0.1), work / "practice", print)
    believed = rooms._replace(soft=nano_teacher.Teacher(rooms.rows, seen(rooms, model), model.dual).soft(BELIEVED))
    course = Course(photos, small, [rooms, drawings], [believed._replace(pictures=8.0), drawings._replace(pictures=0.3)])
    last = Plan(steps, minutes * (1 - EXAMPLE - PRACTICE), warmup=10)
    return nano_reward.run(model, course, last, work / "last", print, RATE)


def albums(model: MultimodalLM, data: Path, work: Path) -> tuple[Album, Album]:
    """Rooms and drawings.

    Rooms are shown several times an epoch, since most of their questions are about language; of drawings only some.
    """
    rooms, drawings = nano_data.rooms(data), nano_drawings.drawings()
    indoors, drawn = _small(model, rooms, work, "rooms"), _small(model, drawings, work, "drawings")
    return Album(indoors, rooms, 4.0, 12), Album(drawn, drawings, 0.3, 8)


@torch.inference_mode()
def seen(album: Album, model: MultimodalLM | None = None) -> dict[str, Tensor]:
    """Its pictures by their paths, as the encoder saw them; with a model as its connector shows them to the language model."""
    looks = {name: album.store[view].float() for view, name in enumerate(album.store.names)}
    if model is None:
        return looks
    connector = model.connectors[Modality.IMAGE].eval()
    x_PTD = torch.stack(list(looks.values()))
    return dict(zip(looks, connector(Features(x_PTD, torch.ones(x_PTD.shape[:2], dtype=torch.bool))).x_BTD, strict=True))


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
