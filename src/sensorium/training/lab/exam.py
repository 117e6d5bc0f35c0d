"""Questions about pictures with one-word answers, in memory: what the lab teaches and asks."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from sensorium.data.synthetic.world import Split, World
from sensorium.errors import DependencyError, LimitError

Pixels = NDArray[np.uint8]
SIDE = 64
"""Pixels of a drawn picture's side."""


class Question(NamedTuple):
    """A question about picture number `picture`, its right answer, one word, and what kind of question it is."""

    picture: int
    text: str
    answer: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Exam:
    """Pictures and questions.

    Args:
        pictures_PHWC: RGB, 8 bits. train, test: no picture is in both.
    """

    name: str
    pictures_PHWC: Pixels
    train: tuple[Question, ...]
    test: tuple[Question, ...]

    @property
    def answers(self) -> tuple[str, ...]:
        """All answers of the training questions, sorted."""
        return tuple(sorted({question.answer for question in self.train}))

    @property
    def words(self) -> tuple[str, ...]:
        """All words of the training questions and answers, sorted."""
        return tuple(sorted({word for question in self.train for word in (*split(question.text), question.answer)}))

    @property
    def majority(self) -> float:
        """Share of test questions that the commonest training answer gets right."""
        common = Counter(question.answer for question in self.train).most_common(1)[0][0]
        return sum(question.answer == common for question in self.test) / len(self.test)

    @property
    def by_question(self) -> float:
        """Share that the commonest training answer to the very same question gets right, without a look at the picture."""
        counts: dict[str, Counter[str]] = {}
        for question in self.train:
            counts.setdefault(question.text, Counter())[question.answer] += 1
        best = {text: counter.most_common(1)[0][0] for text, counter in counts.items()}
        return sum(best.get(question.text) == question.answer for question in self.test) / len(self.test)

    def part(self, rows: int, seed: int) -> tuple[Question, ...]:
        """`rows` training questions, all those about one picture together: twice the questions are twice the pictures too.

        Those of a smaller part are the first of a larger one.

        Raises:
            LimitError: there are fewer.
        """
        if rows > len(self.train):
            problem = f"has {len(self.train)} training questions, {rows} are wanted"
            raise LimitError(f"exam {self.name}", problem, "Ask for a smaller --rows")
        about = defaultdict[int, list[Question]](list)
        for question in self.train:
            about[question.picture].append(question)
        pictures = random.Random(seed).sample(list(about.values()), len(about))
        return tuple([question for some in pictures for question in some][:rows])


def split(text: str) -> list[str]:
    """A question as lower-case words; marks are words."""
    spaced = "".join(letter if letter.isalnum() else f" {letter} " for letter in text.lower())
    return spaced.split()


def synthetic(rows: int, seed: int = 0, tests: int = 6000, dev: bool = False) -> Exam:
    """The drawn world: about `rows` training questions of every kind that needs only the picture.

    Args:
        dev: ask about the world's validation scenes, for choosing settings, and leave its test alone.
    """
    world = World(seed, size=SIDE)
    pictures: list[Pixels] = []
    train = _draw(world, "train", rows, pictures, None)
    known = frozenset(question.answer for question in train)
    test = _draw(world, "validation" if dev else "test", tests, pictures, known)
    return Exam("synthetic", np.stack(pictures), tuple(train), tuple(test[:tests]))


def _draw(world: World, split: Split, wanted: int, pictures: list[Pixels], known: frozenset[str] | None) -> list[Question]:
    """At least `wanted` questions whose answers are known (any, when None); their pictures go to `pictures`."""
    asked: list[Question] = []
    for index in count():
        if len(asked) >= wanted:
            break
        scene = world.scene(index, split)
        for item in scene.questions():
            answer = item.answer.lower()
            if item.kind not in ("sound", "order") and answer.isalnum() and (known is None or answer in known):
                asked.append(Question(len(pictures), item.question, answer, item.kind))
        pictures.append(scene.picture())
    return asked


def easy_vqa(dev: bool = False) -> Exam:
    """The `easy-vqa` package (Zhou 2019, MIT): one coloured shape a picture, its own split.

    Args:
        dev: ask about every eighth training picture, for choosing settings, train on the others and leave the test alone.

    Raises:
        DependencyError: it is not installed.
    """
    if find_spec("easy_vqa") is None:
        raise DependencyError("easy-vqa", "is not installed", "pip install easy-vqa")
    folder = Path(str(files("easy_vqa"))) / "data"
    pictures: list[Path] = []
    parts: list[tuple[Question, ...]] = []
    for name in ("train", "test"):
        rows = json.loads((folder / name / "questions.json").read_text("utf-8"))
        first = len(pictures)
        pictures += sorted((folder / name / "images").glob("*.png"), key=lambda path: int(path.stem))
        place = {int(path.stem): first + offset for offset, path in enumerate(pictures[first:])}
        parts.append(tuple(Question(place[row[2]], row[0], row[1], _easy_kind(row[1])) for row in rows))
    train, test = parts
    if dev:
        train, test = (tuple(item for item in train if (item.picture % 8 == 0) == held) for held in (False, True))
    return Exam("easy-vqa", _array(Pillow.open(path) for path in pictures), train, test)


def _easy_kind(answer: str) -> str:
    shapes = ("circle", "rectangle", "triangle")
    return "yes or no" if answer in ("yes", "no") else "shape" if answer in shapes else "colour"


def _array(pictures: Iterable[Pillow.Image]) -> Pixels:
    """`(P, H, W, 3)`."""
    return np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])
