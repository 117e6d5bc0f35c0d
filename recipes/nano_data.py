"""The data that `nano` is trained on: Flickr8k, DAQUAR, easy-VQA and spoken digits, as plain rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from sensorium.errors import RequestError
from sensorium.evaluation.tasks.pictured import PictureQuestion as PictureQuestion
from sensorium.evaluation.tasks.pictured import drawings as drawings
from sensorium.evaluation.tasks.pictured import rooms as rooms

LINES = """Thank you.
I'm sorry.
The train to the coast leaves at half past four.
She put the keys on the table and went out.
Here we go.
We should meet again next week.
He said that the old bridge was closed.
Please turn off the light in the kitchen.""".splitlines()
"""What may be heard beside a sound: by mistake when a digit was said, or rightly, when it was something else."""


class Photo(NamedTuple):
    """A photo with five captions as people wrote them."""

    path: str
    split: str
    captions: tuple[str, ...]


class Digit(NamedTuple):
    """A spoken digit."""

    path: str
    split: str
    word: str
    speaker: str


def photos(data: Path) -> list[Photo]:
    """`flickr8k/captions.jsonl`."""
    rows = _rows(data / "flickr8k" / "captions.jsonl")
    return [Photo(str(data / "flickr8k" / row["image"]), row["split"], tuple(row["captions"])) for row in rows]


def digits(data: Path) -> list[Digit]:
    """`fsdd/labels.jsonl`."""
    rows = _rows(data / "fsdd" / "labels.jsonl")
    return [Digit(str(data / "fsdd" / row["audio"]), row["split"], row["text"], row["speaker"]) for row in rows]


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise RequestError(str(path), "is not there", "Name the folder of the training data: --data FOLDER")
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
