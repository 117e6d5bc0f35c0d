"""Few-shot prompting: solved examples, with their media and right answers, before each question."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from sensorium.errors import RequestError
from sensorium.evaluation.task import Item
from sensorium.evaluation.variant import Change, Variant, chance, media
from sensorium.parts import Message, Text

CURVE = (0, 1, 2, 4)
"""How many examples the points of a curve have."""


def with_shots(
    items: Sequence[Item], examples: Sequence[Item], k: int, answer: Callable[[Item], str], seed: int = 0
) -> list[Item]:
    """Each item with `k` solved examples before its conversation, its id unchanged.

    They are drawn for each item by itself, from its id and the seed; fewer are the first of more, so that a curve over `k` adds
    examples and exchanges none. An example never shares its item's id, cluster or media.

    Raises:
        RequestError: an item has fewer than `k` examples that may stand before it.
    """
    return [_with(item, _drawn(item, examples, k, seed), answer) for item in items] if k else list(items)


def shots_curve(
    examples: Sequence[Item], answer: Callable[[Item], str], seed: int = 0, counts: Sequence[int] = CURVE
) -> list[Variant]:
    """Variants `shots-0`, `shots-1`, ... of the curve `shots`."""
    return [Variant(f"shots-{k}", "shots", float(k), _shown(examples, k, answer, seed)) for k in counts]


def _shown(examples: Sequence[Item], k: int, answer: Callable[[Item], str], seed: int) -> Change:
    def change(items: Sequence[Item], place: int) -> Item:
        return with_shots([items[place]], examples, k, answer, seed)[0]

    return change


def _drawn(item: Item, examples: Sequence[Item], k: int, seed: int) -> list[Item]:
    """By trial, so that few of many examples are looked at; from all that are left when trials do not find enough."""
    draw = random.Random(chance(item, f"shots {seed}"))
    found: dict[int, Item] = {}
    for _ in range(50 * k if examples else 0):
        if len(found) == k:
            break
        place = draw.randrange(len(examples))
        if place not in found and _apart(item, examples[place]):
            found[place] = examples[place]
    if len(found) < k:
        rest = [place for place, other in enumerate(examples) if place not in found and _apart(item, other)]
        found |= {place: examples[place] for place in draw.sample(rest, min(k - len(found), len(rest)))}
    if len(found) < k:
        problem = f"has {len(found)} examples apart from its own picture, and {k} are wanted"
        raise RequestError(f"item {item.sample.id}", problem, f"Ask for at most {len(found)} shots")
    return list(found.values())


def _apart(item: Item, example: Item) -> bool:
    same = example.sample.id == item.sample.id or (bool(item.cluster) and example.cluster == item.cluster)
    own = media(item)
    return not same and not any(medium in own for medium in media(example))


def _with(item: Item, drawn: Sequence[Item], answer: Callable[[Item], str]) -> Item:
    before = [
        message for example in drawn for message in (*example.sample.messages, Message("assistant", (Text(answer(example)),)))
    ]
    return replace(item, sample=replace(item.sample, messages=(*before, *item.sample.messages)))
