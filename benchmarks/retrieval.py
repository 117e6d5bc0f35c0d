"""Finding a photo by a caption, and a caption by its photo, among all that are measured."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recipes.nano_data import Photo
from sensorium.data.sentences import as_sentence
from sensorium.estimate import Estimate, estimate
from sensorium.model.generate import Assistant
from sensorium.parts import Image, Message, Text


def measure(model: Assistant, photos: Sequence[Photo]) -> dict[str, Estimate]:
    """Recall at 1, 5 and 10 in both directions; a photo's best caption of five counts. Intervals are over photos."""
    images_PD = _vectors(model, [Message("user", (Image(photo.path),)) for photo in photos])
    texts = [as_sentence(text) for photo in photos for text in photo.captions]
    texts_XD = _vectors(model, [Message("user", (Text(text),)) for text in texts])
    own = recalls(images_PD, texts_XD)
    swapped = recalls(images_PD.roll(1, 0), texts_XD)
    return own | {f"{name}, photos swapped": value for name, value in swapped.items() if name.endswith("@1")}


def recalls(images_PD: Tensor, texts_XD: Tensor) -> dict[str, Estimate]:
    """The captions of a photo stand together, equally many for each."""
    count = len(texts_XD) // len(images_PD)
    scores_XP = texts_XD @ images_PD.t()
    own_X = torch.arange(len(images_PD)).repeat_interleave(count)
    text_ranks = (scores_XP > scores_XP.gather(1, own_X[:, None])).sum(1).unflatten(0, (-1, count))
    best_P = scores_XP.t().unflatten(1, (-1, count)).diagonal().amax(0)
    photo_ranks = (scores_XP.t() > best_P[:, None]).sum(1)
    found = {}
    for depth in (1, 5, 10):
        found[f"text to photo R@{depth}"] = estimate((text_ranks < depth).float().mean(1).numpy())
        found[f"photo to text R@{depth}"] = estimate((photo_ranks < depth).float().numpy())
    return found


def _vectors(model: Assistant, messages: Sequence[Message]) -> Tensor:
    return torch.cat([model.embed(messages[start : start + 100]) for start in range(0, len(messages), 100)])
