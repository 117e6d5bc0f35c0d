"""A kind of harm with its levels, and how it is laid on the media of an item."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from sensorium.errors import MediaError
from sensorium.evaluation.task import Item
from sensorium.evaluation.variant import Change, Variant, chance, media, with_media
from sensorium.parts import Audio, Document, Image, Media, Video

M = TypeVar("M", Image, Audio, Video, Document)


class Kind(NamedTuple):
    """One curve.

    Args:
        medium: what it is laid on: `image`, `audio`, `video`, `text`, or `any` medium.
        amounts: how much at each level, in words, from the mildest on.
        at: the change at a level, counted from 1.
    """

    name: str
    medium: str
    amounts: tuple[str, ...]
    at: Callable[[int], Change]

    def variants(self) -> tuple[Variant, ...]:
        """One a level: `fog-1` to `fog-5`; a kind with one level has its name alone."""
        alone = len(self.amounts) == 1
        levels = range(1, len(self.amounts) + 1)
        return tuple(Variant(self.name if alone else f"{self.name}-{n}", self.name, float(n), self.at(n)) for n in levels)


def on_media(sort: type[M], salt: str, remake: Callable[[M, int], M]) -> Change:
    """Each medium of one sort made anew by `remake(part, seed)`; the seed is of the item, the salt and the place.

    A medium that cannot be read stays as it is, and the model is the one to say so. The same salt at all levels of a kind makes
    their noise the same but for its strength.
    """

    def change(items: Sequence[Item], place: int) -> Item:
        item = items[place]
        fresh: list[Media] = []
        for number, part in enumerate(media(item)):
            try:
                seed = chance(item, f"{salt}/{number}")
                fresh.append(remake(part, seed) if isinstance(part, sort) else part)
            except MediaError:
                fresh.append(part)
        return with_media(item, fresh)

    return change
