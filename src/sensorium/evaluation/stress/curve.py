"""Scores over levels of harm, and the mean corruption error against a baseline (Hendrycks & Dietterich 2019), with intervals.

All of it is paired: each item's scores, as it is and harmed, of the model and of the baseline, are drawn together.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sensorium.errors import DataError, RequestError
from sensorium.estimate import Estimate, NotMeasured, Rows, estimate
from sensorium.evaluation.kept import Kept, read_answers, read_results
from sensorium.evaluation.stress.suite import GROUPS
from sensorium.evaluation.variant import PLAIN

COUNTED = frozenset(kind.name for group in ("image", "audio", "video") for kind in GROUPS[group])
"""Kinds that a mean corruption error is over unless others are named: harms of media."""


class Marks(NamedTuple):
    """One score of a run, an item a row.

    Args:
        clusters: what each item is drawn with. curves: kinds to the names of their variants in order of level.
        columns: the scores `(n,)` by the variant's name, `as it is` among them. touched: share of the items that it changed.
        lower: the score is itself an error, such as a word error rate.
    """

    score: str
    ids: tuple[str, ...]
    clusters: tuple[str, ...]
    curves: Mapping[str, tuple[str, ...]]
    columns: Mapping[str, Rows]
    touched: Mapping[str, float]
    lower: bool = False


class Point(NamedTuple):
    """One level: the score there, by how much it fell, and the share of the items that were changed at all."""

    variant: str
    score: Estimate
    fall: Estimate
    touched: float


class CorruptionError(NamedTuple):
    """Errors summed over levels, over those of a baseline: 1 is as good as it, less is better.

    Args:
        mean: over the kinds. relative: the same of what is lost against the clean score. kinds: each by itself.
    """

    mean: Estimate
    relative: Estimate | NotMeasured
    kinds: Mapping[str, Estimate]


def marks_of(kept: Mapping[str, Sequence[Kept]], curves: Mapping[str, Sequence[str]], score: str, missed: float = 0.0) -> Marks:
    """From answers by variant.

    Args:
        score: its name. missed: what an item without a readable answer gets; above 0 the score is an error.

    Raises:
        DataError: variants of different items, or a score that no item has.
    """
    plain = kept[PLAIN.name]
    ids = tuple(row.id for row in plain)
    names = [PLAIN.name, *(name for some in curves.values() for name in some)]
    for name in names:
        if tuple(row.id for row in kept[name]) != ids:
            problem = f"has {len(kept[name])} items that are not the {len(ids)} of {PLAIN.name!r}"
            raise DataError(f"variant {name}", problem, "Run the task again with the same --limit for all variants")
        if not any(row.scores is None or score in row.scores for row in kept[name]):
            raise DataError(f"score {score}", f"is of no single item of {name}", "Name a score that is a mean over items")
    columns = {
        name: np.array([missed if row.scores is None else row.scores[score] for row in kept[name]], np.float64)
        for name in names
    }
    touched = {
        name: float(np.mean([one.messages != other.messages for one, other in zip(plain, kept[name], strict=True)]))
        for name in names
    }
    clusters = tuple(row.cluster or f"item {row.id}" for row in plain)
    return Marks(score, ids, clusters, {kind: tuple(some) for kind, some in curves.items()}, columns, touched, missed > 0)


def read_marks(folder: Path, task: str, kinds: Collection[str] = ()) -> Marks:
    """The main score of a task in a run folder, for all its curves or for the kinds named.

    Raises:
        DataError: the run does not hold the task, a kind or its answers.
    """
    found = next((row for row in read_results(folder).tasks if row.task == task), None)
    if found is None:
        raise DataError(str(folder), f"holds no task {task}", "Name one that it ran")
    if absent := sorted(set(kinds) - set(found.curves)):
        raise DataError(str(folder), f"holds no {absent[0]} of {task}", f"Run it with --stress {absent[0]}")
    curves = {kind: names for kind, names in found.curves.items() if not kinds or kind in kinds}
    names = [PLAIN.name, *(name for some in curves.values() for name in some)]
    missed = float(found.about.get("missed", {}).get(found.main, 0.0))
    return marks_of({name: read_answers(folder, task, name) for name in names}, curves, found.main, missed)


def curve(marks: Marks, kind: str, seed: int = 0) -> tuple[Point, ...]:
    """Each level of a kind, the mildest first."""
    plain = marks.columns[PLAIN.name]
    return tuple(
        Point(
            name,
            estimate(marks.columns[name], clusters=marks.clusters, seed=seed),
            estimate(plain - marks.columns[name], clusters=marks.clusters, seed=seed),
            marks.touched[name],
        )
        for name in marks.curves[kind]
    )


def corruption_error(
    model: Marks, baseline: Marks | None = None, kinds: Collection[str] = (), seed: int = 0, rounds: int = 1000
) -> CorruptionError:
    """The mean corruption error, and the relative one. The error is 1 less the score, unless the score is one itself.

    Args:
        baseline: a run of the same items; without it the model's own clean error stands at each level, and there is no relative
            one. kinds: those that count; by default all of `COUNTED` that both runs have with the same levels.
        seed, rounds: of the bootstrap.

    Raises:
        RequestError: no such kind in both, or a score outside 0..1 that is no error. DataError: runs of different items.
    """
    other = baseline or model
    if other.ids != model.ids:
        problem = f"asked {len(other.ids)} items, which are not the {len(model.ids)} of the model's run"
        raise DataError("baseline", problem, "Run both with the same tasks, split and --limit")
    both = [kind for kind, names in model.curves.items() if other.curves.get(kind) == names]
    counted = [kind for kind in both if kind in (kinds or COUNTED)]
    if absent := sorted(set(kinds) - set(both)) or ([] if counted else ["image"]):
        raise RequestError(f"stress {absent[0]}", "is not in both runs with the same levels", "Run both with the same --stress")

    def ratios(relative: bool) -> Rows:
        below = _sums(other, counted, relative) if baseline is not None else _sums(model, counted, relative, clean=True)
        return np.concatenate([_sums(model, counted, relative), below], axis=1)

    def bounded(rows: Rows) -> Estimate:
        return estimate(rows, _ratio, clusters=model.clusters, seed=seed, rounds=rounds)

    sums = ratios(relative=False)
    each = {kind: bounded(sums[:, [place, len(counted) + place]]) for place, kind in enumerate(counted)}
    lost: Estimate | NotMeasured = NotMeasured("it needs a baseline that was harmed too")
    if baseline is not None:
        lost = bounded(ratios(relative=True))
    return CorruptionError(bounded(sums), lost, each)


def _sums(marks: Marks, kinds: Sequence[str], relative: bool, clean: bool = False) -> Rows:
    """For each item and kind the errors summed over levels `(n, kinds)`: relative to the clean error, or that error alone."""
    own = _errors(marks, PLAIN.name)
    summed = [sum(own if clean else _errors(marks, name) for name in marks.curves[kind]) for kind in kinds]
    levels = [len(marks.curves[kind]) * relative for kind in kinds]
    return np.stack([total - count * own for total, count in zip(summed, levels, strict=True)], axis=1)


def _errors(marks: Marks, name: str) -> Rows:
    column = marks.columns[name]
    if not marks.lower and len(column) and (column.min() < 0 or column.max() > 1):
        problem = f"is {column.max():.3g} of one item, and an error is 1 less a score of 0..1"
        raise RequestError(f"score {marks.score}", problem, "Leave this task out")
    return column if marks.lower else 1 - column


def _ratio(rows: Rows) -> float:
    """The mean over kinds of the model's sum over the baseline's; nan where a baseline loses nothing at all."""
    above, below = np.split(rows.mean(0), 2)
    return float(np.mean(above / below)) if below.all() else math.nan
