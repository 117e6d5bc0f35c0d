"""Two runs on the same items: the paired difference of each task with its interval and test, and where they differ."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.errors import RequestError
from sensorium.estimate import Rows, mcnemar
from sensorium.evaluation.aligned import aligned
from sensorium.evaluation.comparison import Compared, Comparison, Kind, Pair
from sensorium.evaluation.kept import Kept, read_results
from sensorium.evaluation.paired import by_items, corpus_difference, difference, effect, holm
from sensorium.evaluation.result import Result, TaskResult
from sensorium.evaluation.task import Corpus, Item
from sensorium.evaluation.variant import PLAIN
from sensorium.parts import Json, Message, Sample, message_from_json

NOTED = ("template_sha256", "preprocessing_sha256", "sampling", "judged")
"""What may differ and is said."""
KINDS, LEAST = 12, 3
"""Kinds of question shown at most, and items that one must have."""
_KIND_FIELDS = ("kind", "question_type", "answer_type", "type")


def compare(
    a: Path, b: Path, tasks: Sequence[str] = (), corpora: Mapping[str, Mapping[str, Corpus]] | None = None, seed: int = 0
) -> Comparison:
    """Compare two run folders.

    Args:
        tasks: by name; all that both have when none is named.
        corpora: for each task its scores that are no mean over items, by which it is then compared; without them, or where they
            are no longer what the runs found, it is compared by its first score of single items, and a note says so.

    Raises:
        DataError: no run folder, or runs without kept answers. RequestError: a task that one run lacks, no task in common, or
            items, prompts or data that are not the same.
    """
    first, second = read_results(a), read_results(b)
    own, other = ({row.task: row for row in result.tasks} for result in (first, second))
    for name in tasks:
        for folder, known in ((a, own), (b, other)):
            if name not in known:
                raise RequestError(f"task {name}", f"is not in {folder}", f"It has {', '.join(known)}")
    chosen = tuple(tasks) or tuple(name for name in own if name in other)
    if not chosen:
        raise RequestError(f"{a} and {b}", "have no task in common", "Evaluate both on the same tasks")
    rows = [_task(a, b, own[name], other[name], (corpora or {}).get(name, {}), seed) for name in chosen]
    corrected = tuple(replace(row, p_holm=p) for row, p in zip(rows, holm([row.p for row in rows]), strict=True))
    return Comparison(first.model, second.model, corrected, _notes(first, second, chosen, own, other))


def _task(a: Path, b: Path, own: TaskResult, other: TaskResult, corpora: Mapping[str, Corpus], seed: int) -> Compared:
    first, second = aligned(a, b, own, other)
    notes = [f"{name} is not the same in A and B" for name in NOTED if own.about.get(name) != other.about.get(name)]
    singles = sorted({name for row in (*first, *second) for name in row.scores or ()})
    corpus = None if own.main in singles else corpora.get(own.main)
    if corpus is not None and not (_still(corpus, first, own) and _still(corpus, second, other)):
        notes.append(f"{own.main} of these answers is not what the runs found: the task is another one by now")
        corpus = None
    if own.main not in singles and not singles and corpus is None:
        raise RequestError(f"task {own.task}", f"has no scores of single items, and {own.main} is no mean", "Leave it out")
    single = own.main if own.main in singles or not singles else singles[0]
    if corpus is None and single != own.main:
        notes.append(f"{own.main} is no mean over items; compared by {single}")
    if corpus is not None and singles:
        notes.append(f"effect, kinds of question and items are by {single}")
    score = own.main if corpus is not None else single
    clusters = [row.cluster or f"item {row.id}" for row in first]
    pairs = _pairs(first, second, single, own, other) if singles else []
    values = [pair.score_a - pair.score_b for pair in pairs]
    binary = {pair.score_a for pair in pairs} | {pair.score_b for pair in pairs} <= {0.0, 1.0}
    exact = mcnemar([pair.score_a > 0 for pair in pairs], [pair.score_b > 0 for pair in pairs]) if binary and pairs else None
    if corpus is not None:
        one, two = _corpus_rows(first, corpus), _corpus_rows(second, corpus)
        found = corpus_difference(one, two, clusters, corpus.measure, seed)
    else:
        found = by_items(values, clusters, exact, seed)
    return Compared(
        own.task,
        score,
        own.outcomes[PLAIN.name].scores[score],
        other.outcomes[PLAIN.name].scores[score],
        found.difference,
        "Cohen's g" if binary else "Cohen's d",
        effect(values, clusters, binary, seed) if pairs else None,
        found.test,
        found.p,
        found.p,
        exact,
        sum(value > 0 for value in values),
        sum(value < 0 for value in values),
        _kinds(pairs, seed),
        tuple(sorted((pair for pair in pairs if pair.apart), key=lambda pair: -abs(pair.apart))),
        tuple(notes),
    )


def _pairs(first: Sequence[Kept], second: Sequence[Kept], score: str, own: TaskResult, other: TaskResult) -> list[Pair]:
    missed_a, missed_b = _missed(first, score, own), _missed(second, score, other)
    return [
        Pair(a, b, _score(a, score, missed_a), _score(b, score, missed_b), _kind_of(a))
        for a, b in zip(first, second, strict=True)
    ]


def _score(row: Kept, score: str, missed: float) -> float:
    return missed if row.scores is None else float(row.scores.get(score, missed))


def _missed(rows: Sequence[Kept], score: str, result: TaskResult) -> float:
    """What an item without a readable answer counts, as the run's own mean has it."""
    told = [row.scores[score] for row in rows if row.scores is not None and score in row.scores]
    lacking = len(rows) - len(told)
    if not lacking:
        return 0.0
    return round((result.outcomes[PLAIN.name].scores[score].value * len(rows) - math.fsum(told)) / lacking, 6)


def _still(corpus: Corpus, rows: Sequence[Kept], result: TaskResult) -> bool:
    """Whether it gives the score that the run found."""
    return math.isclose(
        corpus.measure(_corpus_rows(rows, corpus)), result.outcomes[PLAIN.name].scores[result.main].value, abs_tol=1e-6
    )


def _corpus_rows(rows: Sequence[Kept], corpus: Corpus) -> Rows:
    """The items without their media, which no score of answers reads."""
    items = [Item(Sample(kept.id, tuple(map(_spoken, kept.messages))), kept.gold, kept.cluster) for kept in rows]
    return np.asarray(corpus.rows(items, [kept.reply for kept in rows]), float).reshape(len(rows), -1)


def _spoken(row: Json) -> Message:
    return message_from_json({**row, "content": [part for part in row["content"] if part["type"] == "text"]})


def _kinds(pairs: Sequence[Pair], seed: int) -> tuple[Kind, ...]:
    """By kind of question, the largest difference first; empty where all are of one kind."""
    names = [name for name, count in Counter(pair.kind for pair in pairs).most_common(KINDS) if count >= LEAST]
    if len(names) < 2:
        return ()
    groups = {name: [pair for pair in pairs if pair.kind == name] for name in names}
    if rest := [pair for pair in pairs if pair.kind not in groups]:
        groups["others"] = rest
    kinds = [
        Kind(
            name,
            difference([pair.apart for pair in some], [pair.cluster for pair in some], seed),
            sum(pair.apart > 0 for pair in some),
            sum(pair.apart < 0 for pair in some),
        )
        for name, some in groups.items()
    ]
    return tuple(sorted(kinds, key=lambda kind: (kind.kind == "others", -abs(kind.difference.value))))


def _kind_of(row: Kept) -> str:
    """As the right answer says, or by how the question begins."""
    if isinstance(row.gold, Mapping):
        for name in _KIND_FIELDS:
            if isinstance(row.gold.get(name), str):
                return str(row.gold[name])
    asked = [part["text"] for message in row.messages for part in message["content"] if part["type"] == "text"]
    return " ".join(asked[-1].split()[:2]).casefold() if asked else ""


def _notes(
    first: Result, second: Result, chosen: Sequence[str], own: Mapping[str, Any], other: Mapping[str, Any]
) -> tuple[str, ...]:
    notes = []
    if first.code != second.code:
        notes.append("the code was not the same: its version or source differs")
    if first.seed != second.seed:
        notes.append(f"the seed was {first.seed} in A and {second.seed} in B")
    for name in [name for name in (*own, *other) if (name in own) != (name in other) and name not in chosen]:
        notes.append(f"task {name} is in {'A' if name in own else 'B'} only, and left out")
    return tuple(notes)
