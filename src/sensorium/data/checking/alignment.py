"""Captions that do not fit their picture, by a model that puts both into one space; what is unfit is measured on the data.

Each picture is scored with its own caption and with captions of other rows. True scores are a mixture of pairs that fit and of
pairs that are like shuffled ones (Efron et al. 2001, "Empirical Bayes analysis of a microarray experiment"); how many are of
the second kind shows below a quantile of the shuffled scores, which pairs that fit hardly reach. The limit is the highest score
at which nine tenths of what lies below it do not fit. Where the model can hardly tell true from shuffled, nothing is said.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sensorium.data.checking.words import text_of
from sensorium.data.fault import Fault
from sensorium.parts import Image, Message, Sample, Text

Vectors = NDArray[np.float32]
Embed = Callable[[Sequence[Message]], Vectors]
"""Messages to unit vectors `(n, dim)` of one space."""

BLOCK = 64
_OTHERS = 8
_WORDS = 4
_TELLS = 0.8
_CLEAR = 0.995
_PURE, _HIGHEST = 0.9, 0.98
_FEWEST = 20


@dataclass(slots=True)
class Alignment:
    """Scores pairs in blocks; of each pair only two numbers and its place are kept."""

    embed: Embed
    _waiting: list[tuple[Image, str, str, int, str]] = field(default_factory=list)
    _true: array[float] = field(default_factory=lambda: array("f"))
    _false: array[float] = field(default_factory=lambda: array("f"))
    _files: list[str] = field(default_factory=list)
    _places: array[int] = field(default_factory=lambda: array("q"))
    _fields: array[int] = field(default_factory=lambda: array("q"))

    def __call__(self, sample: Sample, file: str, row: int) -> None:
        """Take a row into account, if it is one picture and one sentence about it."""
        pair = captioned(sample)
        if pair is None:
            return
        image, caption, field_name = pair
        self._waiting.append((image, caption, file, row, field_name))
        if len(self._waiting) >= BLOCK:
            self._score()

    def end(self, note: Callable[[str], None]) -> Iterator[Fault]:
        """The pairs that do not fit; `note` is told how well the model judges this data."""
        self._score()
        true, false = np.asarray(self._true), np.asarray(self._false)
        if len(true) < _FEWEST:
            note(f"alignment: {len(true)} captioned pictures are too few to judge ({_FEWEST} are needed)")
            return
        tells = _separation(true, false)
        if tells < _TELLS:
            note(f"alignment: the model cannot judge these pairs (it ranks a true one above a shuffled one in {tells:.0%})")
            return
        unfit, limit = threshold(true, false)
        note(f"alignment: {len(true):,} pairs judged, true above shuffled in {tells:.0%}; about {unfit:.1%} do not fit")
        for place in np.flatnonzero(true <= limit):
            file = self._files[int(self._places[place]) >> 40]
            row = int(self._places[place]) & (1 << 40) - 1
            reason = (
                f"fits its picture no better than another row's would ({true[place]:.3f}; shuffled pairs reach {limit:.3f})"
            )
            fix = "Look at the pair; remove or correct it"
            yield Fault(file, row, f"messages[{self._fields[place]}]", "misfit-caption", reason, fix)

    def _score(self) -> None:
        rows, self._waiting = self._waiting, []
        if not rows:
            return
        images = self.embed([Message("user", (row[0],)) for row in rows])
        texts = self.embed([Message("user", (Text(row[1]),)) for row in rows])
        scores = images @ texts.T
        for place, (_, caption, file, number, message) in enumerate(rows):
            self._true.append(float(scores[place, place]))
            if not self._files or self._files[-1] != file:
                self._files.append(file)
            self._places.append(len(self._files) - 1 << 40 | number)
            self._fields.append(int(message))
            for step in range(1, min(_OTHERS, len(rows) - 1) + 1):
                other = (place + step) % len(rows)
                if rows[other][1] != caption:
                    self._false.append(float(scores[place, other]))


def captioned(sample: Sample) -> tuple[Image, str, str] | None:
    """The one picture of a row, the sentence of at least four words that answers it, and the number of that message."""
    images = [part for message in sample.messages for part in message.parts if isinstance(part, Image)]
    answers = [(number, text_of(message)) for number, message in enumerate(sample.messages) if message.role == "assistant"]
    if len(images) != 1 or len(answers) != 1 or len(answers[0][1].split()) < _WORDS:
        return None
    return images[0], answers[0][1], str(answers[0][0])


def threshold(true: NDArray[np.float32], false: NDArray[np.float32]) -> tuple[float, float]:
    """The estimated share of pairs that do not fit, and the score up to which pairs are reported (minus infinity for none).

    The quantile below which pairs that fit are not expected is the median of the shuffled scores, or their ninth decile where
    even the lower quarter of the true scores stands clear of the shuffled ones.
    """
    shuffled, own = np.sort(false), np.sort(true)
    clear = float(np.searchsorted(shuffled, np.quantile(own, 0.25)) / len(shuffled)) >= _CLEAR
    level = 0.9 if clear else 0.5
    unfit = min(1.0, float(np.searchsorted(own, np.quantile(shuffled, level), "right")) / len(own) / level)
    if not unfit:
        return 0.0, float("-inf")
    limit = float("-inf")
    for share in np.linspace(level, _HIGHEST, 51):
        score = float(np.quantile(shuffled, share))
        reported = float(np.searchsorted(own, score, "right")) / len(own)
        if reported and unfit * share / reported >= _PURE:
            limit = score
    return unfit, limit


def _separation(true: NDArray[np.float32], false: NDArray[np.float32]) -> float:
    """The share of (true, shuffled) pairs in which the true one scores higher: the area under the ROC curve."""
    if not len(false):
        return 0.0
    ordered = np.sort(false)
    below, upto = np.searchsorted(ordered, true, "left"), np.searchsorted(ordered, true, "right")
    return float((below + upto).mean() / 2 / len(false))
