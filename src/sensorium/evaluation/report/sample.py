"""Answers to look at: what was asked and said, what is right, failures first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

from sensorium.evaluation.kept import Kept
from sensorium.evaluation.report.album import Album, Shown
from sensorium.parts import Json

Status = Literal["refused", "unparsed", "wrong", "partly", "right", "scored"]
STATUSES: tuple[Status, ...] = get_args(Status)
_LONGEST = 2_000
_FAILED_SHARE = 2 / 3


class Turn(NamedTuple):
    """One message of the conversation."""

    role: str
    parts: tuple[Shown, ...]


class Sample(NamedTuple):
    """One answer.

    Args:
        status: what became of it. score: the main one; None where there is none.
        others: answers to the same item in other forms, such as without its media, by the form's name.
    """

    id: str
    status: Status
    turns: tuple[Turn, ...]
    gold: str
    answer: str
    score: float | None
    confidence: float | None
    finish: str
    notes: tuple[str, ...]
    others: Mapping[str, str]


def status_of(kept: Kept, main: str, lower: bool = False, unit: bool = True) -> Status:
    """What became of an item.

    Args:
        lower: the score is an error, 0 at best. unit: scores of the task lie in 0..1, so that right and wrong mean something.
    """
    if kept.reply.finish == "refused":
        return "refused"
    if kept.scores is None:
        return "unparsed"
    score = kept.scores.get(main)
    if score is None or not unit:
        return "scored"
    good = 1 - score if lower else score
    return "right" if good >= 1 else "wrong" if good <= 0 else "partly"


def choose(rows: Sequence[Kept], main: str, most: int, lower: bool = False, unit: bool = True) -> list[Kept]:
    """Up to `most` answers, failures first, among those the surest; a third is kept for the good ones, to compare with."""
    kinds = {row.id: status_of(row, main, lower, unit) for row in rows}

    def order(row: Kept) -> tuple[int, float, float]:
        score = 0.0 if row.scores is None else row.scores.get(main, 0.0)
        return STATUSES.index(kinds[row.id]), -score if lower else score, -(row.reply.confidence or 0.0)

    ranked = sorted(rows, key=order)
    bad = [row for row in ranked if kinds[row.id] in ("refused", "unparsed", "wrong")]
    good = [row for row in ranked if kinds[row.id] not in ("refused", "unparsed", "wrong")]
    few_bad = min(len(bad), max(round(most * _FAILED_SHARE), most - len(good)))
    return [*bad[:few_bad], *good[: most - few_bad]]


def sample_of(kept: Kept, main: str, album: Album, others: Mapping[str, str], status: Status) -> Sample:
    """The answer with its media made small."""
    turns = tuple(
        Turn(str(row["role"]), tuple(shown for part in _parts(row) for shown in album.show(part))) for row in kept.messages
    )
    score = None if kept.scores is None else kept.scores.get(main)
    answer = cut(_ranked(kept)) if kept.reply.ranking else cut(kept.reply.text)
    return Sample(
        kept.id,
        status,
        turns,
        cut(plain(kept.gold)),
        answer,
        score,
        kept.reply.confidence,
        kept.reply.finish,
        tuple(cut(note) for note in kept.reply.notes),
        {name: cut(text) for name, text in others.items()},
    )


def plain(gold: Any) -> str:
    """What is right, in words: a gold of one field, or one that says `answer`, by that alone."""
    if isinstance(gold, str):
        return gold
    if isinstance(gold, Mapping):
        if len(gold) == 1 or "answer" in gold:
            return plain(gold["answer"] if "answer" in gold else next(iter(gold.values())))
        return "\n".join(f"{name}: {plain(value)}" for name, value in gold.items())
    if isinstance(gold, list | tuple) and all(isinstance(value, str) for value in gold):
        counts = {value: gold.count(value) for value in gold}
        return " | ".join(f"{value} ({count} x)" if count > 1 else value for value, count in counts.items())
    return json.dumps(gold, ensure_ascii=False)


def cut(text: str) -> str:
    """A long text's beginning, with what is missing said."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ... ({len(text) - _LONGEST:,} more characters)"


def _ranked(kept: Kept) -> str:
    return "\n".join(f"{place}. {name}" for place, name in enumerate(kept.reply.ranking[:10], 1))


def _parts(message: Json) -> list[Json]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
