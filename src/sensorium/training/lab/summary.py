"""A comparison's trials as figures: one line a family, and for each what was foretold for twice the questions and what came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sensorium.estimate import Estimate, estimate
from sensorium.training.lab.bench import Comparison
from sensorium.training.lab.curve import Curve, fit
from sensorium.training.lab.exam import Exam
from sensorium.training.lab.trial import Trial


class Foretold(NamedTuple):
    """What was foretold for twice the table's questions, and what came.

    Args:
        seen: mean over seeds at each fitted size. foretold, came: with intervals over seeds.
    """

    seen: tuple[float, ...]
    curve: Curve
    foretold: Estimate
    came: Estimate

    @property
    def off(self) -> float:
        """How far the prediction lies above what came, relative to it."""
        return self.foretold.value / self.came.value - 1


class Line(NamedTuple):
    """One family.

    Args:
        score: share right at the table's size; its interval is over seeds and pictures.
        needs_picture, needs_question: how much of the score is lost with those of another test question; no_picture: with grey.
        rate: training questions a second of processor time.
        loss, right: nats an answer and share right; the curve of the second is of the share wrong.
    """

    family: str
    score: Estimate
    needs_picture: Estimate
    no_picture: Estimate
    needs_question: Estimate
    parameters: int
    flops: float
    rate: float
    loss: Foretold
    right: Foretold


def summarise(comparison: Comparison, exam: Exam, trials: Sequence[Trial]) -> list[Line]:
    """One line a family, the best score first."""
    found = {(trial.family, trial.rows, trial.seed): trial for trial in trials}
    runs = [
        [[found[family, rows, seed] for rows in comparison.sizes] for family in comparison.families]
        for seed in range(comparison.seeds)
    ]
    losses = foretell(comparison.sizes, np.array([[[trial.loss for trial in row] for row in seed] for seed in runs]))
    wrong = np.array([[[1 - np.mean(trial.hits) for trial in row] for row in seed] for seed in runs])
    least = 0.5 / len(exam.test)  # the log of no error at all is none
    rights = [_turned(kept) for kept in foretell(comparison.sizes, np.maximum(wrong, least))]
    pictures = [question.picture for question in exam.test]
    lines = [
        _line(comparison, pictures, [seed[number][-2] for seed in runs], *both)
        for number, both in enumerate(zip(losses, rights, strict=True))
    ]
    return sorted(lines, key=lambda line: -line.score.value)


def foretell(sizes: Sequence[int], table_SFN: np.ndarray[Any, Any]) -> list[Foretold]:
    """For each of F families, from S seeds and all but the last of N sizes: what the last one should give."""
    told = []
    curves = fit(sizes[:-1], table_SFN.mean(0)[:, :-1].tolist())
    for number, curve in enumerate(curves):

        def last(some_SFN: np.ndarray[Any, Any], number: int = number) -> float:
            return fit(sizes[:-1], some_SFN.mean(0)[:, :-1].tolist())[number](sizes[-1])

        means_N = table_SFN[:, number].mean(0)
        foretold, came = estimate(table_SFN, last, rounds=100), estimate(table_SFN[:, number, -1])
        told.append(Foretold(tuple(means_N[:-1].tolist()), curve, foretold, came))
    return told


def _turned(wrong: Foretold) -> Foretold:
    """From shares wrong to shares right; the curve stays."""

    def turn(share: Estimate) -> Estimate:
        return Estimate(1 - share.value, 1 - share.high, 1 - share.low, share.n)

    return Foretold(tuple(1 - share for share in wrong.seen), wrong.curve, turn(wrong.foretold), turn(wrong.came))


def _line(comparison: Comparison, pictures: Sequence[int], here: Sequence[Trial], loss: Foretold, right: Foretold) -> Line:
    hits = _array(here, "hits")
    return Line(
        here[0].family,
        _over_seeds(hits, pictures),
        _over_seeds(hits - _array(here, "other_picture"), pictures),
        _over_seeds(hits - _array(here, "no_picture"), pictures),
        _over_seeds(hits - _array(here, "other_question"), pictures),
        here[0].parameters,
        here[0].flops,
        comparison.recipe.steps * comparison.recipe.batch * len(here) / sum(trial.seconds for trial in here),
        loss,
        right,
    )


def _array(trials: Sequence[Trial], name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Seeds by questions."""
    return np.array([getattr(trial, name) for trial in trials], float)


def _over_seeds(values: np.ndarray[Any, Any], clusters: Sequence[int], rounds: int = 1000) -> Estimate:
    """Mean over seeds and questions; the bootstrap draws seeds and pictures, since both could have been others."""
    chance = np.random.default_rng(0)
    names, group = np.unique(clusters, return_inverse=True)
    sums = np.stack([np.bincount(group, row, len(names)) for row in values])
    counts = np.bincount(group, minlength=len(names))
    drawn = []
    for _ in range(rounds):
        seeds, some = chance.integers(0, len(values), len(values)), chance.integers(0, len(names), len(names))
        drawn.append(sums[seeds][:, some].sum() / (len(values) * counts[some].sum()))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(float(values.mean()), float(low), float(high), values.shape[1])
