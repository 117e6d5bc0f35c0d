"""How answers are read out of replies, in the words that results carry; and the reading of boxes."""

from __future__ import annotations

import re

Box = tuple[float, float, float, float]
"""`(x0, y0, x1, y1)`."""

PLAIN = "the whole reply in lower case, without its final mark"
OFFICIAL = "the whole reply, normalised as VQA does: lower case, no articles or punctuation, numbers as digits"
YES_NO = "yes or no: its first word, or the only one of the two in it"
LIKELIER = "the likelier of 'Yes.' and 'No.'; of a model that tells no likelihoods: yes or no, as its reply says"
LETTER = "the option's letter alone, at the beginning, in brackets or after 'answer is'; or the one option said in full"
BOX = "its only list of four numbers: pixels, or shares of width and height where none is above 1"

_NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"
_BOX = re.compile(rf"[\[(]{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}[\])]")


def box(text: str) -> Box | None:
    """The one box that is given, corners in order."""
    found = _BOX.findall(text)
    if len(found) != 1:
        return None
    x0, y0, x1, y1 = map(float, found[0])
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)
