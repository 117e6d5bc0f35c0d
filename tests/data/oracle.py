"""A perfect judge of the synthetic world's captions: it knows each picture's scene by its file name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sensorium.data.checking.alignment import Vectors
from sensorium.data.synthetic import COLOURS, SHAPES, World
from sensorium.data.synthetic.words import ADJECTIVES, NOUNS
from sensorium.parts import Image, Message, Text

WORDS = [
    re.compile(rf"{word}|{german}", re.IGNORECASE)
    for word, german in [*((name, ADJECTIVES[name]) for name in COLOURS), *((name, NOUNS[name].one) for name in SHAPES)]
]


def embed(world: World, messages: Sequence[Message]) -> Vectors:
    """Which colours and shapes are there, or are named, as unit vectors."""
    return np.array([_vector(world, message) for message in messages], dtype=np.float32)


def _vector(world: World, message: Message) -> Vectors:
    (part,) = message.parts
    if isinstance(part, Image):
        scene = world.scene(int(Path(str(part.source)).stem.partition("-")[0]))
        said = " ".join(word for thing in scene.things for word in thing.pair)
    else:
        assert isinstance(part, Text)
        said = part.text
    found = np.array([bool(word.search(said)) for word in WORDS], dtype=np.float32) + 1e-3
    return found / np.linalg.norm(found)
