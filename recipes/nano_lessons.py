"""The picture stages of `nano` one after the other: name, learn by example, practise."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from recipes import nano_data, nano_features, nano_naming, nano_photos, nano_reward, nano_teacher
from recipes.nano_asked import Album
from recipes.nano_course import Course
from recipes.nano_fresh import SIDE
from sensorium.batch import Modality
from sensorium.model.multimodal import MultimodalLM
from sensorium.training.features import FeatureStore
from sensorium.training.schedule import Plan

NAMING_EPOCHS, PRACTICE = 2, 1 / 3
"""`PRACTICE`: the share of the minutes in which captions are drawn and rewarded."""


def run(
    model: MultimodalLM, photos: list[nano_data.Photo], views: FeatureStore, data: Path, minutes: float, work: Path
) -> Mapping[str, Tensor]:
    """The tensors by their shipped names; each stage goes on from its own state in `work`."""
    small = nano_features.pooled(views, work / "photos-small", SIDE, print)
    rooms, softened, drawings = albums(model, data, work)
    course = Course(photos, small, [rooms, drawings], [softened._replace(pictures=3.0), drawings._replace(pictures=0.6)])
    if not (work / "captioning").is_file():
        name(model, course, work / "naming-photos")
    steps = nano_photos.EPOCHS * (len(course.asked(0)) // nano_photos.BATCH)
    nano_photos.run(model, course, Plan(steps, minutes * (1 - PRACTICE)), work / "captioning", print)
    course = Course(photos, small, [rooms, drawings], [softened._replace(pictures=5.0), drawings._replace(pictures=0.2)])
    return nano_reward.run(model, course, Plan(steps, minutes * PRACTICE, warmup=10, floor=0.1), work / "practice", print)


def albums(model: MultimodalLM, data: Path, work: Path) -> tuple[Album, Album, Album]:
    """Rooms, rooms with a teacher's answers beside the right ones, and drawings.

    Rooms are shown several times an epoch, since most of their questions are about language; of drawings only some. The
    teacher is heard after the first epoch.
    """
    rooms, drawings = nano_data.rooms(data), nano_data.drawings()
    indoors, drawn = _small(model, rooms, work, "rooms"), _small(model, drawings, work, "drawings")
    plain = Album(indoors, rooms, 4.0, 12)
    return plain, plain._replace(soft=nano_teacher.soften(rooms, indoors, model.dual)), Album(drawn, drawings, 0.3, 8)


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
