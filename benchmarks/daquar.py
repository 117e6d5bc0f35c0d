"""Questions about photos of rooms (DAQUAR): exact match, beside another photo and no photo, which show what sight is worth."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.estimate import Estimate, estimate
from recipes.nano_data import PictureQuestion
from sensorium.model.generate import Assistant
from sensorium.parts import Image, Message, Text
from sensorium.protocols import Sampling

GREEDY = Sampling(max_tokens=12)


def measure(model: Assistant, rooms: Sequence[PictureQuestion]) -> dict[str, Estimate]:
    """A swapped photo is that of the question half the list away."""
    half = len(rooms) // 2
    swapped = [rooms[(index + half) % len(rooms)].path for index in range(len(rooms))]
    return {
        "exact match": _exact(model, rooms, [(Image(row.path), Text(row.question)) for row in rooms]),
        "exact match, photos swapped": _exact(
            model, rooms, [(Image(path), Text(row.question)) for path, row in zip(swapped, rooms, strict=True)]
        ),
        "exact match, photo removed": _exact(model, rooms, [(Text(row.question),) for row in rooms]),
    }


def _exact(model: Assistant, rooms: Sequence[PictureQuestion], asked: Sequence[tuple[Image | Text, ...]]) -> Estimate:
    said: list[str] = []
    for start in range(0, len(asked), 48):
        answers = model.answer([[Message("user", parts)] for parts in asked[start : start + 48]], GREEDY)
        said += [answer.text.strip().rstrip(".").lower() for answer in answers]
    return estimate([text == row.answer.lower() for text, row in zip(said, rooms, strict=True)])
