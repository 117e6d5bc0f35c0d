"""Words with the times when they were said, from the tokens of a chunk of sound."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sensorium.language.dictation import STEP
from sensorium.media.audio import Sound
from sensorium.parts import Reading

Times = Literal["timestamps", "proportional"]
Spell = Callable[[Iterable[int]], str]
"""Tokens as text, timestamps left out, without spaces at its ends."""
Span = tuple[float, float, str, tuple[int, ...]]
"""Start and stop in seconds of the file, the words, and their tokens."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Words and when they were said.

    Args:
        start, stop: in seconds of the file. text: empty where nobody speaks.
        tokens: of the words. logprob, no_speech: of all the chunk: the tokens' mean, and the probability that nobody speaks.
        chunk: the stretch that was heard in one go; the chunks of all segments together are the whole sound.
        times: where `start` and `stop` come from: the model's timestamps, or the chunk's length shared out by letters.
        temperature: of the search that found the words; above 0 the first tries were doubtful.
    """

    start: float
    stop: float
    text: str
    tokens: tuple[int, ...]
    logprob: float
    no_speech: float
    chunk: tuple[float, float]
    times: Times
    temperature: float = 0.0


def readings(segments: Iterable[Segment]) -> list[Reading]:
    """Segments with words as `Reading(text, (t0, t1), confidence)`; confidence: the mean probability of a token."""
    return [
        Reading(segment.text, (segment.start, segment.stop), math.exp(segment.logprob)) for segment in segments if segment.text
    ]


def covered(segments: Iterable[Segment]) -> float:
    """Seconds of sound that were listened to."""
    return sum(stop - start for start, stop in {segment.chunk for segment in segments})


def timed(piece: Sound, tokens: Sequence[int], first_time: int, spell: Spell) -> list[Span]:
    """Words between two timestamps, which are `first_time` and above; those after the last one run to the end of the piece."""
    spans: list[Span] = []
    start, words = piece.start, list[int]()
    for token in [*tokens, None]:
        if token is not None and token < first_time:
            words.append(token)
            continue
        time = piece.stop if token is None else min(piece.start + (token - first_time) * STEP, piece.stop)
        if text := spell(words):
            spans.append((start, max(time, start), text, tuple(words)))
        start, words = time, []
    return spans


def shared(piece: Sound, tokens: Sequence[int], spell: Spell) -> list[Span]:
    """Sentences, each with its share of the piece's seconds by letters."""
    sentences: list[list[int]] = [[]]
    for token in tokens:
        sentences[-1].append(token)
        if re.search(r"[.!?]\s*$", spell([token])):
            sentences.append([])
    texts = [(spell(words), tuple(words)) for words in sentences]
    letters = sum(len(text) for text, _ in texts)
    spans: list[Span] = []
    done = 0
    for text, words in texts:
        if text:
            ends = (done, done + len(text))
            start, stop = (piece.start + piece.seconds * end / letters for end in ends)
            spans.append((start, stop, text, words))
            done = ends[1]
    return spans


def silent(piece: Sound, no_speech: float) -> Segment:
    """The segment of a chunk in which nobody speaks."""
    return Segment(piece.start, piece.stop, "", (), 0.0, no_speech, (piece.start, piece.stop), "proportional")


def heard_up_to(segments: Sequence[Segment], stop: float) -> list[Segment]:
    """The segments of a chunk that was heard up to `stop` only."""
    return [replace(segment, chunk=(segment.chunk[0], stop)) for segment in segments]
