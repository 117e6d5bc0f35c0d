"""The lab's result as tables and curves: Markdown, JSON and a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.errors import DependencyError
from sensorium.estimate import Estimate
from sensorium.training.lab.bench import Comparison
from sensorium.training.lab.exam import Exam
from sensorium.training.lab.summary import Foretold, Line


def write(folder: Path, comparison: Comparison, exam: Exam, lines: Sequence[Line]) -> None:
    """`lab.md`, `lab.json` and `lab.png`.

    Raises:
        DependencyError: matplotlib, which draws the picture, is not installed.
    """
    (folder / "lab.md").write_text(markdown(comparison, exam, lines), "utf-8")
    floors = {"majority": exam.majority, "by_question": exam.by_question}
    whole = {"comparison": asdict(comparison), "floors": floors, "test_questions": len(exam.test)}
    whole["families"] = [_plain(line) for line in lines]
    (folder / "lab.json").write_text(json.dumps(whole, indent=1) + "\n", "utf-8")
    draw(folder / "lab.png", comparison, lines)


def markdown(comparison: Comparison, exam: Exam, lines: Sequence[Line]) -> str:
    """The table and what it says."""
    asked = "held-out training pictures (a rehearsal, not the test)" if comparison.dev else "test pictures"
    head = (
        f"# Fusion families on {exam.name}\n\n"
        f"Each family is trained on {comparison.rows:,} questions, {comparison.recipe.steps:,} steps of "
        f"{comparison.recipe.batch}, from {comparison.seeds} seed(s), and asked {len(exam.test):,} about {asked}. Score: share "
        f"of right words, 95 % interval over seeds and pictures. Floors: the commonest answer {exam.majority:.3f}; the "
        f"commonest answer to the very same question {exam.by_question:.3f}.\n\n"
        "| family | score | lost with another picture | lost with a grey picture | lost with another question | parameters | "
        "MFLOP a question | questions/s |\n|---|---|---|---|---|---|---|---|\n"
    )
    table = "".join(
        f"| {line.family} | {_show(line.score)} | {_show(line.needs_picture)} | {_show(line.no_picture)} | "
        f"{_show(line.needs_question)} | {line.parameters:,} | {line.flops / 1e6:.0f} | {line.rate:.0f} |\n"
        for line in lines
    )
    return (
        head
        + table
        + "".join(
            _foretold(comparison, what, [(line.family, told) for line, told in zip(lines, some, strict=True)])
            for what, some in (
                ("Loss (nats an answer)", [line.loss for line in lines]),
                ("Score (its curve is of the share wrong)", [line.right for line in lines]),
            )
        )
    )


def draw(path: Path, comparison: Comparison, lines: Sequence[Line]) -> None:
    """Both curves: what was fitted as dots, the held-out runs as crosses.

    Raises:
        DependencyError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise DependencyError("matplotlib", "is not installed", "pip install 'sensorium[train]'")
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    *fitted, last = comparison.sizes
    across = np.geomspace(fitted[0], last, 60)
    for axes, what in zip(figure.subplots(1, 2), ("loss, nats an answer", "share of wrong answers"), strict=True):
        for number, line in enumerate(lines):
            told, colour = (line.loss if what.startswith("loss") else line.right), f"C{number}"
            values = np.array([*told.seen, told.came.value])
            values = values if told is line.loss else 1 - values
            axes.plot(across, [told.curve(x) for x in across], color=colour, label=line.family)
            axes.plot(fitted, values[:-1], "o", color=colour, markersize=4)
            axes.plot(last, values[-1], "x", color=colour, markersize=9)
        axes.set(xscale="log", yscale="log", xlabel="training questions", title=what)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(comparison.sizes, [f"{size:,}" for size in comparison.sizes])
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_minor_locator(NullLocator())
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    figure.suptitle(f"{comparison.exam}: fitted (dots), held out (crosses)")
    figure.savefig(path, dpi=110)


def _foretold(comparison: Comparison, what: str, rows: Sequence[tuple[str, Foretold]]) -> str:
    """One prediction's table."""
    *fitted, last = comparison.sizes
    columns = ("family", *(f"{size:,}" for size in fitted), f"foretold for {last:,}", "came", "off by")
    head = (
        f"\n{what} by training questions; curves of the bend {rows[0][1].curve.bend:.2f} fitted to {fitted[0]:,} to "
        f"{fitted[-1]:,} foretell {last:,}; 95 % intervals over seeds (n={comparison.seeds}):\n\n"
        f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|\n"
    )
    return head + "".join(
        f"| {family} | "
        + " | ".join(f"{value:.3f}" for value in told.seen)
        + f" | {_show(told.foretold)} | {_show(told.came)} | "
        f"{100 * told.off:+.1f} % |\n"
        for family, told in rows
    )


def _plain(value: Any) -> Any:
    """Named tuples as dictionaries, however deep, with how far a prediction is off."""
    if not hasattr(value, "_asdict"):
        return value
    more = {"off": value.off} if isinstance(value, Foretold) else {}
    return {key: _plain(item) for key, item in value._asdict().items()} | more


def _show(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
