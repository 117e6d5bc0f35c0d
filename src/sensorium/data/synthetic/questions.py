"""Questions about a scene with their answers, worked out from its graph, and the box that holds the evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from sensorium.data.synthetic.dice import Dice
from sensorium.data.synthetic.sound import PITCH
from sensorium.data.synthetic.thing import COLOURS, RELATIONS, SHAPES, Box, Thing, around, related
from sensorium.data.synthetic.words import ADJECTIVES, NOUNS, SIDES, Language, Phrase, phrase

AnswerType = Literal["number", "colour", "shape", "thing", "text", "yesno"]
Medium = Literal["image", "audio", "video"]


class Question(NamedTuple):
    """One question about a scene.

    Args:
        answer: as it is trained: `2`, `red`, `circle`, `red circle`, `cat`, `yes`.
        box: `(y0, x0, y1, x1)` of the things that the answer rests on; None where it rests on there being none.
        medium: what has to be seen or heard to answer.
    """

    kind: str
    question: str
    answer: str
    box: Box | None
    type: AnswerType = "yesno"
    medium: Medium = "image"
    language: Language = "en"


class _Asked(NamedTuple):
    """A question before it is worded."""

    english: str
    german: str
    answer: str | int | bool | Phrase
    evidence: Sequence[Thing]
    type: AnswerType = "yesno"
    medium: Medium = "image"


def questions(things: Sequence[Thing], language: Language, dice: Dice) -> tuple[Question, ...]:
    """One question of each kind that the scene allows, in the order of `KINDS`."""
    asked = ((kind, make(things, dice)) for kind, make in _MAKERS.items())
    return tuple(_worded(kind, item, language) for kind, item in asked if item is not None)


def _worded(kind: str, asked: _Asked, language: Language) -> Question:
    text = asked.english if language == "en" else asked.german
    box = around(asked.evidence) if asked.evidence else None
    return Question(kind, text, _answer(asked, language), box, asked.type, asked.medium, language)


def _answer(asked: _Asked, language: Language) -> str:
    answer = asked.answer
    if isinstance(answer, bool):
        return {"en": ("no", "yes"), "de": ("nein", "ja")}[language][answer]
    if isinstance(answer, Phrase):
        return answer.bare(language)
    if language == "de" and asked.type == "colour":
        return ADJECTIVES[str(answer)]
    return NOUNS[str(answer)].one if language == "de" and asked.type == "shape" else str(answer)


def _counting(things: Sequence[Thing], dice: Dice) -> _Asked:
    if dice.chance(0.3):
        return _Asked("How many things are there?", "Wie viele Dinge gibt es?", len(things), things, "number")
    near, far = dice.pick(things), dice.chance(0.25)
    if dice.chance(0.5):
        colour = dice.pick(tuple(COLOURS)) if far else near.colour
        what, found = Phrase("thing", (colour,)), [thing for thing in things if thing.colour == colour]
    else:
        shape = dice.pick(SHAPES) if far else near.shape
        what, found = Phrase(shape), [thing for thing in things if thing.shape == shape]
    return _Asked(
        f"How many {what.many('en')} are there?", f"Wie viele {what.many('de')} gibt es?", len(found), found, "number"
    )


def _colour(things: Sequence[Thing], dice: Dice) -> _Asked | None:
    shapes = [thing.shape for thing in things]
    if not (sole := [thing for thing in things if shapes.count(thing.shape) == 1]):
        return None
    thing = dice.pick(sole)
    what = Phrase(thing.shape)
    return _Asked(f"What colour is {what.the('en')}?", f"Welche Farbe hat {what.the('de')}?", thing.colour, [thing], "colour")


def _shape(things: Sequence[Thing], dice: Dice) -> _Asked | None:
    colours = [thing.colour for thing in things]
    if not (sole := [thing for thing in things if colours.count(thing.colour) == 1]):
        return None
    thing = dice.pick(sole)
    what = Phrase("thing", (thing.colour,))
    return _Asked(f"What shape is {what.the('en')}?", f"Welche Form hat {what.the('de')}?", thing.shape, [thing], "shape")


def _relation(things: Sequence[Thing], dice: Dice) -> _Asked | None:
    pairs = [
        (one, other, relation)
        for one in things
        for other in things
        for relation in RELATIONS
        if one is not other and related(one, relation, other)
    ]
    if not pairs:
        return None
    one, other, relation = dice.pick(pairs)
    right = dice.chance(0.5)
    if not right:
        one, other = other, one
    first, second = phrase(one), phrase(other)
    return _Asked(
        f"Is {first.the('en')} {SIDES['en'][relation]} {second.the('en')}?",
        f"Ist {first.the('de')} {SIDES['de'][relation]} {second.the('de', 'dative')}?",
        right,
        [one, other],
    )


def _text(things: Sequence[Thing], dice: Dice) -> _Asked | None:
    if not (written := [thing for thing in things if thing.text]):
        return None
    thing = dice.pick(written)
    what = phrase(thing)
    return _Asked(
        f"What is written on {what.the('en')}?", f"Was steht auf {what.the('de', 'dative')}?", thing.text, [thing], "text"
    )


def _order(things: Sequence[Thing], dice: Dice) -> _Asked | None:
    if len(things) < 2:
        return None
    first = dice.chance(0.5)
    thing = things[0] if first else things[-1]
    return _Asked(
        f"Which thing appears {'first' if first else 'last'}?",
        f"Welches Ding erscheint {'zuerst' if first else 'zuletzt'}?",
        phrase(thing),
        [thing],
        "thing",
        "video",
    )


def _sound(things: Sequence[Thing], dice: Dice) -> _Asked:
    if len(things) < 2 or things[0].colour == things[1].colour or dice.chance(0.3):
        return _Asked("How many tones are there?", "Wie viele Töne gibt es?", len(things), things, "number", "audio")
    higher = PITCH[things[0].colour] > PITCH[things[1].colour]
    ask = dice.chance(0.5)
    return _Asked(
        f"Is the first tone {'higher' if ask else 'lower'} than the second?",
        f"Ist der erste Ton {'höher' if ask else 'tiefer'} als der zweite?",
        higher is ask,
        things[:2],
        "yesno",
        "audio",
    )


def _negation(things: Sequence[Thing], dice: Dice) -> _Asked:
    near = dice.pick(things)
    others = [thing for thing in things if thing.shape == near.shape and thing.colour != near.colour]
    ask = near.colour if others or dice.chance(0.5) else dice.pick([colour for colour in COLOURS if colour != near.colour])
    found = [thing for thing in things if thing.shape == near.shape and thing.colour != ask]
    what = Phrase(near.shape)
    return _Asked(
        f"Is there {what.a('en')} that is not {ask}?",
        f"Gibt es {what.a('de', 'accusative')}, {_WHO[NOUNS[near.shape].gender]} nicht {ADJECTIVES[ask]} ist?",
        bool(found),
        found,
    )


def _existence(things: Sequence[Thing], dice: Dice) -> _Asked:
    near, right = dice.pick(things), dice.chance(0.5)
    colour, shape = near.pair
    present = {thing.pair for thing in things}
    while not right and (colour, shape) in present:
        other = dice.pick(things)
        colour, shape = dice.pick(
            ((near.colour, other.shape), (dice.pick(tuple(COLOURS)), near.shape), (near.colour, dice.pick(SHAPES)))
        )
    found = [thing for thing in things if thing.pair == (colour, shape)]
    what = Phrase(shape, (colour,))
    return _Asked(f"Is there {what.a('en')}?", f"Gibt es {what.a('de', 'accusative')}?", right, found)


def _comparison(things: Sequence[Thing], dice: Dice) -> _Asked | None:
    large, small = ([thing for thing in things if thing.size == size] for size in ("large", "small"))
    if not large or not small:
        return None
    one, other = dice.pick(large), dice.pick(small)
    first, second = dice.shuffled((one, other))
    wanted = dice.pick((one, other))
    english, german = ("larger", "größer") if wanted is one else ("smaller", "kleiner")
    return _Asked(
        f"Which is {english}, {phrase(first).the('en')} or {phrase(second).the('en')}?",
        f"Was ist {german}, {phrase(first).the('de')} oder {phrase(second).the('de')}?",
        phrase(wanted),
        [one, other],
        "thing",
    )


_WHO = {"m": "der", "f": "die", "n": "das"}
_MAKERS: Mapping[str, Callable[[Sequence[Thing], Dice], _Asked | None]] = {
    "counting": _counting,
    "colour": _colour,
    "shape": _shape,
    "relation": _relation,
    "text": _text,
    "order": _order,
    "sound": _sound,
    "negation": _negation,
    "existence": _existence,
    "comparison": _comparison,
}
KINDS = tuple(_MAKERS)
"""The kinds of questions."""
