"""Photos: image connector and language adapter learn captions, yes-or-no questions and questions about rooms."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from recipes.nano_data import Photo, RoomQuestion, as_sentence
from recipes.nano_model import adapter_of, trainable
from sensorium.batch import Modality, Piece, Shown
from sensorium.data.packing import Tree, grow, pack
from sensorium.data.photo_questions import photo_questions
from sensorium.model.multimodal import MultimodalLM
from sensorium.objectives.loss import Loss
from sensorium.objectives.next_token import NextToken
from sensorium.parts import Image, Message, Sample, Text, Use
from sensorium.training.features import FeatureStore
from sensorium.training.loop import Group, Thunk, train
from sensorium.training.schedule import Plan

CAPTION = "Describe the photo in one sentence."
WORDINGS = ("Describe the photo.", "Caption this image.", "What is in the picture?")
EPOCHS, BATCH, QUESTIONS, ROOM_QUESTIONS = 4, 16, 3, 7
CONNECTOR_RATE, ADAPTER_RATE, DECAY, SMOOTHING, RARE, DECISIVE = 1e-3, 8e-4, 0.05, 0.05, 2048, 0.8


Turn = tuple[str, str, float]
"""A question, its answer, and what each token of that counts."""


class Asked(NamedTuple):
    """Turns about one view of a photo, whose features are in a store."""

    store: FeatureStore
    view: int
    turns: tuple[Turn, ...]

    @property
    def size(self) -> int:
        """Characters."""
        return sum(len(question) + len(reply) for question, reply, _ in self.turns)


class Course:
    """What is asked in each epoch: all captions and some questions of every photo, some questions of every room."""

    def __init__(
        self, photos: Sequence[Photo], rooms: Sequence[RoomQuestion], stores: tuple[FeatureStore, FeatureStore]
    ) -> None:
        self.photos = {index: photo for index, photo in enumerate(photos) if photo.split == "train"}
        self.views, self.room_views = stores
        self.rooms: dict[str, list[RoomQuestion]] = {}
        for row in rooms:
            if row.split == "train":
                self.rooms.setdefault(row.path, []).append(row)

    def texts(self) -> Iterator[str]:
        """Every answer there is."""
        yield from ("Yes.", "No.")
        yield from (as_sentence(text) for photo in self.photos.values() for text in photo.captions)
        yield from (as_sentence(row.answer) for rows in self.rooms.values() for row in rows)

    def asked(self, epoch: int) -> list[Asked]:
        """In a new order, with new questions and views."""
        chance = random.Random(epoch)
        questions: dict[int, list[Turn]] = {}
        places = list(self.photos)
        for item in photo_questions([self.photos[index].captions for index in places], epoch):
            questions.setdefault(places[item.photo], []).append((item.question, item.reply, DECISIVE))
        out: list[Asked] = []
        for index, photo in self.photos.items():
            wording = CAPTION if chance.random() < 0.5 else chance.choice(WORDINGS)
            turns = [(wording, as_sentence(text), 1.0) for text in photo.captions] + questions.get(index, [])[:QUESTIONS]
            out.append(Asked(self.views, 2 * index + chance.randrange(2), tuple(turns)))
        for path, rows in self.rooms.items():
            some = chance.sample(rows, min(len(rows), ROOM_QUESTIONS))
            turns = [(row.question, as_sentence(row.answer), 1.0) for row in some]
            out.append(Asked(self.room_views, self.room_views.names.index(path), tuple(turns)))
        chance.shuffle(out)
        return out


def tree(model: MultimodalLM, features_TD: Tensor, turns: Sequence[Turn]) -> Tree:
    """Everything asked about one photo, laid out and merged."""
    grid = model.connectors["image"].grid((7, 7))
    piece = Piece(Modality.IMAGE, (0.0, 0.0, 1.0, 1.0), grid, tensor=features_TD)
    shown = {(0, 0): Shown((piece,), Use(0, 0, "image", "photo"))}
    samples = [
        Sample(question, (Message("user", (Image("photo"), Text(question))), Message("assistant", (Text(reply),), learn=True)))
        for question, reply, _ in turns
    ]
    batch = model.layout(samples, [shown] * len(samples), reply=False)
    return grow(batch, [weight for *_, weight in turns])


def alike(asked: Sequence[Asked], size: int, seed: int) -> list[list[Asked]]:
    """Batches of about equal length each, in a random order."""
    batches: list[list[Asked]] = []
    for start in range(0, len(asked), 16 * size):
        some = sorted(asked[start : start + 16 * size], key=lambda item: item.size)
        batches += [some[first : first + size] for first in range(0, len(some), size)]
    random.Random(seed).shuffle(batches)
    return batches


def run(
    model: MultimodalLM,
    course: Course,
    plan: Plan,
    state: Path | None,
    say: Callable[[str], None],
    workers: int = 2,
    every: int = 20,
) -> Mapping[str, Tensor]:
    """Train; the tensors by their shipped names. The decoder's weights may be in bf16."""
    encode = model.layout.tokenizer.encode
    vocabulary = {token for text in course.texts() for token in encode(text, add_special_tokens=False).ids}
    objective = NextToken(SMOOTHING, [*vocabulary, *model.layout.ends], RARE)
    connector, adapter = trainable(model.connectors["image"], "connectors.image."), adapter_of(model)

    def loss(some: Sequence[Asked]) -> Loss:
        return objective(model, pack([tree(model, asked.store[asked.view], asked.turns) for asked in some]))

    def epoch(number: int) -> list[Sequence[Thunk]]:
        batches = alike(course.asked(number), BATCH, number)
        return [[partial(loss, batch[part::workers]) for part in range(workers)] for batch in batches]

    groups = [Group(connector, CONNECTOR_RATE, DECAY), Group(adapter, ADAPTER_RATE, DECAY)]
    train(groups, epoch, plan, state=state, workers=workers, say=say, every=every)
    return {**connector, **adapter}
