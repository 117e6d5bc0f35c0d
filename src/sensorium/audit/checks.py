"""All checks of a run: what they find goes into its report, each in one sentence with its number and where to look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sensorium.audit import grounding, hallucination, onesided, robustness, template
from sensorium.audit.contamination import FEWEST, contamination, memorised
from sensorium.audit.exam import Exam
from sensorium.data.row import Source
from sensorium.evaluation.result import Finding
from sensorium.evaluation.sureness import Sure
from sensorium.evaluation.task import Item
from sensorium.fusion.layout import Layout

CHECKS = (grounding.check, onesided.check, hallucination.check, robustness.check, template.check)


def findings(
    exams: Sequence[Exam],
    train: Source | None = None,
    layout: Layout | None = None,
    sure: Sure | None = None,
    twins: Mapping[str, Sequence[Item]] | None = None,
) -> tuple[Finding, ...]:
    """What every check says of every exam that it can judge; those that failed first.

    Args:
        exams: see `exam.open_exams`.
        train: what the model was trained on, as far as it is known: no item may be in it.
        layout: of a model of ours, whose template is tried on a conversation.
        sure: tells the model's log-probabilities, where it has them. twins: by task, fresh items drawn as the exam's were.
    """
    found = [finding for exam in exams for check in CHECKS for finding in check(exam)]
    if layout is not None:
        found += template.probe(layout)
    if train is not None:
        found += [contamination(exam.task, exam.items, train) for exam in exams]
    if sure is not None:
        pairs = [(exam, fresh) for exam in exams if _comparable(exam, fresh := (twins or {}).get(exam.task.name, ()))]
        told = [memorised(sure, exam.task, exam.items, fresh, len(pairs)) for exam, fresh in pairs]
        found += [finding for finding in told if finding is not None]
    return tuple(sorted(found, key=lambda finding: finding.passed))


def _comparable(exam: Exam, twins: Sequence[Item]) -> bool:
    return exam.task.answer is not None and min(len(exam.items), len(twins)) >= FEWEST
