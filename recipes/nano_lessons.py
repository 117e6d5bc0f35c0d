"""The picture stages of `nano` one after the other: name, learn by example, practise beside teachers."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from recipes import nano_data, nano_features, nano_naming, nano_photos, nano_reward
from recipes.nano_alike import Kernel
from recipes.nano_asked import Album
from recipes.nano_beside import Beside
from recipes.nano_course import Course
from recipes.nano_fresh import SIDE
from recipes.nano_teacher import Teacher
from recipes.nano_things import Things
from sensorium.batch import Features, Modality
from sensorium.model.multimodal import MultimodalLM
from sensorium.training.features import FeatureStore
from sensorium.training.schedule import Plan

NAMING_EPOCHS, CAPTIONING, PRACTICE, MEAN = 2, 1 / 2, (1 / 3, 1 / 6), 1 / 2
"""The shares of the minutes in which captions are copied (`CAPTIONING`), and drawn and rewarded, in two cycles of the rate; the
last one's share in the mean of what both end with (Izmailov et al. 2018, arXiv:1803.05407)."""
HEARD, FIRST, LAST = 0.5, Kernel(0.5, 0.4, 0.5, 0.4, 3.0), Kernel(0.3, 0.7, 0.8, 0.4, 0.3)
"""The teacher's share of a room's answer at first; his kernels then and at last."""


def run(
    model: MultimodalLM, photos: list[nano_data.Photo], views: FeatureStore, data: Path, minutes: float, work: Path
) -> Mapping[str, Tensor]:
    """The tensors by their shipped names; each stage goes on from its own state in `work`."""
    small = nano_features.pooled(views, work / "photos-small", SIDE, print)
    rooms, drawings = albums(model, data, work)
    softened = rooms._replace(soft=Teacher(rooms.rows, looks(rooms.store), model.dual, FIRST).soft(HEARD))
    course = Course(photos, small, [rooms, drawings], [softened._replace(pictures=3.0), drawings._replace(pictures=0.6)])
    if not (work / "captioning").is_file():
        name(model, course, work / "naming-photos")
    steps = nano_photos.EPOCHS * (len(course.asked(0)) // nano_photos.BATCH)
    nano_photos.run(model, course, Plan(steps, minutes * CAPTIONING), work / "captioning", print)
    seen = torch.stack([small[2 * index].float() for index in course.photos])
    things = Things([photo.captions for photo in course.photos.values()], seen)
    ends: list[dict[str, Tensor]] = []
    for cycle, share in enumerate(PRACTICE):
        teacher = Teacher(rooms.rows, looks(rooms.store, model), model.dual, LAST)
        beside = Beside(course, things, rooms.store, teacher, drawings)
        plan = Plan(steps, minutes * share, warmup=10, floor=0.1)
        tensors = nano_reward.run(model, course, beside, plan, work / f"practice-{cycle}", print, seed=cycle)
        ends.append({name: tensor.detach().clone() for name, tensor in tensors.items()})
    return {name: torch.lerp(ends[0][name], ends[1][name], MEAN) for name in ends[0]}


def albums(model: MultimodalLM, data: Path, work: Path) -> tuple[Album, Album]:
    """Rooms, shown several times an epoch, since most of their questions are about language, and some drawings."""
    rooms, drawings = nano_data.rooms(data), nano_data.drawings()
    indoors, drawn = _small(model, rooms, work, "rooms"), _small(model, drawings, work, "drawings")
    return Album(indoors, rooms, 4.0, 12), Album(drawn, drawings, 0.3, 8)


@torch.inference_mode()
def looks(store: FeatureStore, model: MultimodalLM | None = None) -> dict[str, Tensor]:
    """Pictures by their paths as the encoder saw them; with a model as its connector shows them to the language model."""
    x_PTD = torch.stack([store[view].float() for view in range(len(store))])
    if model is not None:
        x_PTD = model.connectors[Modality.IMAGE].eval()(Features(x_PTD, torch.ones(x_PTD.shape[:2], dtype=torch.bool))).x_BTD
    return dict(zip(store.names, x_PTD, strict=True))


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
