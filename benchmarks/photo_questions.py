"""Is there a dog in the photo? Yes-or-no questions in POPE's form, beside the same questions without the photo."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from benchmarks.estimate import Estimate, estimate
from recipes.nano_data import Photo
from sensorium.data.photo_questions import PhotoQuestion, photo_questions
from sensorium.model.generate import Assistant
from sensorium.parts import Image, Message, Text
from sensorium.protocols import Sampling

GREEDY = Sampling(max_tokens=4)


def measure(model: Assistant, photos: Sequence[Photo]) -> dict[str, Estimate]:
    """Accuracy, and the share of "yes"; without the photo each question is asked once, for its answer cannot differ."""
    asked = photo_questions([photo.captions for photo in photos])
    said = _yes(model, [(Image(photos[item.photo].path), Text(item.question)) for item in asked])
    swapped = _yes(model, [(Image(photos[(item.photo + 1) % len(photos)].path), Text(item.question)) for item in asked])
    wordings = sorted({item.question for item in asked})
    blind = dict(zip(wordings, _yes(model, [(Text(text),) for text in wordings]), strict=True))
    right = partial(_right, asked, len(photos))
    return {
        "accuracy": right(said),
        "accuracy, photos swapped": right(swapped),
        "accuracy, photo removed": right([blind[item.question] for item in asked]),
        "share of yes": estimate(said),
    }


def _yes(model: Assistant, asked: Sequence[tuple[Image | Text, ...]]) -> list[bool]:
    said: list[bool] = []
    for start in range(0, len(asked), 48):
        answers = model.answer([[Message("user", parts)] for parts in asked[start : start + 48]], GREEDY)
        said += [answer.text.strip().lower().startswith("yes") for answer in answers]
    return said


def _right(asked: Sequence[PhotoQuestion], photos: int, said: Sequence[bool]) -> Estimate:
    """Drawn anew photo by photo, since questions about one photo stand and fall together."""
    counts = np.zeros((photos, 2))
    for item, answer in zip(asked, said, strict=True):
        counts[item.photo] += (item.answer == answer, 1)
    return estimate(counts, lambda rows: float(rows[:, 0].sum() / rows[:, 1].sum()))._replace(n=len(asked))
