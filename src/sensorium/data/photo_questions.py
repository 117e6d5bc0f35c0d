"""Yes-or-no questions about photos, made from their captions in POPE's form (Li et al. 2023, arXiv:2305.10355).

A thing is present where at least two captions of a photo name it and absent where none does; where one does, it is not
asked. Each thing is asked as often with the answer yes as with no, so that its name alone tells nothing, and the absent
things that are asked are popular ones: they are drawn as often as they occur elsewhere.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import NamedTuple

from sensorium.data.photo_things import THINGS


class PhotoQuestion(NamedTuple):
    """`photo` counts the rows of captions that were given; `thing` has its article, as in "a dog"."""

    photo: int
    thing: str
    answer: bool

    @property
    def question(self) -> str:
        """As it is asked."""
        return f"Is there {self.thing} in the photo?"

    @property
    def reply(self) -> str:
        """The right answer, as it is trained."""
        return "Yes." if self.answer else "No."


class Named(NamedTuple):
    """What the captions of one photo say is there, and what they leave no room for."""

    present: tuple[str, ...]
    absent: tuple[str, ...]


def things_named(captions: Sequence[str]) -> Named:
    """Judge every thing by one photo's captions.

    A thing is not absent either where a caption says something that may mean it: a "person" may be a man, a "branch" a stick.
    """
    words = [frozenset(re.findall("[a-z]+", caption.lower())) for caption in captions]
    said = frozenset().union(*words)
    present, absent = [], []
    for name, thing in THINGS.items():
        mentions = sum(1 for caption in words if caption & thing.words)
        if mentions >= 2:
            present.append(name)
        elif mentions == 0 and not said & thing.doubtful:
            absent.append(name)
    return Named(tuple(present), tuple(absent))


def photo_questions(photos: Sequence[Sequence[str]], seed: int = 0) -> list[PhotoQuestion]:
    """Questions about photos, given the captions of each; half of those about any thing are answered yes.

    Args:
        seed: of the choice of photos that are asked about what they lack (or show, where that is the more frequent).

    Returns:
        In the order of the photos; those of one photo shuffled.
    """
    chance = random.Random(seed)
    judged = [things_named(captions) for captions in photos]
    asked: list[list[PhotoQuestion]] = [[] for _ in photos]
    for name in THINGS:
        with_it = [index for index, named in enumerate(judged) if name in named.present]
        without = [index for index, named in enumerate(judged) if name in named.absent]
        count = min(len(with_it), len(without))
        for answer, pool in ((True, with_it), (False, without)):
            for index in chance.sample(pool, count):
                asked[index].append(PhotoQuestion(index, name, answer))
    for questions in asked:
        chance.shuffle(questions)
    return [question for questions in asked for question in questions]
