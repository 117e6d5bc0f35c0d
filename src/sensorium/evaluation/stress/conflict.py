"""Media that contradict one another: a false statement before the question, or a second medium that belongs to another item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sensorium.evaluation.stress.kind import Kind
from sensorium.evaluation.task import Item, Task
from sensorium.evaluation.variant import MEDIA, Change, media, with_parts, words_of
from sensorium.parts import Audio, Image, Media, Part, Text, Video

_ABOUT = "The question is about the {} {}.\n"
_NOUNS = {Image: "picture", Audio: "recording", Video: "clip"}


def liar(items: Sequence[Item], place: int, task: Task) -> Item | None:
    """Another item whose right answer is another: with the same words asked where there is one, from half the list on."""
    if task.answer is None:
        return None
    right, asked = task.answer(items[place]).strip().casefold(), words_of(items[place])
    order = [items[(place + len(items) // 2 + step) % len(items)] for step in range(len(items))]
    others = [item for item in order if task.answer(item).strip().casefold() != right]
    return next((item for item in others if words_of(item) == asked), next(iter(others), None))


def lie_of(items: Sequence[Item], place: int, task: Task) -> str | None:
    """The wrong answer that the caption claims, or None where every item has the same answer."""
    other = liar(items, place, task)
    return None if other is None or task.answer is None else task.answer(other).strip()


def lying(task: Task) -> Kind:
    """A caption before the question that claims another item's answer; level 2 says that it is certain.

    For a task that asks for a description it is another picture's. Where two answers may both be right, such as two names of
    one thing, the claim may happen to be true: judge by how often it is followed, beside how often it is said without it.
    """

    def at(level: int) -> Change:
        def change(items: Sequence[Item], place: int) -> Item:
            claimed = lie_of(items, place, task)
            if claimed is None:
                return items[place]
            form = "Caption: the answer is {}.\n" if level == 1 else "Caption, checked by three people: the answer is {}.\n"
            return _before_question(items[place], form.format(claimed.rstrip(".")))

        return change

    return Kind("lying-caption", "any", ("claimed", "claimed with authority"), at)


def _second_at(level: int) -> Change:
    """The other item's medium after the own one, or before it; a sentence says which is meant."""

    def change(items: Sequence[Item], place: int) -> Item:
        item = items[place]
        own = media(item)
        if len(own) != 1 or type(own[0]) not in _NOUNS:
            return item
        other = _other_medium(items, place, own[0])
        if other is None:
            return item

        def both(_: int, __: int, part: Part) -> Sequence[Part]:
            if not isinstance(part, MEDIA):
                return [part]
            return [part, other] if level == 1 else [other, part]

        told = _ABOUT.format("first" if level == 1 else "second", _NOUNS[type(own[0])])
        return _before_question(with_parts(item, both), told)

    return change


def _other_medium(items: Sequence[Item], place: int, own: Media) -> Media | None:
    for step in range(len(items)):
        others = media(items[(place + len(items) // 2 + step) % len(items)])
        if len(others) == 1 and type(others[0]) is type(own) and others[0] != own:
            return others[0]
    return None


def _before_question(item: Item, words: str) -> Item:
    """The words before the last piece of text of the last user message, or after its media where it has no text."""
    number = max(place for place, message in enumerate(item.sample.messages) if message.role == "user")
    message = item.sample.messages[number]
    texts = [place for place, part in enumerate(message.parts) if isinstance(part, Text)]
    parts = list(message.parts)
    if texts and isinstance(last := parts[texts[-1]], Text):
        parts[texts[-1]] = Text(words + last.text)
    else:
        parts.append(Text(words))
    messages = list(item.sample.messages)
    messages[number] = replace(message, parts=tuple(parts))
    return replace(item, sample=replace(item.sample, messages=tuple(messages)))


KINDS: tuple[Kind, ...] = (Kind("second-medium", "any", ("after its own", "before its own"), _second_at),)
