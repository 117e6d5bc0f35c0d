"""Word and character error rate, as jiwer 4 counts them: edits over the length of what was said."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sensorium.errors import RequestError
from sensorium.estimate import Rows
from sensorium.evaluation.metrics.edits import edits

Normal = Callable[[str], str]


def plain(text: str) -> str:
    """The text as it is: case and punctuation count. `spoken.whisper_english` is what speech recognisers are judged with."""
    return text


def word_rows(heard: Sequence[str], said: Sequence[str], normal: Normal = plain) -> Rows:
    """Of each recording how many words are wrong, missing or too many, and how many were said, `(n, 2)`.

    Raises:
        RequestError: not equally many.
    """
    return _rows([normal(text).split() for text in heard], [normal(text).split() for text in said])


def character_rows(heard: Sequence[str], said: Sequence[str], normal: Normal = plain) -> Rows:
    """The same of characters; spaces count, but not those at the ends.

    Raises:
        RequestError: not equally many.
    """
    return _rows([normal(text).strip() for text in heard], [normal(text).strip() for text in said])


def error_rate(rows: Rows) -> float:
    """The sum of edits over the sum of lengths, which can exceed 1; where nothing was said, the number of edits itself."""
    wrong, length = rows.sum(0).tolist()
    return float(wrong / length if length else wrong)


def _rows(heard: Sequence[Sequence[str]], said: Sequence[Sequence[str]]) -> Rows:
    if len(heard) != len(said):
        raise RequestError("transcripts", f"are {len(heard)} for {len(said)} recordings", "Give one for each")
    return np.array([(edits(one, two), len(two)) for one, two in zip(heard, said, strict=True)], dtype=np.float64).reshape(
        -1, 2
    )
