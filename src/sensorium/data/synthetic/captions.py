"""What may be said of a scene: several wordings in each language that name every thing, and one that names a thing too many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sensorium.data.synthetic.dice import Dice
from sensorium.data.synthetic.thing import COLOURS, RELATIONS, SHAPES, Thing, related
from sensorium.data.synthetic.words import NUMBERS, SIDES, Language, Phrase, listed, phrase, place, sentence


class Hallucination(NamedTuple):
    """A caption that names one thing which is not there, and how it names it."""

    caption: str
    thing: Thing
    phrase: str


def captions(things: Sequence[Thing], language: Language) -> tuple[str, ...]:
    """Four wordings: a full list, places, a count, and a relation (or a short form where there is but one thing)."""
    return tuple(wording(things, language) for wording in (_list, _places, _count, _relation))


def hallucinate(things: Sequence[Thing], language: Language, dice: Dice) -> Hallucination:
    """A caption of the things and one more, whose colour and shape are not together in the scene.

    Half of the absent things borrow the colour or the shape of a present one: the near misses that a model makes.
    """
    present = {thing.pair for thing in things}
    while True:
        colour, shape = dice.pick(tuple(COLOURS)), dice.pick(SHAPES)
        if dice.chance(0.5):
            near = dice.pick(things)
            colour, shape = (near.colour, shape) if dice.chance(0.5) else (colour, near.shape)
        if (colour, shape) not in present:
            break
    extra = Thing(shape, colour, dice.pick(("small", "large")), (0.0, 0.0, 0.0, 0.0))
    said = list(things)
    said.insert(dice.below(len(things) + 1), extra)
    return Hallucination(_list(said, language), extra, phrase(extra, full=True).a(language))


def name(thing: Thing, language: Language) -> str:
    """The class caption of zero-shot naming: `A red circle.`"""
    return sentence(phrase(thing).a(language))


def _list(things: Sequence[Thing], language: Language) -> str:
    return sentence(listed([phrase(thing, full=True).a(language) for thing in things], language))


def _places(things: Sequence[Thing], language: Language) -> str:
    said = [f"{_with_text(thing).a(language)} {place(thing, language)}" for thing in things]
    if language == "en":
        return sentence(f"there is {listed(said, language)}")
    said = [f"{place(thing, language)} {_with_text(thing).a(language)}" for thing in things]
    return sentence(f"zu sehen {'ist' if len(said) == 1 else 'sind'} {listed(said, language)}")


def _count(things: Sequence[Thing], language: Language) -> str:
    number = NUMBERS[language][len(things)]
    if language == "en":
        head = f"a picture of {number} thing{'s' if len(things) > 1 else ''}"
        return sentence(f"{head}: {listed([_with_text(thing).a(language) for thing in reversed(things)], language)}")
    head = f"ein Bild mit {number if len(things) > 1 else 'einem'} {'Dingen' if len(things) > 1 else 'Ding'}"
    return sentence(f"{head}: {listed([_with_text(thing).a(language) for thing in reversed(things)], language)}")


def _relation(things: Sequence[Thing], language: Language) -> str:
    found = next(
        (
            (one, relation, other)
            for one in things
            for other in things
            for relation in RELATIONS
            if one is not other and related(one, relation, other)
        ),
        None,
    )
    if found is None:
        return sentence(listed([_with_text(thing).a(language) for thing in things], language))
    one, relation, other = found
    verb = "is" if language == "en" else "ist"
    said = f"{_with_text(one).a(language)} {verb} {SIDES[language][relation]} {_with_text(other).a(language, 'dative')}"
    rest = [_with_text(thing).a(language) for thing in things if thing is not one and thing is not other]
    if not rest:
        return sentence(said)
    more = f"there is also {listed(rest, language)}" if language == "en" else f"dazu {listed(rest, language)}"
    return sentence(f"{said}; {more}")


def _with_text(thing: Thing) -> Phrase:
    return Phrase(thing.shape, (thing.colour,), thing.text)
