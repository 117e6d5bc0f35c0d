"""What an evaluation found: values that go to JSON and back, the same each time the same is measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sensorium.estimate import Estimate
from sensorium.parts import Json


@dataclass(frozen=True, slots=True)
class Outcome:
    """Scores of one variant of a task, or of a floor.

    Args:
        scores: by name. n: items asked. unparsed: replies in which no answer was found, scored 0. refused: items that the model
            could not take, scored 0. unread: items of whose media something was not read.
    """

    scores: Mapping[str, Estimate]
    n: int
    unparsed: int = 0
    refused: int = 0
    unread: int = 0


@dataclass(frozen=True, slots=True)
class TaskResult:
    """One task.

    Args:
        about: what pins the score: version, split, data_sha256, prompts_sha256, template_sha256, preprocessing, sampling,
            extractor, shots, limit.
        outcomes: by the variant's name, `as it is` among them. floors: by name, such as `majority`.
        curves: kind of stress to the names of its variants in order of level.
    """

    task: str
    main: str
    about: Json
    outcomes: Mapping[str, Outcome]
    floors: Mapping[str, Outcome] = field(default_factory=dict)
    curves: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check says: `claim` in one sentence, whether it is `passed`, the numbers and where the evidence lies."""

    check: str
    task: str
    claim: str
    passed: bool
    estimate: Estimate | None = None
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """A model on some tasks.

    Args:
        model: name, kind and fingerprint. code: version of this package and its state. seed: of all chance.
    """

    model: Json
    code: Json
    seed: int
    tasks: tuple[TaskResult, ...]
    findings: tuple[Finding, ...] = ()


def to_json(result: Result) -> dict[str, Any]:
    """Plain JSON; `from_json` gives the same value back."""
    return {
        "model": dict(result.model),
        "code": dict(result.code),
        "seed": result.seed,
        "tasks": [
            {
                "task": row.task,
                "main": row.main,
                "about": dict(row.about),
                "outcomes": {name: _outcome(item) for name, item in row.outcomes.items()},
                "floors": {name: _outcome(item) for name, item in row.floors.items()},
                "curves": {name: list(names) for name, names in row.curves.items()},
            }
            for row in result.tasks
        ],
        "findings": [
            {
                "check": item.check,
                "task": item.task,
                "claim": item.claim,
                "passed": item.passed,
                "estimate": None if item.estimate is None else finite(item.estimate),
                "evidence": list(item.evidence),
            }
            for item in result.findings
        ],
    }


def from_json(row: Json) -> Result:
    """The value that `to_json` wrote."""
    tasks = [
        TaskResult(
            task["task"],
            task["main"],
            task["about"],
            {name: _outcome_of(item) for name, item in task["outcomes"].items()},
            {name: _outcome_of(item) for name, item in task["floors"].items()},
            {name: tuple(names) for name, names in task["curves"].items()},
        )
        for task in row["tasks"]
    ]
    findings = [
        Finding(
            item["check"],
            item["task"],
            item["claim"],
            item["passed"],
            None if item["estimate"] is None else _estimate_of(item["estimate"]),
            tuple(item["evidence"]),
        )
        for item in row["findings"]
    ]
    return Result(row["model"], row["code"], row["seed"], tuple(tasks), tuple(findings))


def finite(value: Estimate) -> dict[str, float | None]:
    """JSON knows neither infinity nor nan: a bound that is nowhere, and a value that is none, are null."""
    return {name: part if math.isfinite(part) else None for name, part in value._asdict().items()}


def _outcome(item: Outcome) -> dict[str, Any]:
    scores = {name: finite(value) for name, value in item.scores.items()}
    return {"scores": scores, "n": item.n, "unparsed": item.unparsed, "refused": item.refused, "unread": item.unread}


def _outcome_of(row: Json) -> Outcome:
    scores = {name: _estimate_of(value) for name, value in row["scores"].items()}
    return Outcome(scores, row["n"], row["unparsed"], row["refused"], row["unread"])


def _estimate_of(row: Json) -> Estimate:
    nowhere = {"value": math.nan, "low": -math.inf, "high": math.inf}
    value, low, high = (nowhere[name] if row[name] is None else row[name] for name in nowhere)
    return Estimate(value, low, high, row["n"])
