"""Questions about rooms (DAQUAR) and drawings (easy-VQA); of the training pictures a tenth is the split `dev`."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from sensorium.data.sentences import as_question
from sensorium.errors import DependencyError
from sensorium.evaluation.task import Item
from sensorium.evaluation.tasks.asking import ask
from sensorium.evaluation.tasks.layout import Layout
from sensorium.evaluation.tasks.rows import field, rows
from sensorium.parts import Image

DAQUAR = Layout("daquar", "questions.jsonl with rows {image, split, question, answer}, and the pictures it names")
SPLITS = ("train", "dev", "test")


class PictureQuestion(NamedTuple):
    """A question about a picture, its answer, and which of `SPLITS` it belongs to."""

    path: str
    split: str
    question: str
    answer: str


def rooms(data: Path) -> list[PictureQuestion]:
    """`daquar/questions.jsonl`.

    Raises:
        RequestError: it is not there.
    """
    path = DAQUAR.path(data, "questions.jsonl")
    asked = list(rows(path))
    shown = sorted({field(row, "image", path) for row in asked if field(row, "split", path) == "train"})
    random.Random(0).shuffle(shown)
    kept = set(shown[: len(shown) // 10])
    return [
        PictureQuestion(
            str(path.parent / row["image"]),
            "dev" if row["image"] in kept else row["split"],
            as_question(field(row, "question", path)),
            field(row, "answer", path).replace("_", " "),
        )
        for row in asked
    ]


def drawings() -> list[PictureQuestion]:
    """All that come with the package `easy-vqa`.

    Raises:
        DependencyError: it is not installed.
    """
    try:
        import easy_vqa
    except ImportError as error:
        raise DependencyError("the task easy_vqa", "needs the package easy-vqa", "Run: pip install easy-vqa==1.0") from error
    found: list[PictureQuestion] = []
    for split, asked, paths in (
        ("train", easy_vqa.get_train_questions(), easy_vqa.get_train_image_paths()),
        ("test", easy_vqa.get_test_questions(), easy_vqa.get_test_image_paths()),
    ):
        for question, answer, picture in zip(*asked, strict=True):
            kept = "dev" if split == "train" and picture % 10 == 0 else split
            found.append(PictureQuestion(str(paths[picture]), kept, as_question(question), answer))
    return found


def pictured(asked: Iterable[PictureQuestion], split: str) -> Iterator[Item]:
    """Those of a split as items; questions about one picture are drawn together."""
    for number, row in enumerate(row for row in asked if row.split == split):
        yield ask(f"{split}-{number}", [Image(row.path)], row.question, {"answers": [row.answer]}, Path(row.path).name)
