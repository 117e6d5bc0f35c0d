"""Scores over levels of harm, and the mean corruption error against a baseline (Hendrycks & Dietterich 2019), with intervals.

All of it is paired: each item's scores, as it is and harmed, of the model and of the baseline, are drawn together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sensorium.errors import DataError, RequestError
from sensorium.estimate import Estimate, NotMeasured, Rows, estimate
from sensorium.evaluation.kept import Kept, read_answers, read_results
from sensorium.evaluation.variant import PLAIN


class Marks(NamedTuple):
    """One score of a run, an item a row.

    Args:
        clusters: what each item is drawn with. curves: kinds to the names of their variants in order of level.
        columns: the scores `(n,)` by the variant's name, `as it is` among them. touched: share of the items that it changed.
    """

    score: str
    ids: tuple[str, ...]
    clusters: tuple[str, ...]
    curves: Mapping[str, tuple[str, ...]]
    columns: Mapping[str, Rows]
    touched: Mapping[str, float]


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
        score: its name. missed: what an item without a readable answer gets.

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
    return Marks(score, ids, clusters, {kind: tuple(some) for kind, some in curves.items()}, columns, touched)


def read_marks(folder: Path, task: str, kinds: Collection[str] = (), missed: float = 0.0) -> Marks:
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
    model: Marks, baseline: Marks | None = None, kinds: Collection[str] = (), lower: bool = False, seed: int = 0
) -> CorruptionError:
    """The mean corruption error, and the relative one.

    Args:
        baseline: a run of the same items; without it the model's own clean error stands at each level, and there is no relative
            one. kinds: those that count; by default the ones that both runs have with the same levels.
        lower: the score is itself an error, such as a word error rate; otherwise the error is 1 less the score.

    Raises:
        RequestError: no such kind in both, or a score outside 0..1 that is no error. DataError: runs of different items.
    """
    other = baseline or model
    if other.ids != model.ids:
        problem = f"asked {len(other.ids)} items, which are not the {len(model.ids)} of the model's run"
        raise DataError("baseline", problem, "Run both with the same tasks, split and --limit")
    both = [kind for kind, names in model.curves.items() if other.curves.get(kind) == names]
    if absent := sorted(set(kinds) - set(both)) or ([] if both else ["any kind"]):
        raise RequestError(f"stress {absent[0]}", "is not in both runs with the same levels", "Run both with the same --stress")
    counted = [kind for kind in both if not kinds or kind in kinds]
    slices, width = _slices(model, counted)
    columns = [_errors(marks, name, lower) for marks in (model, other) for name in _names(marks, counted)]
    if baseline is None:
        columns[width:] = [columns[0]] * width
    rows = np.stack(columns, 1)

    def share(kind: str, relative: bool) -> Callable[[Rows], float]:
        return lambda drawn: _ratio(drawn.mean(0), width, [slices[kind]], relative)

    def whole(relative: bool) -> Estimate:
        return estimate(
            rows,
            lambda drawn: _ratio(drawn.mean(0), width, list(slices.values()), relative),
            clusters=model.clusters,
            seed=seed,
        )

    each = {kind: estimate(rows, share(kind, False), clusters=model.clusters, seed=seed) for kind in counted}
    missing = NotMeasured("it needs a baseline that was harmed too")
    return CorruptionError(whole(False), missing if baseline is None else whole(True), each)


def _names(marks: Marks, kinds: Sequence[str]) -> list[str]:
    return [PLAIN.name, *(name for kind in kinds for name in marks.curves[kind])]


def _slices(marks: Marks, kinds: Sequence[str]) -> tuple[dict[str, slice], int]:
    """Where each kind's levels stand after the clean column, and how many columns there are."""
    found, at = {}, 1
    for kind in kinds:
        found[kind] = slice(at, at + len(marks.curves[kind]))
        at = found[kind].stop
    return found, at


def _errors(marks: Marks, name: str, lower: bool) -> Rows:
    column = marks.columns[name]
    if not lower and len(column) and not (column.min() >= 0 and column.max() <= 1):
        problem = f"is {column.max():.3g} of one item, and an error is 1 less a score of 0..1"
        raise RequestError(f"score {marks.score}", problem, "Name another score, or say that lower is better")
    return column if lower else 1 - column


def _ratio(means: Rows, width: int, kinds: Sequence[slice], relative: bool) -> float:
    """The mean over kinds of the model's sum over the baseline's; nan where a baseline makes no error at all."""
    own, other = means[:width], means[width:]
    shares = []
    for levels in kinds:
        above = own[levels] - own[0] * relative
        below = other[levels] - other[0] * relative
        shares.append(float(above.sum() / below.sum()) if below.sum() else np.nan)
    return float(np.mean(shares))
