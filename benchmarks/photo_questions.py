"""Is there a dog in the photo? Yes-or-no questions in POPE's form, beside the same questions on other photos and on none."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from recipes.nano_data import Photo
from recipes.nano_photos import tree
from sensorium.data.packing import pack
from sensorium.data.photo_questions import PhotoQuestion, photo_questions
from sensorium.estimate import Estimate, estimate
from sensorium.media import image
from sensorium.model.generate import Assistant
from sensorium.objectives.next_token import NextToken
from sensorium.parts import Message, Text
from sensorium.protocols import Sampling

CHOICES = ("Yes.", "No.")


@torch.inference_mode()
def measure(model: Assistant, photos: Sequence[Photo]) -> dict[str, Estimate]:
    """Accuracy of the likelier answer, and the share of "yes".

    All questions about a photo are read as one tree. Without a photo the adapter is off, as it always is then, and each wording
    is asked once.
    """
    asked = photo_questions([photo.captions for photo in photos])
    features = [_features(model, photo.path) for photo in photos]
    said = _answers(model, features, asked)
    swapped = _answers(model, [*features[1:], features[0]], asked)
    wordings = sorted({item.question for item in asked})
    choose = Sampling(choices=CHOICES)
    alone = model.answer([[Message("user", (Text(text),))] for text in wordings], choose)
    blind = {text: answer.text == CHOICES[0] for text, answer in zip(wordings, alone, strict=True)}
    right = partial(_right, asked, len(photos))
    return {
        "accuracy": right(said),
        "accuracy, photos swapped": right(swapped),
        "accuracy, photo removed": right([blind[item.question] for item in asked]),
        "share of yes": estimate(said),
    }


def _features(model: Assistant, path: str) -> Tensor:
    encoder = model.model.encoders["image"]
    (piece,) = encoder.prepare(image.decode(path))
    x_TD: Tensor = encoder([piece.tensor]).x_BTD[0]
    return x_TD


def _answers(model: Assistant, features: Sequence[Tensor], asked: Sequence[PhotoQuestion]) -> list[bool]:
    yes, no = (model.tokenizer.encode(text, add_special_tokens=False).ids[0] for text in CHOICES)
    said: list[bool] = []
    for number, features_TD in enumerate(features):
        turns = [(item.question, CHOICES[0], 1.0) for item in asked if item.photo == number]
        if not turns:
            continue
        packed = pack([tree(model.model, features_TD, turns)])
        logits_TV = model.model.decoder.logits(NextToken().hidden(model.model, packed))
        first_T = packed.targets.ids_T == yes
        said += (logits_TV[first_T, yes] > logits_TV[first_T, no]).tolist()
    return said


def _right(asked: Sequence[PhotoQuestion], photos: int, said: Sequence[bool]) -> Estimate:
    """Drawn anew photo by photo, since questions about one photo stand and fall together."""
    counts = np.zeros((photos, 2))
    for item, answer in zip(asked, said, strict=True):
        counts[item.photo] += (item.answer == answer, 1)
    return estimate(counts, lambda rows: float(rows[:, 0].sum() / rows[:, 1].sum()))._replace(n=len(asked))
