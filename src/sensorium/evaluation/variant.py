"""Other forms of an item: its media removed, exchanged or harmed, so that a score can be seen beside its floor."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from sensorium.evaluation.task import Item
from sensorium.parts import Audio, Document, Image, Media, Part, Text, Video, kind_of

Change = Callable[[Sequence[Item], int], Item]
"""All items of the task in order, and the place of one, to that item as it is asked now, its id unchanged."""
MEDIA = (Image, Audio, Video, Document)


class Variant(NamedTuple):
    """One form, by the name under which its scores stand.

    Args:
        name: such as `blind`, `shuffled`, `blur-3`. kind: the curve it belongs to, such as `blur`; level: where on it, from 0.
        change: makes it, the same each time: chance comes from the item's id.
    """

    name: str
    kind: str
    level: float
    change: Change


def chance(item: Item, salt: str) -> int:
    """A seed from an item's id and a word: the same on every machine and in every order of work."""
    return int.from_bytes(hashlib.sha256(f"{salt}\0{item.sample.id}".encode()).digest()[:8], "big")


def with_parts(item: Item, change: Callable[[int, int, Part], Sequence[Part]]) -> Item:
    """The item with each part replaced by what `change(message, part, value)` gives."""
    messages = [
        replace(message, parts=tuple(new for part, value in enumerate(message.parts) for new in change(number, part, value)))
        for number, message in enumerate(item.sample.messages)
    ]
    return replace(item, sample=replace(item.sample, messages=tuple(messages)))


def media(item: Item) -> list[Media]:
    """Its media parts in order."""
    return [part for message in item.sample.messages for part in message.parts if isinstance(part, MEDIA)]


def with_media(item: Item, fresh: Sequence[Media]) -> Item:
    """The item with these in the places of its media, one for one; without media when there are none."""
    left = iter(fresh)
    return with_parts(item, lambda _, __, part: [*islice(left, 1)] if isinstance(part, MEDIA) else [part])


def _plain(items: Sequence[Item], place: int) -> Item:
    return items[place]


def _blind(items: Sequence[Item], place: int) -> Item:
    return with_media(items[place], ())


def _shuffled(items: Sequence[Item], place: int) -> Item:
    """With the media of an item drawn by chance, or the next after it that has other media, as many and of the same kinds."""
    own, start = media(items[place]), chance(items[place], "shuffled")
    for step in range(len(items)):
        other = media(items[(start + step) % len(items)])
        if other != own and [kind_of(part) for part in other] == [kind_of(part) for part in own]:
            return with_media(items[place], other)
    return items[place]


PLAIN = Variant("as it is", "as it is", 0.0, _plain)
BLIND = Variant("blind", "removed", 1.0, _blind)
SHUFFLED = Variant("shuffled", "shuffled", 1.0, _shuffled)


def words_of(item: Item) -> str:
    """All text of the conversation."""
    return "\n".join(part.text for message in item.sample.messages for part in message.parts if isinstance(part, Text))
