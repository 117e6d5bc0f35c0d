"""Each kind of medium taken away in turn, the words taken away, and files that break off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from sensorium.errors import MediaError
from sensorium.evaluation.stress.kind import Kind
from sensorium.evaluation.task import Item
from sensorium.evaluation.variant import MEDIA, Change, media, with_media, with_parts
from sensorium.media.source import load
from sensorium.parts import Audio, Document, Image, Media, Text, Video

KEPT = (0.9, 0.5, 0.1)
"""Shares of a file's bytes that are left."""
_LEAST = 24


def _without(sort: type[Media], _level: int) -> Change:
    return lambda items, place: with_parts(items[place], lambda _, __, part: () if isinstance(part, sort) else (part,))


def _without_words(_level: int) -> Change:
    """Only where a medium is left to be seen or heard."""

    def change(items: Sequence[Item], place: int) -> Item:
        item = items[place]
        if not any(isinstance(part, MEDIA) for part in item.sample.messages[-1].parts):
            return item
        last = len(item.sample.messages) - 1
        return with_parts(item, lambda number, _, part: () if number == last and isinstance(part, Text) else (part,))

    return change


def _truncated_at(level: int) -> Change:
    """The first bytes of every file; what cannot be fetched at all stays as it is."""

    def change(items: Sequence[Item], place: int) -> Item:
        return with_media(items[place], [_cut(part, KEPT[level - 1]) for part in media(items[place])])

    return change


def _cut(part: Media, share: float) -> Media:
    try:
        data = load(part.source).data
    except MediaError:
        return part
    return replace(part, source=data[: max(int(len(data) * share), min(_LEAST, len(data)))])


KINDS: tuple[Kind, ...] = (
    *(
        Kind(f"no-{name}", name, ("removed",), partial(_without, sort))
        for name, sort in (("image", Image), ("audio", Audio), ("video", Video), ("document", Document))
    ),
    Kind("no-text", "any", ("removed",), _without_words),
    Kind("truncated", "any", tuple(f"{share:.0%} of the bytes left" for share in KEPT), _truncated_at),
)
