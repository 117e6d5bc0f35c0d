"""VQA accuracy (Antol et al. 2015, Goyal et al. 2017): right as far as ten people gave the answer, officially normalised."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sensorium.errors import RequestError

_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_NUMBER_WORDS = ("none", "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS = dict(zip(_NUMBER_WORDS, [0, *range(11)], strict=True))
_ARTICLES = frozenset(("a", "an", "the"))
_STOPS_AT_MOST = 32
"""The official program hands a flag to the place of a count, so that it takes away this many full stops and no more."""

_SHORTENED = (
    "ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll how's isn't "
    "it'd it'll ma'am mightn't might've mustn't must've needn't not've o'clock oughtn't shan't should've shouldn't "
    "somebody'll somebody's someone'd someone'll someone's something'd something'll that's there'd there're there's they'd "
    "they'll they're they've 'twas wasn't we've weren't what'll what're what's what've when's where'd where's where've "
    "who'd who'll who's who've why'll why're why's won't would've wouldn't y'all you'd you'll you're you've couldn't've "
    "hadn't've he'd've it'd've mightn't've she'd've shouldn't've somebody'd've someone'd've something'd've there'd've "
    "they'd've we'd've who'd've wouldn't've y'all'll y'all'd've you'd've"
)


def _contractions() -> dict[str, str]:
    """With one apostrophe missing, to the form with all of them; as the official table has it, in which `somebody'd` loses
    its own and `'ow's'at` is found under three spellings.
    """
    table = {}
    for form in _SHORTENED.split():
        for place in [at for at, letter in enumerate(form) if letter == "'"]:
            table[form[:place] + form[place + 1 :]] = form
    return table | {"somebody'd": "somebodyd"} | dict.fromkeys(("ow's'at", "'ows'at", "'ow'sat"), "'ow's'at")


_CONTRACTIONS = _contractions()


def without_punctuation(text: str) -> str:
    """Marks go, and leave a space unless one stands beside such a mark or the text has a number with a comma; full stops go
    unless a digit follows.
    """
    number = re.search(r"\d,\d", text)
    bare = text
    for mark in _MARKS:
        near_space = f"{mark} " in text or f" {mark}" in text
        bare = bare.replace(mark, "" if near_space or number else " ")
    return re.sub(r"\.(?!\d)", "", bare, count=_STOPS_AT_MOST)


def official(text: str) -> str:
    """An answer as the official program compares it: also lower case, number words to ten as digits, no articles, apostrophes
    where contractions lack them.
    """
    words = without_punctuation(text.replace("\n", " ").replace("\t", " ").strip()).lower().split()
    digits = [str(_NUMBERS.get(word, word)) for word in words]
    return " ".join(_CONTRACTIONS.get(word, word) for word in digits if word not in _ARTICLES)


def vqa_accuracy(answer: str, people: Sequence[str]) -> float:
    """The mean, over the people, of how many of the others gave the answer, three being enough for 1.

    As in the official program, people's answers lose their punctuation only where they are not all the same, and nothing else:
    an answer of theirs in capitals or with an article is matched by nobody.

    Args:
        people: everyone's answer, ten in VQA.

    Raises:
        RequestError: nobody's.
    """
    if not people:
        raise RequestError("vqa accuracy", "got no person's answer", "Give them all, or judge by exact_match")
    theirs = [without_punctuation(text) for text in people] if len(set(people)) > 1 else list(people)
    mine = official(answer)
    same = sum(text == mine for text in theirs)
    return sum(min(1.0, (same - (text == mine)) / 3) for text in theirs) / len(theirs)
