"""Objects that are named but not there: CHAIR of captions, and the yes-or-no questions of POPE.

Rows of counts for `estimate`; the measures are shares of their sums.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import numpy as np

from sensorium.data.photo_things import THINGS
from sensorium.errors import RequestError
from sensorium.estimate import Rows


def things_named(text: str) -> list[str]:
    """The things of `data.photo_things` that a caption names, in the table's order, each once."""
    words = set(_words(text))
    return [name for name, thing in THINGS.items() if words & thing.words]


def things_possible(references: Sequence[str]) -> frozenset[str]:
    """The things that people's captions of the same photo name, or may mean: naming one of these is no error."""
    words = {word for text in references for word in _words(text)}
    return frozenset(name for name, thing in THINGS.items() if words & (thing.words | thing.doubtful))


def chair_rows(named: Sequence[Sequence[str]], there: Sequence[Collection[str]]) -> Rows:
    """Of each caption how many objects it names, and how many of these are not there, `(n, 2)`; repetitions count.

    Raises:
        RequestError: not equally many.
    """
    if len(named) != len(there):
        raise RequestError("captions", f"are {len(named)}, for the objects of {len(there)} pictures", "Give both for each")
    counts = [(len(own), sum(name not in real for name in own)) for own, real in zip(named, there, strict=True)]
    return np.array(counts, dtype=np.float64).reshape(-1, 2)


def chair_i(rows: Rows) -> float:
    """The share of the objects named that are not there (Rohrbach et al. 2018, arXiv:1809.02156); 0 where none is named."""
    named, absent = rows.sum(0).tolist()
    return float(absent / named) if named else 0.0


def chair_s(rows: Rows) -> float:
    """The share of the captions that name an object which is not there."""
    return float((rows[:, 1] > 0).mean())


def pope_rows(said: Sequence[bool | None], true: Sequence[bool]) -> Rows:
    """Of each question whether the reply is yes, whether it is no, and whether yes is right, `(n, 3)`.

    A reply that could be read as neither is wrong, whatever is right. (The original program takes it for a yes.)

    Raises:
        RequestError: not equally many.
    """
    if len(said) != len(true):
        raise RequestError("replies", f"are {len(said)} for {len(true)} questions", "Give one for each")
    rows = [(reply is True, reply is False, right) for reply, right in zip(said, true, strict=True)]
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


def pope_accuracy(rows: Rows) -> float:
    """The share of right replies (Li et al. 2023, arXiv:2305.10355)."""
    return float((rows[:, 0] * rows[:, 2] + rows[:, 1] * (1 - rows[:, 2])).mean())


def pope_precision(rows: Rows) -> float:
    """The share of the replies yes that are right; 0 where there is none, as in scikit-learn."""
    yes = float(rows[:, 0].sum())
    return float((rows[:, 0] * rows[:, 2]).sum() / yes) if yes else 0.0


def pope_recall(rows: Rows) -> float:
    """The share of the objects there that are seen; 0 where there is none."""
    there = float(rows[:, 2].sum())
    return float((rows[:, 0] * rows[:, 2]).sum() / there) if there else 0.0


def pope_f1(rows: Rows) -> float:
    """The harmonic mean of the two."""
    both = float(rows[:, 0].sum() + rows[:, 2].sum())
    return 2 * float((rows[:, 0] * rows[:, 2]).sum()) / both if both else 0.0


def pope_yes(rows: Rows) -> float:
    """The share of replies yes: half is right, and a model that says yes always has 1."""
    return float(rows[:, 0].mean())


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())
