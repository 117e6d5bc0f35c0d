"""Answers of two runs to one task, item by item; refused where the two were not asked the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sensorium.errors import DataError, RequestError
from sensorium.evaluation.kept import Kept, read_answers
from sensorium.evaluation.result import TaskResult
from sensorium.evaluation.variant import PLAIN

SAME = ("version", "split", "limit", "shots", "extractor", "data_sha256", "prompts_sha256")
"""What must be alike in what pins two scores, else their difference is not the models'."""


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


def _words(row: Kept) -> list[Any]:
    """What was asked: the words, and of media their kinds."""
    return [(message["role"], [part.get("text", part["type"]) for part in message["content"]]) for message in row.messages]
