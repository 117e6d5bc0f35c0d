"""Two runs on the same items: the paired difference of each task with its interval and test, and where they differ."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium.errors import DataError, RequestError
from sensorium.estimate import Estimate, Rows, mcnemar
from sensorium.evaluation.kept import Kept, read_answers, read_results
from sensorium.evaluation.paired import Paired, corpus_difference, difference, effect, holm, sign_flips
from sensorium.evaluation.result import Result, TaskResult, finite
from sensorium.evaluation.task import Corpus, Item
from sensorium.evaluation.variant import PLAIN
from sensorium.parts import Json, Message, Sample, message_from_json

SAME = ("version", "split", "limit", "shots", "extractor", "data_sha256", "prompts_sha256")
"""What must be alike in what pins two scores, else their difference is not the models'."""
NOTED = ("template_sha256", "preprocessing_sha256", "sampling", "judged")
"""What may differ and is said."""
KINDS, LEAST = 12, 3
"""Kinds of question shown at most, and items that one must have."""
_KIND_FIELDS = ("kind", "question_type", "answer_type", "type")


class Pair(NamedTuple):
    """One item and what became of it in both runs; `kind` of question."""

    a: Kept
    b: Kept
    score_a: float
    score_b: float
    kind: str

    @property
    def apart(self) -> float:
        """A minus B."""
        return self.score_a - self.score_b

    @property
    def cluster(self) -> str:
        """What the item shares with others, or itself."""
        return self.a.cluster or f"item {self.a.id}"


class Kind(NamedTuple):
    """One kind of question; `difference` is A minus B. `only_a`, `only_b`: items on which one of them scored higher."""

    kind: str
    difference: Estimate
    only_a: int
    only_b: int


@dataclass(frozen=True)
class Compared:
    """One task.

    Args:
        score: by which they are compared. difference: A minus B, item by item.
        effect: `effect_name` says what it is: Cohen's g for scores of 0 and 1, else Cohen's d of the paired differences.
        p: of `test`. p_holm: corrected for the number of tasks (Holm 1979). mcnemar: for scores of 0 and 1, else None.
        only_a, only_b: items on which A, or B, scored higher.
        pairs: all items on which they differ, the widest apart first.
    """

    task: str
    score: str
    a: Estimate
    b: Estimate
    difference: Estimate
    effect_name: str
    effect: Estimate | None
    test: str
    p: float
    p_holm: float
    mcnemar: float | None
    only_a: int
    only_b: int
    kinds: tuple[Kind, ...]
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Two runs; `a` and `b` say whose."""

    a: Json
    b: Json
    tasks: tuple[Compared, ...]
    notes: tuple[str, ...]


def compare(
    a: Path, b: Path, tasks: Sequence[str] = (), corpora: Mapping[str, Mapping[str, Corpus]] | None = None, seed: int = 0
) -> Comparison:
    """Compare two run folders.

    Args:
        tasks: by name; all that both have when none is named.
        corpora: for each task its scores that are no mean over items, which are then compared too; without them such a task is
            compared by its first score of single items, and a note says so.

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


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Plain JSON; of the items on which the runs differ the ids, scores and answers."""
    return {
        "a": dict(comparison.a),
        "b": dict(comparison.b),
        "notes": list(comparison.notes),
        "tasks": [_row(row) for row in comparison.tasks],
    }


def _task(a: Path, b: Path, own: TaskResult, other: TaskResult, corpora: Mapping[str, Corpus], seed: int) -> Compared:
    first, second = aligned(a, b, own, other)
    notes = [f"{name} is not the same in A and B" for name in NOTED if own.about.get(name) != other.about.get(name)]
    singles = sorted({name for row in (*first, *second) for name in row.scores or ()})
    corpus = None if own.main in singles else corpora.get(own.main)
    if own.main not in singles and not singles and corpus is None:
        raise RequestError(f"task {own.task}", f"has no scores of single items, and {own.main} is no mean", "Leave it out")
    single = own.main if own.main in singles or not singles else singles[0]
    if corpus is None and single != own.main:
        notes.append(f"{own.main} is no mean over items; compared by {single}")
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
        found = _by_items(values, clusters, exact, seed)
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


def _by_items(values: Sequence[float], clusters: Sequence[str], exact: float | None, seed: int) -> Paired:
    found, alone = difference(values, clusters, seed), len(set(clusters)) == len(clusters)
    if exact is not None and alone:
        return Paired(found, exact, "McNemar's test, exact")
    return Paired(found, sign_flips(values, clusters, seed), "sign flips" if alone else "sign flips by cluster")


def aligned(a: Path, b: Path, own: TaskResult, other: TaskResult) -> tuple[list[Kept], list[Kept]]:
    """The answers of two runs to one task, item by item.

    Raises:
        DataError: answers were not kept. RequestError: items, prompts or data are not the same; it says which.
    """
    _check_pins(own, other)
    first = read_answers(a, own.task, PLAIN.name)
    return first, _check_items(own.task, first, read_answers(b, own.task, PLAIN.name))


def _check_pins(own: TaskResult, other: TaskResult) -> None:
    apart = [name for name in SAME if own.about.get(name) != other.about.get(name)]
    if own.main != other.main:
        apart.append("main")
    if apart:
        told = "; ".join(f"{name} is {_pin(own, name)} in A and {_pin(other, name)} in B" for name in apart)
        raise RequestError(f"task {own.task}", f"was not asked alike: {told}", "Evaluate both with the same data and settings")


def _pin(row: TaskResult, name: str) -> str:
    return str(row.main if name == "main" else row.about.get(name))[:16]


def _check_items(task: str, first: Sequence[Kept], second: Sequence[Kept]) -> list[Kept]:
    """The second run's answers in the order of the first's."""
    by_id = {row.id: row for row in second}
    lone = [row.id for row in first if row.id not in by_id] + sorted(set(by_id) - {row.id for row in first})
    if lone:
        some = ", ".join(lone[:3]) + (" ..." if len(lone) > 3 else "")
        raise RequestError(f"task {task}", f"has {len(lone)} items in one run only: {some}", "Evaluate both on the same items")
    for row in first:
        if _words(row) != _words(by_id[row.id]) or row.gold != by_id[row.id].gold:
            what = "right answer" if _words(row) == _words(by_id[row.id]) else "prompt"
            raise RequestError(f"task {task}, item {row.id}", f"has another {what} in B than in A", "Evaluate both anew")
    if not first:
        raise DataError(f"task {task}", "has 0 answers", "Evaluate it on at least one item")
    return [by_id[row.id] for row in first]


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


def _words(row: Kept) -> list[Any]:
    """What was asked: the words, and of media their kinds."""
    return [(message["role"], [part.get("text", part["type"]) for part in message["content"]]) for message in row.messages]


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


def _row(row: Compared) -> dict[str, Any]:
    return {
        "task": row.task,
        "score": row.score,
        "a": finite(row.a),
        "b": finite(row.b),
        "difference": finite(row.difference),
        "effect": None if row.effect is None else {"name": row.effect_name} | finite(row.effect),
        "test": {"name": row.test, "p": row.p, "p_holm": row.p_holm, "mcnemar_p": row.mcnemar},
        "only_a": row.only_a,
        "only_b": row.only_b,
        "kinds": [kind._asdict() | {"difference": finite(kind.difference)} for kind in row.kinds],
        "items": [
            {
                "id": pair.a.id,
                "kind": pair.kind,
                "a": pair.score_a,
                "b": pair.score_b,
                "said_a": pair.a.reply.text,
                "said_b": pair.b.reply.text,
            }
            for pair in row.pairs
        ],
        "notes": list(row.notes),
    }
