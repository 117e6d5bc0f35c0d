"""A run as Markdown: the tables of the page, and a few answers in words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from sensorium.evaluation.report.sample import Sample
from sensorium.evaluation.report.view import Curve, TaskView, View, number, pinned, said

_SPECIAL = re.compile(r"([\\`*<>|&~$]|(?<![^\W_])_|_(?![^\W_])|\](?=\()|^[#+=-])|(?<=^\d)([.)])(?=\s)")
_SPACE = re.compile(r"\s+")
_EXAMPLES = 6


def markdown(view: View) -> str:
    """The report, ending in a line break."""
    model, code = view.result.model, view.result.code
    whole = [
        f"# {escape(str(model['name']))} on {len(view.tasks)} task{'s' * (len(view.tasks) != 1)}",
        f"{escape(str(model.get('kind', 'model')))}, fingerprint {escape(str(model.get('fingerprint', ''))[:12])}; Sensorium "
        f"{escape(str(code.get('version', '')))}; seed {view.result.seed}. Every score with its 95 % interval.",
        "## Scores",
        table(
            ("task", "score", "", "n", "floors"),
            [
                (
                    task.task,
                    task.main + (" (error)" if task.lower else ""),
                    said(task.head.estimate),
                    str(task.head.estimate.n),
                    ", ".join(f"{line.name} {number(line.estimate.value)}" for line in task.lines if line.kind == "floor")
                    or "none",
                )
                for task in view.tasks
            ],
        ),
    ]
    if view.findings:
        whole.append("## Findings")
        whole.append(
            "\n".join(
                f"- **{'passed' if item.passed else 'failed'}"
                + (f"** {escape(item.task)}:" if item.task else ":**")
                + f" {escape(item.claim)}"
                + (f" ({said(item.estimate)}, n={item.estimate.n})" if item.estimate else "")
                + "".join(f" · {escape(name)}" for name in item.evidence)
                for item in view.findings
            )
        )
    for task in view.tasks:
        whole += _task(view, task)
    return "\n\n".join(whole) + "\n"


def escape(text: str) -> str:
    """Words as they are, on one line, nothing in them read as Markdown or HTML."""
    return _SPECIAL.sub(r"\\\g<0>", _SPACE.sub(" ", text).strip())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are escaped."""
    lines = [head, ["---"] * len(head)]
    return "\n".join(
        f"| {' | '.join(cell if place == 1 else escape(cell) for cell in line)} |" for place, line in enumerate((*lines, *rows))
    )


def _task(view: View, task: TaskView) -> list[str]:
    head = task.head
    parts = [f"## {escape(task.task)}", escape(str(task.about.get("about", "")))]
    if task.about.get("not_followed"):
        parts.append(f"**Not as the task asks:** {escape(str(task.about['not_followed']))}.")
    rows = [
        (
            line.name,
            said(line.estimate),
            str(line.estimate.n),
            str(line.outcome.unparsed),
            str(line.outcome.refused),
            str(line.outcome.unread),
        )
        for line in task.lines
    ]
    parts.append(table((task.main, "score", "n", "unparsed", "refused", "unread"), rows))
    if task.more:
        parts.append(table(("also", "score", "n"), [(name, said(value), str(value.n)) for name, value in task.more.items()]))
    for title, curves in (("Under stress", task.stress), ("With examples before the question", task.shots)):
        if curves:
            parts += [f"### {title}", *_curves(curves)]
    if task.calibration:
        bins = [(f"{item.low:.1f} to {item.high:.1f}", said(item.right), str(item.right.n)) for item in task.calibration.bins]
        scores = [(name, said(value), str(value.n)) for name, value in task.calibration.scores.items()]
        parts += ["### Confidence", table(("confidence", "right", "n"), bins + scores)]
    if task.samples:
        counts = ", ".join(f"{count} {name}" for name, count in task.counts.items())
        few = min(_EXAMPLES, len(task.samples))
        parts.append(f"### Answers\n\n{counts} of {head.outcome.n}. The first {few}, failures first:")
        parts.append(table(("", "asked", "right", "said", "confidence"), [_row(item) for item in task.samples[:_EXAMPLES]]))
    parts.append("### What pins this score\n\n" + table(("", "value"), pinned(view.result, task)))
    return [part for part in parts if part]


def _curves(curves: Sequence[Curve]) -> list[str]:
    """One table for all curves of the same levels."""
    groups: dict[tuple[str, ...], list[Curve]] = {}
    for curve in curves:
        groups.setdefault(tuple(label for label, _, _ in curve.points), []).append(curve)
    return [
        table(
            (some[0].across, *labels, "n"),
            [(curve.name, *(said(value) for _, value, _ in curve.points), str(curve.points[0][1].n)) for curve in some],
        )
        for labels, some in groups.items()
    ]


def _row(sample: Sample) -> tuple[str, str, str, str, str]:
    asked = " / ".join(shown.text for turn in sample.turns for shown in turn.parts if shown.kind == "text")
    sure = "" if sample.confidence is None else f"{sample.confidence:.2f}"
    return sample.status, _short(asked), _short(sample.gold), _short(sample.answer or "(nothing)"), sure


def _short(text: str, most: int = 160) -> str:
    return text if len(text) <= most else f"{text[:most]} ..."
