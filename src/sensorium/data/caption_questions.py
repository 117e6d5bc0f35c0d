"""Questions that the captions of a photo answer alike: how many of a thing there are, and what colour it is.

A number or a colour is believed where at least two captions give it and none gives another; a plural without a number speaks
against every number. Answers are short: "2", "Black and white".
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple


class CaptionQuestion(NamedTuple):
    """`photo` counts the rows of captions that were given; `kind` is "count" or "colour"."""

    photo: int
    kind: str
    question: str
    answer: str


_NUMBERS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}
_COUNTED = {
    "dogs": ("dog puppy", "dogs puppies"),
    "men": ("man guy", "men guys"),
    "women": ("woman lady", "women ladies"),
    "boys": ("boy", "boys"),
    "girls": ("girl", "girls"),
    "children": ("child kid toddler", "children kids toddlers"),
    "people": ("person", "people"),
    "horses": ("horse", "horses"),
    "birds": ("bird", "birds"),
    "players": ("player", "players"),
    "bikes": ("bike bicycle", "bikes bicycles"),
    "cars": ("car", "cars"),
}
_MORE = frozenset({"another", "other", "others", "several", "many", "group", "pair", "couple", "crowd", "some", "both", "each"})
_COLOURS = frozenset(
    {"black", "white", "red", "blue", "green", "yellow", "brown", "orange", "pink", "purple", "gray", "grey", "tan", "golden"}
)
_ONE = (
    "dog shirt car bike dress jacket hat ball helmet coat horse bird sweater boat truck cap toy collar kayak frisbee "
    "bicycle motorcycle swimsuit suit umbrella uniform couch"
)
_SEVERAL = "pants shorts trunks jeans uniforms shirts overalls"
_COLOURED = {**dict.fromkeys(_ONE.split(), "is"), **dict.fromkeys(_SEVERAL.split(), "are")}
_COUNT_WORDINGS = ("How many {} are in the photo?", "How many {} are there?", "How many {}?")
_COLOUR_WORDINGS = ("What color {} the {}?", "What colour {} the {}?", "Which color {} the {}?")
COUNTED: Mapping[str, tuple[str, str]] = MappingProxyType(_COUNTED)
"""Things that are counted, with their words for one and for several."""


def counts_named(captions: Sequence[str]) -> dict[str, int]:
    """How many of which things the captions agree that there are."""
    found: dict[str, int] = {}
    for thing, (single, several) in COUNTED.items():
        given = [count for caption in captions for count in _counts(_words(caption), single.split(), several.split())]
        if len(given) > 1 and len(set(given)) == 1 and given[0] > 0 and (given[0] > 1 or thing != "people"):
            found[thing] = given[0]
    return found


def colours_named(captions: Sequence[str]) -> dict[str, str]:
    """Which things have which colour, as far as the captions agree."""
    given: dict[str, list[str]] = {}
    for caption in captions:
        for thing, colour in dict(_colours(_words(caption))).items():
            given.setdefault(thing, []).append(colour)
    return {thing: colours[0] for thing, colours in given.items() if len(colours) > 1 and len(set(colours)) == 1}


def caption_questions(photos: Sequence[Sequence[str]], seed: int = 0) -> list[CaptionQuestion]:
    """Questions about photos, given the captions of each, in the order of the photos.

    One of a thing is asked no more often than several of it: else "1" would always be a good guess.
    """
    chance = random.Random(seed)
    asked: list[list[CaptionQuestion]] = [[] for _ in photos]
    counts = [counts_named(captions) for captions in photos]
    for thing in COUNTED:
        alone = [index for index, found in enumerate(counts) if found.get(thing) == 1]
        several = [index for index, found in enumerate(counts) if found.get(thing, 1) > 1]
        for index in several + chance.sample(alone, min(len(alone), len(several))):
            question = chance.choice(_COUNT_WORDINGS).format(thing)
            asked[index].append(CaptionQuestion(index, "count", question, str(counts[index][thing])))
    for index, captions in enumerate(photos):
        for thing, colour in colours_named(captions).items():
            question = chance.choice(_COLOUR_WORDINGS).format(_COLOURED[thing], thing)
            asked[index].append(CaptionQuestion(index, "colour", question, colour.capitalize()))
    return [question for questions in asked for question in questions]


def _words(caption: str) -> list[str]:
    return re.findall("[a-z]+", caption.lower())


def _counts(words: Sequence[str], single: Sequence[str], several: Sequence[str]) -> Iterator[int]:
    """What one caption says of a thing's number; 0 where it does not say how many."""
    for place, word in enumerate(words):
        if word in single or word in several:
            before = [_NUMBERS[earlier] for earlier in words[max(0, place - 3) : place] if earlier in _NUMBERS]
            vague = word in single and not _MORE.isdisjoint(words)
            count = before[-1] if before and not vague else 0
            yield count if (count == 1) == (word in single) else 0


def _colours(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each thing of one caption with its colour, which stands at most one word before it."""
    for place, word in enumerate(words):
        if word not in _COLOURED:
            continue
        near = [index for index in (place - 1, place - 2) if index >= 0 and words[index] in _COLOURS]
        if near and not (near[0] == place - 2 and words[place - 1] in _COLOURED):
            last = near[0]
            colour = words[last].replace("grey", "gray")
            pair = last > 1 and words[last - 1] == "and" and words[last - 2] in _COLOURS
            yield word, f"{words[last - 2].replace('grey', 'gray')} and {colour}" if pair else colour
