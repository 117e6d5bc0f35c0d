"""Answers on disk: one JSON line each, under `answers/<task>/<variant>.jsonl` of a run folder, beside `results.json`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sensorium.errors import DataError
from sensorium.evaluation.result import Result, from_json, to_json
from sensorium.evaluation.task import Reply
from sensorium.parts import Json

RESULTS, ANSWERS = "results.json", "answers"


class Kept(NamedTuple):
    """One judged answer.

    Args:
        id: of the item. key: content hash of all that the answer depends on. messages: what was asked, in the JSON of `parts`,
            media as paths or, where a variant made them, as the SHA-256 of their bytes.
        scores: None where no answer could be read from the reply, or the model refused the item.
    """

    id: str
    cluster: str
    key: str
    messages: tuple[Json, ...]
    gold: Json
    reply: Reply
    scores: Mapping[str, float] | None


def write_answers(folder: Path, task: str, variant: str, kept: Iterable[Kept]) -> None:
    """All answers of one variant; the file is whole or not there."""
    path = answers_path(folder, task, variant)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        for row in kept:
            file.write(json.dumps(_row(row), ensure_ascii=False, sort_keys=True, allow_nan=False) + "\n")
    part.replace(path)


def read_answers(folder: Path, task: str, variant: str) -> list[Kept]:
    """In the order of the task's items.

    Raises:
        DataError: the run holds no such answers.
    """
    path = answers_path(folder, task, variant)
    if not path.is_file():
        raise DataError(str(path), "is not there", "Run `sensorium evaluate` with --log-samples, with this task and variant.")
    return [_kept(json.loads(line)) for line in path.read_text("utf-8").splitlines()]


def write_results(folder: Path, result: Result) -> None:
    """`results.json`, whole or not there."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{RESULTS}.part"
    part.write_text(json.dumps(to_json(result), indent=2, ensure_ascii=False, sort_keys=True, allow_nan=False) + "\n", "utf-8")
    part.replace(folder / RESULTS)


def read_results(folder: Path) -> Result:
    """Of a run folder.

    Raises:
        DataError: there are none.
    """
    path = folder / RESULTS
    if not path.is_file():
        raise DataError(str(path), "is not there", "Name a folder that `sensorium evaluate --output-path` wrote.")
    return from_json(json.loads(path.read_text("utf-8")))


def answers_path(folder: Path, task: str, variant: str) -> Path:
    """Where the answers of one variant stand."""
    return folder / ANSWERS / task / f"{variant.replace(' ', '-')}.jsonl"


def _row(kept: Kept) -> dict[str, Any]:
    row = kept._asdict()
    return row | {"reply": kept.reply._asdict(), "scores": None if kept.scores is None else dict(kept.scores)}


def _kept(row: dict[str, Any]) -> Kept:
    reply = row["reply"]
    lists = {name: tuple(reply[name]) for name in ("logprobs", "ranking", "notes")}
    return Kept(**(row | {"reply": Reply(**(reply | lists)), "messages": tuple(row["messages"])}))
