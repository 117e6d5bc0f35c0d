"""Short answers to questions about pictures: exact match, beside another picture and none, which show what sight is worth.

The likeliest tokens, one after the other, spell the right answer exactly when each of its tokens is the likeliest after those
before it. So all questions about a picture, with their right answers, are read as one tree, and nothing is decoded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

from recipes.nano_data import PictureQuestion
from recipes.nano_photos import Ask, rows
from sensorium.data.packing import grow, pack
from sensorium.data.sentences import as_sentence
from sensorium.estimate import Estimate, estimate, mcnemar
from sensorium.media import image
from sensorium.model.generate import Assistant
from sensorium.objectives.next_token import NextToken
from sensorium.parts import Message, Text
from sensorium.protocols import Sampling

ROOM, BATCH = 10, 48


def measure(model: Assistant, asked: Sequence[PictureQuestion]) -> dict[str, Estimate]:
    """A swapped picture is that of the question half the list away. Without one, each wording is asked once.

    "p" is of McNemar's exact test between the answers with the right picture and with another.
    """
    half = len(asked) // 2
    swapped = [row._replace(path=asked[(index + half) % len(asked)].path) for index, row in enumerate(asked)]
    seen = {path: features(model, path) for path in sorted({row.path for row in asked})}
    own, other = exact(model, asked, seen), exact(model, swapped, seen)
    p = mcnemar(own, other)
    return {
        "exact match": estimate(own),
        "exact match, pictures swapped": estimate(other),
        "exact match, picture removed": estimate(_blind(model, asked)),
        "p, own against swapped": Estimate(p, p, p, len(asked)),
    }


@torch.inference_mode()
def features(model: Assistant, path: str) -> Tensor:
    """A picture's, `(T, D)`, in half precision."""
    encoder = model.model.encoders["image"]
    (piece,) = encoder.prepare(image.decode(path))
    x_TD: Tensor = encoder([piece.tensor]).x_BTD[0].half()
    return x_TD


@torch.inference_mode()
def exact(model: Assistant, asked: Sequence[PictureQuestion], seen: dict[str, Tensor]) -> list[bool]:
    """Whether each answer, as the model would give it, is the right one."""
    by_picture: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(asked):
        by_picture[row.path].append(index)
    right = [True] * len(asked)
    for path, indices in by_picture.items():
        turns = [Ask(seen[path], asked[index].question, as_sentence(asked[index].answer)) for index in indices]
        batch = rows(model.model, turns)
        packed = pack([grow(batch, [1.0] * len(turns))])
        hit_T = model.model.decoder.logits(NextToken().hidden(model.model, packed)).argmax(-1) == packed.targets.ids_T
        lengths = batch.learn_BL.sum(1).tolist()
        for index, hits in zip(indices, torch.split(hit_T, lengths), strict=True):
            right[index] = bool(hits.all())
    return right


def _blind(model: Assistant, asked: Sequence[PictureQuestion]) -> list[bool]:
    """The same without a picture: the adapter is off then, as it always is."""
    wordings, said = sorted({row.question for row in asked}), dict[str, str]()
    for start in range(0, len(wordings), BATCH):
        some = wordings[start : start + BATCH]
        alone = model.answer([[Message("user", (Text(text),))] for text in some], Sampling(max_tokens=ROOM))
        said |= {text: answer.text.strip().rstrip(".").lower() for text, answer in zip(some, alone, strict=True)}
    return [said[row.question] == row.answer.lower() for row in asked]
