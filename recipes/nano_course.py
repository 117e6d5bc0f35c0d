"""What `nano` is asked about pictures in each epoch of its training."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from recipes.nano_data import Photo, PictureQuestion, as_sentence
from sensorium.data.caption_questions import caption_questions
from sensorium.data.photo_questions import photo_questions
from sensorium.training.features import FeatureStore

CAPTION = "Describe the photo in one sentence."
WORDINGS = ("Describe the photo.", "Caption this image.", "What is in the picture?")
QUESTIONS, DECISIVE = 2, 0.8
Turn = tuple[str, str, float]
"""A question, its answer, and what each token of that counts."""


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
    """

    store: FeatureStore
    rows: Sequence[PictureQuestion]
    pictures: float
    questions: int


class Course:
    """All captions and some questions of every photo, and some questions of some pictures of each album.

    Args:
        views: features of every photo as it is and mirrored, one after the other.
    """

    def __init__(self, photos: Sequence[Photo], views: FeatureStore, albums: Sequence[Album]) -> None:
        self.photos = {index: photo for index, photo in enumerate(photos) if photo.split == "train"}
        self.views, self.albums = views, list(albums)

    def texts(self) -> Iterator[str]:
        """Every answer there is."""
        yield from ("Yes.", "No.")
        yield from (as_sentence(text) for photo in self.photos.values() for text in photo.captions)
        yield from (as_sentence(item.answer) for item in caption_questions([item.captions for item in self.photos.values()]))
        yield from (as_sentence(row.answer) for album in self.albums for row in album.rows if row.split == "train")

    def asked(self, epoch: int) -> list[Asked]:
        """In a new order, with new questions and views."""
        chance = random.Random(epoch)
        questions = self.questions(epoch)
        out: list[Asked] = []
        for index, photo in self.photos.items():
            wording = CAPTION if chance.random() < 0.5 else chance.choice(WORDINGS)
            turns = [(wording, as_sentence(text), 1.0) for text in photo.captions] + questions.get(index, [])
            out.append(Asked(self.views, 2 * index + chance.randrange(2), tuple(turns)))
        for album in self.albums:
            out += album_asked(album, chance)
        chance.shuffle(out)
        return out

    def questions(self, seed: int) -> Mapping[int, list[Turn]]:
        """By photo: what its captions agree on, and is there a dog?"""
        places, found = list(self.photos), dict[int, list[Turn]]()
        captions = [photo.captions for photo in self.photos.values()]
        for told in caption_questions(captions, seed):
            found.setdefault(places[told.photo], []).append((told.question, as_sentence(told.answer), DECISIVE))
        for item in photo_questions(captions, seed):
            turns = found.setdefault(places[item.photo], [])
            if len(turns) < QUESTIONS:
                turns.append((item.question, item.reply, DECISIVE))
        return found


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
        yield Asked(album.store, views[path], tuple((row.question, as_sentence(row.answer), 1.0) for row in some))


def alike(asked: Sequence[Asked], size: int, seed: int) -> list[list[Asked]]:
    """Batches of about equal length each, in a random order."""
    batches: list[list[Asked]] = []
    for start in range(0, len(asked), 16 * size):
        some = sorted(asked[start : start + 16 * size], key=lambda item: item.size)
        batches += [some[first : first + size] for first in range(0, len(some), size)]
    random.Random(seed).shuffle(batches)
    return batches
