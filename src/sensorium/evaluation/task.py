"""What is judged: items with what is right about them, and a function that scores one answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from sensorium.estimate import Rows
from sensorium.parts import Json, Sample
from sensorium.protocols import Sampling


@dataclass(frozen=True, slots=True)
class Item:
    """One question put to a model, or one thing to be found.

    Args:
        sample: the conversation up to the question; its id is unique within the task.
        gold: what is right, as plain JSON; only the task's own functions read it.
        cluster: what items share, such as their picture, which are drawn together by the bootstrap; "" is the item alone.
        choices: the answers to choose between, each in full, where the task is judged by likelihood.
    """

    sample: Sample
    gold: Json
    cluster: str = ""
    choices: tuple[str, ...] = ()


class Reply(NamedTuple):
    """What a model gave for one item.

    Args:
        text: its answer; the chosen one for a task with choices.
        finish: `stop`, `length`, `choice`, or `refused` where the model could not take the item; then `notes` say why.
        confidence: 0..1, or None where the model tells no probabilities.
        logprobs: of each choice, summed over its tokens.
        ranking: ids of the gallery, likeliest first, for a task with a gallery.
        notes: what was not read of the media, in the words of `usage`.
    """

    text: str
    finish: str = "stop"
    confidence: float | None = None
    logprobs: tuple[float, ...] = ()
    ranking: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


Scores = Mapping[str, float]
"""By name, 0..1 or any other number; the mean over items is estimated."""


class Corpus(NamedTuple):
    """A score of many answers at once that is no mean over them, such as BLEU.

    Args:
        rows: what of each item and reply goes into it, `(n, k)`.
        measure: the score of such rows, however often an item stands among them.
    """

    rows: Callable[[Sequence[Item], Sequence[Reply]], Rows]
    measure: Callable[[Rows], float]


@dataclass(frozen=True)
class Task:
    """One exam.

    Args:
        items: `(data folder, split)` to the items, in a fixed order. Raises RequestError where the data is not there.
        score: the scores of one reply, or None where no answer can be read from it: counted apart, never guessed.
        main: the score that stands for the task.
        missed: the scores of an item without a readable answer: 0 by name where it is not said, such as 1 for an error rate.
        corpus: further scores that are no means.
        gallery: what is to be found among, for a retrieval task; the model is then asked for vectors, not for text.
        answer: the right answer as text for few-shot examples and for the floors; None where no text stands for it.
        twins: other items drawn as those of the split were, which no training has seen; None where there are none to be had.
        sampling: how the answer is drawn; the prompt is in the items.
        splits: those there are; the first is used for examples, the last is judged when none is named.
        needs: the kinds of media that a model must take.
        extractor: how an answer is read, in words.
        transcript: what is said in a recording is asked for; a model's own speech recognition answers where it has one.
        version: raised when a score may change.
    """

    name: str
    about: str
    items: Callable[[Path, str], Iterable[Item]]
    score: Callable[[Item, Reply], Scores | None]
    main: str
    missed: Scores = field(default_factory=dict)
    corpus: Mapping[str, Corpus] = field(default_factory=dict)
    gallery: Callable[[Path, str], Iterable[Item]] | None = None
    answer: Callable[[Item], str] | None = None
    twins: Callable[[Path, str], Iterable[Item]] | None = None
    sampling: Sampling = field(default_factory=partial(Sampling, max_tokens=32))
    splits: tuple[str, ...] = ("test",)
    needs: tuple[str, ...] = ("image",)
    extractor: str = "the whole answer"
    transcript: bool = False
    version: str = "1"
