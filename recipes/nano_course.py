"""What `nano` is asked about pictures in each epoch of its training."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

from recipes.nano_asked import Album, Asked, Turn, album_asked
from recipes.nano_data import Photo
from sensorium.data.caption_questions import caption_questions
from sensorium.data.photo_questions import photo_questions
from sensorium.data.sentences import as_sentence
from sensorium.training.features import FeatureStore

CAPTION = "Describe the photo in one sentence."
WORDINGS = ("Describe the photo.", "Caption this image.", "What is in the picture?")
QUESTIONS, DECISIVE = 2, 0.8


class Course:
    """All captions and some questions of every photo, and some questions of some pictures of each album.

    Args:
        views: features of every photo as it is and mirrored, one after the other.
        albums: of the first epoch. later: of all others.
    """

    def __init__(self, photos: Sequence[Photo], views: FeatureStore, albums: Sequence[Album], later: Sequence[Album]) -> None:
        self.photos = {index: photo for index, photo in enumerate(photos) if photo.split == "train"}
        self.views, self.albums, self.later = views, list(albums), list(later)

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
        for album in self.later if epoch else self.albums:
            out += album_asked(album, chance)
        chance.shuffle(out)
        return out

    def questions(self, seed: int) -> Mapping[int, list[Turn]]:
        """By photo: what its captions agree on, and is there a dog?"""
        places, found = list(self.photos), self.agreed(seed)
        for item in photo_questions([photo.captions for photo in self.photos.values()], seed):
            turns = found.setdefault(places[item.photo], [])
            if len(turns) < QUESTIONS:
                turns.append((item.question, item.reply, DECISIVE))
        return found

    def agreed(self, seed: int) -> dict[int, list[Turn]]:
        """By photo: what its captions agree on."""
        places, found = list(self.photos), dict[int, list[Turn]]()
        for told in caption_questions([photo.captions for photo in self.photos.values()], seed):
            found.setdefault(places[told.photo], []).append((told.question, as_sentence(told.answer), DECISIVE))
        return found
