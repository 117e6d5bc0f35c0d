"""What a report of a run says, before it is written as Markdown or as a page."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from sensorium.estimate import Estimate, estimate
from sensorium.evaluation.blanked import BLANKED
from sensorium.evaluation.kept import Kept, answers_path, read_answers, read_results
from sensorium.evaluation.metrics.confidence import confidence_rows
from sensorium.evaluation.report.album import Album, roots
from sensorium.evaluation.report.sample import STATUSES, Sample, Status, choose, sample_of, status_of
from sensorium.evaluation.result import Finding, Outcome, Result, TaskResult
from sensorium.evaluation.stress.suite import amounts
from sensorium.evaluation.variant import BLIND, PLAIN, SHUFFLED
from sensorium.parts import Json

BYTES = 6_000_000
"""Of pictures and sound in one page."""
SAMPLES = 36
"""Answers of one task in one page."""
BINS = 10
_SHOTS = "shots"
_FLOORS = (BLIND.name, SHUFFLED.name, BLANKED.name)
_LEVEL = re.compile(r"-(-?\d+(?:\.\d+)?)$")
_MARK = "confidence: "


class Line(NamedTuple):
    """One form of a task, a floor, or a harm of one level only, by its main score."""

    name: str
    kind: Literal["score", "floor", "form"]
    estimate: Estimate
    outcome: Outcome


class Curve(NamedTuple):
    """The main score over the levels of one kind of stress, or over the number of examples.

    Args:
        points: label of the level, score, and how much the level is, in words where it is known.
        floor: the score without media, where it was measured.
    """

    name: str
    across: str
    points: tuple[tuple[str, Estimate, str], ...]
    floor: Estimate | None


class Bin(NamedTuple):
    """Answers of like confidence: their mean confidence, and the share of them that is right."""

    low: float
    high: float
    sure: float
    right: Estimate


class Calibration(NamedTuple):
    """What the confidence is worth; `scores` by name, such as ECE."""

    bins: tuple[Bin, ...]
    scores: Mapping[str, Estimate]


@dataclass(frozen=True)
class TaskView:
    """One task.

    Args:
        lines: the headline and its floors, the headline first; span: the ends of the axis they are drawn on.
        more: other scores than the main one, of the plain form. counts: answers by status. lower: the main score is an error.
    """

    task: str
    main: str
    about: Json
    lines: tuple[Line, ...]
    span: tuple[float, float]
    more: Mapping[str, Estimate]
    curves: tuple[Curve, ...]
    calibration: Calibration | None
    counts: Mapping[Status, int]
    samples: tuple[Sample, ...]
    lower: bool

    @property
    def head(self) -> Line:
        """The score as it is."""
        return self.lines[0]

    @property
    def stress(self) -> tuple[Curve, ...]:
        """The curves of harms."""
        return tuple(curve for curve in self.curves if curve.name != _SHOTS)

    @property
    def shots(self) -> tuple[Curve, ...]:
        """The k-curve, where there is one."""
        return tuple(curve for curve in self.curves if curve.name == _SHOTS)


@dataclass(frozen=True)
class View:
    """A whole run. `shown`, `left_out`: media that found room in the page, and that did not."""

    result: Result
    tasks: tuple[TaskView, ...]
    findings: tuple[Finding, ...]
    shown: int
    left_out: int


def view(folder: Path, data: Sequence[Path] = (), budget: int = BYTES, samples: int = SAMPLES) -> View:
    """Read a run folder.

    Args:
        data: folders in which media named by relative paths lie. budget: bytes of all media. samples: answers of each task.

    Raises:
        DataError: no run folder.
    """
    result = read_results(folder)
    album, tasks, left = Album((*roots(folder), *data), 0), list[TaskView](), budget
    for number, row in enumerate(result.tasks):
        share = left // (len(result.tasks) - number)
        album.left = share
        tasks.append(_task(folder, row, album, samples))
        left -= share - album.left
    findings = sorted(result.findings, key=lambda item: item.passed)
    return View(result, tuple(tasks), tuple(findings), album.shown, album.left_out)


def number(value: float) -> str:
    """Three decimals, or fewer for large values; words where there is none."""
    if math.isnan(value):
        return "not measured"
    if math.isinf(value):
        return "no bound"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.1f}"


def said(value: Estimate) -> str:
    """`0.540 [0.470, 0.610]`."""
    return f"{number(value.value)} [{number(value.low)}, {number(value.high)}]"


def pinned(result: Result, task: TaskView) -> list[tuple[str, str]]:
    """What pins a score, each with its value in words: of the task, the model and the code."""
    rows = {name.replace("_", " "): value for name, value in task.about.items() if name != "about"}
    rows |= {f"model {name}".replace("_", " "): value for name, value in result.model.items() if name != "name"}
    rows |= {f"code {name}".replace("_", " "): value for name, value in result.code.items()} | {"seed": result.seed}
    return [(name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)) for name, value in rows.items()]


def is_error(about: Json, main: str) -> bool:
    """Whether a score is an error, 0 at best: an item without a readable answer then gets more than 0."""
    return float(about.get("missed", {}).get(main, 0.0)) > 0


def in_unit(values: Sequence[Estimate]) -> bool:
    """Whether scores lie in 0..1."""
    return all(0 <= item.value <= 1 for item in values)


def _task(folder: Path, row: TaskResult, album: Album, most: int) -> TaskView:
    plain = row.outcomes[PLAIN.name]
    curves = tuple(_curve(row, kind, names) for kind, names in row.curves.items() if len(names) > 1)
    on_curves = {name for kind, names in row.curves.items() if len(names) > 1 for name in names}
    forms = {name: item for name, item in row.outcomes.items() if name not in on_curves}
    lines = [Line(PLAIN.name, "score", plain.scores[row.main], plain)]
    lines += [Line(name, "floor", item.scores[row.main], item) for name, item in row.floors.items()]
    lines += [Line(name, "floor", forms[name].scores[row.main], forms[name]) for name in _FLOORS if name in forms]
    rest = [name for name in forms if name not in (PLAIN.name, *_FLOORS)]
    lines += [Line(name, "form", forms[name].scores[row.main], forms[name]) for name in rest]
    shown = [line.estimate for line in lines] + [value for curve in curves for _, value, _ in curve.points]
    lower, unit = is_error(row.about, row.main), in_unit(shown)
    answers = read_answers(folder, row.task, PLAIN.name) if answers_path(folder, row.task, PLAIN.name).is_file() else []
    kinds = {item.id: status_of(item, row.main, lower, unit) for item in answers}
    counts: dict[Status, int] = {kind: list(kinds.values()).count(kind) for kind in STATUSES}
    others = _others(folder, row)
    return TaskView(
        row.task,
        row.main,
        row.about,
        tuple(lines),
        _span(shown, unit),
        {name: value for name, value in plain.scores.items() if name != row.main and not name.startswith(_MARK)},
        curves,
        _calibration(answers, row, kinds),
        {kind: count for kind, count in counts.items() if count},
        tuple(
            sample_of(
                item,
                row.main,
                album,
                {name: texts[item.id] for name, texts in others.items() if item.id in texts},
                kinds[item.id],
            )
            for item in choose(answers, row.main, most, lower, unit)
        ),
        lower,
    )


def _curve(row: TaskResult, kind: str, names: Sequence[str]) -> Curve:
    whole = names if PLAIN.name in names or kind == _SHOTS else (PLAIN.name, *names)
    words = amounts()
    points = tuple((_label(name), row.outcomes[name].scores[row.main], words.get(name, "")) for name in whole)
    floor = row.outcomes[BLIND.name].scores[row.main] if BLIND.name in row.outcomes else None
    return Curve(kind, "examples before the question" if kind == _SHOTS else "severity", points, floor)


def _label(name: str) -> str:
    level = _LEVEL.search(name)
    return level.group(1) if level else "none" if name == PLAIN.name else name


def _span(shown: Sequence[Estimate], unit: bool) -> tuple[float, float]:
    if unit:
        return 0.0, 1.0
    ends = [end for item in shown for end in item[:3] if math.isfinite(end)]
    low, high = min(0.0, *ends), max(0.0, *ends)
    step = 10.0 ** math.floor(math.log10(max(high - low, 1e-9)))
    return math.floor(low / step) * step, math.ceil(high / step) * step


def _others(folder: Path, row: TaskResult) -> dict[str, dict[str, str]]:
    """What was said without the media, and with another item's."""
    kept = {
        name: read_answers(folder, row.task, name)
        for name in (BLIND.name, SHUFFLED.name)
        if answers_path(folder, row.task, name).is_file()
    }
    return {name: {item.id: item.reply.text for item in items} for name, items in kept.items()}


def _calibration(answers: Sequence[Kept], row: TaskResult, kinds: Mapping[str, Status]) -> Calibration | None:
    """Where every answer that was given has a confidence and is either right or wrong."""
    scores = {
        name.removeprefix(_MARK): value for name, value in row.outcomes[PLAIN.name].scores.items() if name.startswith(_MARK)
    }
    answers = [item for item in answers if kinds[item.id] != "refused"]
    sure = [item.reply.confidence for item in answers if item.reply.confidence is not None]
    if not answers or len(sure) < len(answers) or {"partly", "scored"} & set(kinds.values()):
        return None
    rows = confidence_rows(sure, [float(kinds[item.id] == "right") for item in answers])
    clusters = np.array([item.cluster or f"item {item.id}" for item in answers])
    place = np.minimum((rows[:, 0] * BINS).astype(int), BINS - 1)
    bins = []
    for index in sorted(set(place.tolist())):
        inside = place == index
        right = estimate(rows[inside, 1], clusters=clusters[inside].tolist())
        bins.append(Bin(index / BINS, (index + 1) / BINS, float(rows[inside, 0].mean()), right))
    return Calibration(tuple(bins), scores)
