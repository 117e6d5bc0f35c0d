"""Results as the `model-index` block of a Hugging Face model card: YAML that `huggingface_hub` reads back as it was."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from sensorium.errors import RequestError
from sensorium.estimate import Estimate
from sensorium.evaluation.blanked import BLANKED
from sensorium.evaluation.result import Outcome, Result, TaskResult
from sensorium.evaluation.task import Task
from sensorium.evaluation.variant import BLIND, PLAIN, SHUFFLED


def to_yaml(result: Result, name: str = "", tasks: Mapping[str, str] | None = None) -> str:
    """The front matter of a model card, without its `---` lines: one `results` entry for each score of each task.

    Args:
        name: of the model; "" is the one in the result.
        tasks: for each task the Hub's word for its kind, such as `visual-question-answering`; others are `other`.

    Raises:
        RequestError: nothing was measured.
    """
    return str(ModelCardData(model_name=name or str(result.model["name"]), eval_results=to_results(result, tasks)).to_yaml())


def to_results(result: Result, tasks: Mapping[str, str] | None = None) -> list[EvalResult]:
    """Each score of each task as it is asked, its main score first.

    Its number of items, interval and floors stand in `metric_args`, what pins the task in `dataset_args`.
    The fields for verification by the Hub are left empty, since only the Hub may fill them.

    Raises:
        RequestError: nothing was measured.
    """
    rows = [row for task in result.tasks for row in _rows(task, (tasks or {}).get(task.task, "other"), result)]
    if not rows:
        raise RequestError("results", "hold no score", "Run `sensorium evaluate` with a task first")
    return rows


def hub_kinds(tasks: Sequence[Task]) -> dict[str, str]:
    """For each task the Hub's word for its kind, by what it needs; without one where the Hub has none."""
    found = {}
    for task in tasks:
        media = next((medium for medium in ("video", "audio", "image") if medium in task.needs), "")
        if task.transcript:
            found[task.name] = "automatic-speech-recognition"
        elif task.gallery is None:
            found[task.name] = f"{media}-text-to-text" if media else "text-generation"
    return found


def _rows(task: TaskResult, kind: str, result: Result) -> list[EvalResult]:
    outcome = task.outcomes[PLAIN.name]
    order = sorted(outcome.scores, key=lambda name: (name != task.main, name))
    return [_row(task, kind, result, name, outcome) for name in order]


def _row(task: TaskResult, kind: str, result: Result, name: str, outcome: Outcome) -> EvalResult:
    found = outcome.scores[name]
    under = {
        variant: task.outcomes[variant]
        for variant in (floor.name for floor in (BLIND, SHUFFLED, BLANKED))
        if variant in task.outcomes
    }
    floors = {
        floor: _figures(row.scores[name]) for floor, row in sorted({**under, **task.floors}.items()) if name in row.scores
    }
    counts = {"unparsed": outcome.unparsed, "refused": outcome.refused, "unread": outcome.unread}
    about = {key: value for key, value in task.about.items() if key not in ("split", "data_sha256")}
    return EvalResult(
        task_type=kind,
        task_name=task.task,
        dataset_type=task.task,
        dataset_name=task.task,
        dataset_split=_text(task.about.get("split")),
        dataset_revision=_text(task.about.get("data_sha256")),
        dataset_args=_plain(about | {"seed": result.seed, "code": result.code}),
        metric_type=name,
        metric_name=f"{task.task} {name}",
        metric_value=_number(found.value),
        metric_args=_plain({"main": name == task.main, **_figures(found), **counts, "floors": floors}),
    )


def _figures(found: Estimate) -> dict[str, Any]:
    low, high = _number(found.low), _number(found.high)
    return {"value": _number(found.value), "n": found.n, "low": low, "high": high, "level": 0.95}


def _number(value: float) -> float | str:
    """What JSON has no number for, in words: the Hub turns the block into JSON."""
    return float(value) if math.isfinite(value) else "not a number" if math.isnan(value) else "no bound"


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _plain(value: Any) -> Any:
    """As it comes back: tuples as lists, and without what is None, which the library leaves out."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if item is not None}
    return [_plain(item) for item in value if item is not None] if isinstance(value, list | tuple) else value
