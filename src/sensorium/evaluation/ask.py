"""Items put to a model in batches: each answer is looked up in the journal first, and kept there as soon as it is given."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from sensorium.errors import MediaError, RequestError, SensoriumError
from sensorium.evaluation.journal import How, Journal, Vector
from sensorium.evaluation.subject import Subject
from sensorium.evaluation.task import Item, Reply, Task
from sensorium.parts import Answer, Message
from sensorium.protocols import Generates, Sampling, Scores, ScoresMany

Say = Callable[[int], None]
"""Told how many more items are done."""
RANKED = 100
"""Ids kept of a ranking, likeliest first."""
_REFUSALS = (RequestError, MediaError)
"""What makes an item one that the model cannot take; all else stops the run."""
_DIGITS = 6
"""Significant digits kept of probabilities: the last ones depend on what stood beside an item in its batch."""


def how(subject: Subject, task: Task, items: Sequence[Item]) -> How:
    """By vectors for a task with a gallery; by its ears where a transcript is asked for and it has them; by likelihood where
    there are choices and the model tells likelihoods; else by text.
    """
    if task.gallery is not None:
        return "vector"
    if task.transcript and subject.hears is not None:
        return "transcript"
    return "choice" if subject.scores is not None and items and all(item.choices for item in items) else "text"


def ask(subject: Subject, task: Task, items: Sequence[Item], journal: Journal, size: int, say: Say) -> list[Reply]:
    """A reply for each item.

    Args:
        size: items answered together.
    """
    way = how(subject, task, items)
    assert way != "vector", "a task with a gallery is answered by find()"
    sampling = task.sampling if way == "text" else None
    keys = [journal.key(item, way, sampling) for item in items]
    for start in range(0, len(items), size):
        missing = {
            key: item for key, item in zip(keys[start : start + size], items[start : start + size], strict=True)
            if journal.reply(key) is None
        }  # fmt: skip
        if missing:
            some = list(missing.values())
            replies = _chosen(subject, some) if way == "choice" else _said(_speaker(subject, way), some, task.sampling)
            journal.keep(dict(zip(missing, replies, strict=True)))
        say(len(keys[start : start + size]))
    return [reply for key in keys if (reply := journal.reply(key)) is not None]


def likelihoods(
    subject: Subject, task: Task, items: Sequence[Item], journal: Journal, size: int, say: Say
) -> list[float | None]:
    """The log-probability of each item's one choice; None where the model cannot take it, or is not asked for likelihoods."""
    if how(subject, task, items) != "choice":
        return [None] * len(items)
    replies = ask(subject, task, items, journal, size, say)
    return [reply.logprobs[0] if reply.logprobs else None for reply in replies]


def find(
    subject: Subject, items: Sequence[Item], gallery: Sequence[Item], journal: Journal, size: int, say: Say
) -> list[Reply]:
    """The gallery's ids by cosine to each item, `RANKED` of them; what the model cannot take is refused, or never found.

    Raises:
        RequestError: the model gives no vectors.
    """
    if subject.embeds is None:
        raise RequestError(subject.name, "gives no vectors, which a retrieval task needs", "Leave the task out")
    found = _vectors(subject, items, journal, size, say)
    kept = list(zip(gallery, _vectors(subject, gallery, journal, size, say), strict=True))
    ids = [item.sample.id for item, vector in kept if not isinstance(vector, Reply)]
    if not ids:
        return [vector if isinstance(vector, Reply) else Reply("", "choice") for vector in found]
    kept_GD = np.stack([vector for _, vector in kept if not isinstance(vector, Reply)])
    return [vector if isinstance(vector, Reply) else _ranked(ids, kept_GD @ vector) for vector in found]


def _ranked(ids: Sequence[str], alike_G: Vector) -> Reply:
    order = np.argsort(-alike_G, kind="stable")[:RANKED]
    return Reply("", "choice", None, (), tuple(ids[place] for place in order))


def _vectors(subject: Subject, items: Sequence[Item], journal: Journal, size: int, say: Say) -> list[Vector | Reply]:
    keys = [journal.key(item, "vector", None) for item in items]
    for start in range(0, len(items), size):
        chunk = zip(keys[start : start + size], items[start : start + size], strict=True)
        missing = {key: item for key, item in chunk if journal.found(key) is None}
        if missing:
            journal.keep(dict(zip(missing, _embedded(subject, list(missing.values())), strict=True)))
        say(len(keys[start : start + size]))
    return [found for key in keys if (found := journal.found(key)) is not None]


def _embedded(subject: Subject, items: Sequence[Item]) -> list[Vector | Reply]:
    """Together; and each alone where one of them cannot be taken."""
    assert subject.embeds is not None
    try:
        return [*subject.embeds.embed([_question(item) for item in items]).float().numpy()]
    except _REFUSALS as error:
        if len(items) == 1:
            return [_refused(error)]
        return [found for item in items for found in _embedded(subject, [item])]


def _question(item: Item) -> Message:
    assert len(item.sample.messages) == 1, "what is embedded is one message"
    return item.sample.messages[0]


def _speaker(subject: Subject, way: How) -> Generates:
    return subject.hears if way == "transcript" and subject.hears is not None else subject.generates


def _said(model: Generates, items: Sequence[Item], sampling: Sampling) -> list[Reply]:
    """Together; and each alone where one of them cannot be taken."""
    try:
        answers = model.answer([item.sample.messages for item in items], sampling)
    except _REFUSALS as error:
        if len(items) == 1:
            return [_refused(error)]
        return [reply for item in items for reply in _said(model, [item], sampling)]
    return [_reply(answer) for answer in answers]


def _chosen(subject: Subject, items: Sequence[Item]) -> list[Reply]:
    """Together where the model can; and each alone where one of them cannot be taken."""
    assert subject.scores is not None
    if not isinstance(subject.scores, ScoresMany) or len(items) == 1:
        return [_likeliest(subject.scores, item) for item in items]
    try:
        scores = subject.scores.score_many([item.sample.messages for item in items], [item.choices for item in items])
    except _REFUSALS:
        return [_likeliest(subject.scores, item) for item in items]
    return [_choice(item, logprobs) for item, logprobs in zip(items, scores, strict=True)]


def _likeliest(model: Scores, item: Item) -> Reply:
    try:
        return _choice(item, model.score(item.sample.messages, item.choices))
    except _REFUSALS as error:
        return _refused(error)


def _choice(item: Item, logprobs: Sequence[float]) -> Reply:
    best = max(range(len(logprobs)), key=logprobs.__getitem__)
    share = 1 / math.fsum(math.exp(value - logprobs[best]) for value in logprobs)
    return Reply(item.choices[best], "choice", _short(share), tuple(_short(value) for value in logprobs))


def _reply(answer: Answer) -> Reply:
    notes = (*answer.usage.notes, *(f"{use.name}: {note}" for use in answer.usage.media for note in use.notes))
    confidence = None if answer.confidence is None else _short(answer.confidence)
    return Reply(answer.text, answer.finish, confidence, notes=notes)


def _refused(error: SensoriumError) -> Reply:
    return Reply("", "refused", notes=(str(error),))


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
