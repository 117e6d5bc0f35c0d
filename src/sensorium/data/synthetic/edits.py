"""Minimal pairs: the same scene with one thing changed, as Img-Diff does (Jiao et al. 2024, arXiv:2408.04594)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sensorium.data.synthetic.dice import Dice
from sensorium.data.synthetic.thing import COLOURS, HELD_OUT, SHAPES, Box, Thing
from sensorium.data.synthetic.words import Language, phrase


class Change(NamedTuple):
    """What is different.

    Args:
        kind: `colour`, `shape` or `removal`.
        place: of the thing in the order of the scene before. after: None where it is gone.
        box: where the two pictures differ.
    """

    kind: str
    place: int
    before: Thing
    after: Thing | None
    box: Box

    def said(self, language: Language) -> str:
        """The change as a sentence."""
        if self.after is None:
            what = phrase(self.before).the(language)
            return f"{what.capitalize()} is gone." if language == "en" else f"{what[0].upper()}{what[1:]} ist weg."
        before, after = phrase(self.before).the(language), phrase(self.after)
        if language == "en":
            return f"{before.capitalize()} is now {after.a('en')}."
        return f"{before[0].upper()}{before[1:]} ist jetzt {after.a('de')}."


def change(things: Sequence[Thing], dice: Dice) -> tuple[tuple[Thing, ...], Change]:
    """The changed things, and how they changed. No pair is doubled and none becomes a held-out one."""
    index = dice.below(len(things))
    before = things[index]
    kind = dice.pick(("colour", "shape", "removal") if len(things) > 1 else ("colour", "shape"))
    if kind == "removal":
        return (*things[:index], *things[index + 1 :]), Change(kind, index, before, None, before.box)
    taken = {thing.pair for thing in things} | set(HELD_OUT)
    if kind == "colour":
        after = before._replace(colour=dice.pick([name for name in COLOURS if (name, before.shape) not in taken]))
    else:
        after = before._replace(shape=dice.pick([name for name in SHAPES if (before.colour, name) not in taken]))
    return (*things[:index], after, *things[index + 1 :]), Change(kind, index, before, after, before.box)
