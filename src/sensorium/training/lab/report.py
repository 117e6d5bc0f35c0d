"""The lab's result as one table and one curve a family: Markdown, JSON and a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium.errors import DependencyError
from sensorium.estimate import Estimate
from sensorium.training.lab.bench import Comparison
from sensorium.training.lab.curve import Curve, fit
from sensorium.training.lab.exam import Exam
from sensorium.training.lab.trial import Trial


class Line(NamedTuple):
    """One family.

    Args:
        score: share right at the table's size; its interval is over seeds and pictures.
        needs_picture, needs_question: how much of the score is lost with those of another test question; no_picture: with grey.
        rate: training questions a second of processor time.
        foretold, held_out: loss at twice the rows; error is their relative difference.
    """

    family: str
    score: Estimate
    needs_picture: Estimate
    no_picture: Estimate
    needs_question: Estimate
    parameters: int
    flops: float
    rate: float
    losses: tuple[tuple[int, float], ...]
    curve: Curve
    foretold: float
    held_out: float

    @property
    def error(self) -> float:
        """Of the prediction, relative to what came."""
        return abs(self.foretold - self.held_out) / self.held_out


def summarise(comparison: Comparison, exam: Exam, trials: Sequence[Trial]) -> list[Line]:
    """One line a family, the best score first."""
    lines = [_line(comparison, exam, [trial for trial in trials if trial.family == name]) for name in comparison.families]
    return sorted(lines, key=lambda line: -line.score.value)


def write(folder: Path, comparison: Comparison, exam: Exam, lines: Sequence[Line]) -> None:
    """`lab.md`, `lab.json` and `lab.png`.

    Raises:
        DependencyError: matplotlib, which draws the picture, is not installed.
    """
    (folder / "lab.md").write_text(markdown(comparison, exam, lines), "utf-8")
    rows = [line._asdict() | {"error": line.error, "curve": line.curve._asdict()} for line in lines]
    for row in rows:
        row |= {key: value._asdict() for key, value in row.items() if isinstance(value, Estimate)}
    floors = {"majority": exam.majority, "by_question": exam.by_question}
    whole = {"comparison": asdict(comparison), "floors": floors, "test_questions": len(exam.test), "families": rows}
    (folder / "lab.json").write_text(json.dumps(whole, indent=1) + "\n", "utf-8")
    draw(folder / "lab.png", comparison, lines)


def markdown(comparison: Comparison, exam: Exam, lines: Sequence[Line]) -> str:
    """The table and what it says."""
    head = (
        f"# Fusion families on {exam.name}\n\n"
        f"Each family is trained in one pass over {comparison.rows:,} questions, {comparison.seeds} seeds, and asked "
        f"{len(exam.test):,} others about pictures it never saw. Score: share of right words, 95 % interval over seeds and "
        f"pictures. Floors: the commonest answer {exam.majority:.3f}; the commonest answer to the very same question "
        f"{exam.by_question:.3f}.\n\n"
        "| family | score | lost with another picture | lost with a grey picture | lost with another question | parameters | "
        "MFLOP a question | questions/s |\n|---|---|---|---|---|---|---|---|\n"
    )
    table = "".join(
        f"| {line.family} | {_show(line.score)} | {_show(line.needs_picture)} | {_show(line.no_picture)} | "
        f"{_show(line.needs_question)} | {line.parameters:,} | {line.flops / 1e6:.0f} | {line.rate:.0f} |\n"
        for line in lines
    )
    sizes = comparison.sizes
    columns = ("family", *(f"{size:,}" for size in sizes[:-1]), "floor", "power", "foretold", "came", "error")
    curves = (
        f"\nLoss on the test questions by training questions, `floor + scale * rows ** -power` fitted to {sizes[0]:,} to "
        f"{sizes[-2]:,}, and what it foretells for {sizes[-1]:,}:\n\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|\n"
    )
    fits = "".join(
        f"| {line.family} | " + " | ".join(f"{loss:.3f}" for _, loss in line.losses[:-1]) + f" | {line.curve.floor:.3f} | "
        f"{line.curve.power:.2f} | {line.foretold:.3f} | {line.held_out:.3f} | {100 * line.error:.1f} % |\n"
        for line in lines
    )
    return head + table + curves + fits


def draw(path: Path, comparison: Comparison, lines: Sequence[Line]) -> None:
    """The curves: losses fitted as dots, the held-out ones as crosses.

    Raises:
        DependencyError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise DependencyError("matplotlib", "is not installed", "pip install 'sensorium[train]'")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    across = np.geomspace(comparison.sizes[0], comparison.sizes[-1], 60)
    for number, line in enumerate(lines):
        colour = f"C{number}"
        axes.plot(across, [line.curve(x) for x in across], color=colour, label=line.family)
        axes.plot(*zip(*line.losses[:-1], strict=True), "o", color=colour)
        axes.plot(*line.losses[-1], "x", color=colour, markersize=9)
    axes.set(xscale="log", xlabel="training questions", ylabel="loss on the test questions, nats")
    axes.set_xticks(comparison.sizes, [f"{size:,}" for size in comparison.sizes])
    axes.minorticks_off()
    axes.set_title(f"{comparison.exam}: fitted (dots) and held out (crosses)")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=130)


def _line(comparison: Comparison, exam: Exam, trials: Sequence[Trial]) -> Line:
    sizes = comparison.sizes
    losses = tuple((size, float(np.mean([trial.loss for trial in trials if trial.rows == size]))) for size in sizes)
    curve = fit(*zip(*losses[:-1], strict=True))
    here = [trial for trial in trials if trial.rows == comparison.rows]
    hits, pictures = _array(here, "hits"), [question.picture for question in exam.test]
    return Line(
        here[0].family,
        _over_seeds(hits, pictures),
        _over_seeds(hits - _array(here, "other_picture"), pictures),
        _over_seeds(hits - _array(here, "no_picture"), pictures),
        _over_seeds(hits - _array(here, "other_question"), pictures),
        here[0].parameters,
        here[0].flops,
        sum(trial.rows for trial in here) / sum(trial.seconds for trial in here),
        losses,
        curve,
        curve(sizes[-1]),
        losses[-1][1],
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


def _show(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
