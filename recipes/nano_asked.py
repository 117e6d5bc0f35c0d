"""Questions about pictures as the recipes hand them on: what is asked about one view, and albums of pictures to ask about."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import NamedTuple

from recipes.nano_data import PictureQuestion
from recipes.nano_teacher import Soft, Turn
from sensorium.data.sentences import as_sentence
from sensorium.training.features import FeatureStore


class Asked(NamedTuple):
    """Turns about one view of a picture, whose features are in a store."""

    store: FeatureStore
    view: int
    turns: tuple[Turn, ...]

    @property
    def size(self) -> int:
        """Characters."""
        return sum(len(question) + len(reply) for question, reply, _ in self.turns)


class Album(NamedTuple):
    """Questions about other pictures than the photos.

    Args:
        rows: of every split; those of "train" are asked.
        pictures: in an epoch, in multiples of what there are. questions: about one picture, at most.
        soft: several answers to a question, each with its weight, where there is more than the right one.
    """

    store: FeatureStore
    rows: Sequence[PictureQuestion]
    pictures: float
    questions: int
    soft: Soft = MappingProxyType({})

    def turns(self, row: PictureQuestion) -> Iterator[Turn]:
        """A question with each of its answers."""
        for answer, weight in self.soft.get(row, ((row.answer, 1.0),)):
            yield row.question, as_sentence(answer), weight


def album_asked(album: Album, chance: random.Random) -> Iterator[Asked]:
    """Some questions about some of its pictures."""
    by_path: dict[str, list[PictureQuestion]] = {}
    for row in album.rows:
        if row.split == "train":
            by_path.setdefault(row.path, []).append(row)
    views = {name: view for view, name in enumerate(album.store.names)}
    wanted, paths = round(album.pictures * len(by_path)), list(by_path)
    order = [path for _ in range(-(-wanted // max(len(paths), 1))) for path in chance.sample(paths, len(paths))]
    for path in order[:wanted]:
        some = chance.sample(by_path[path], min(len(by_path[path]), album.questions))
        yield Asked(album.store, views[path], tuple(turn for row in some for turn in album.turns(row)))


def alike(asked: Sequence[Asked], size: int, seed: int) -> list[list[Asked]]:
    """Batches of about equal length each, in a random order."""
    batches: list[list[Asked]] = []
    for start in range(0, len(asked), 16 * size):
        some = sorted(asked[start : start + 16 * size], key=lambda item: item.size)
        batches += [some[first : first + size] for first in range(0, len(some), size)]
    random.Random(seed).shuffle(batches)
    return batches
