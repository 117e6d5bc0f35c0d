"""All checks of a run: what they find goes into its report, each in one sentence with its number and where to look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sensorium.audit import grounding, hallucination, onesided, robustness, template
from sensorium.audit.contamination import contamination, memorised
from sensorium.audit.exam import Exam
from sensorium.data.row import Source
from sensorium.evaluation.result import Finding
from sensorium.evaluation.task import Item
from sensorium.fusion.layout import Layout
from sensorium.protocols import Scores

CHECKS = (grounding.check, onesided.check, hallucination.check, robustness.check, template.check)


def findings(
    exams: Sequence[Exam],
    train: Source | None = None,
    layout: Layout | None = None,
    scores: Scores | None = None,
    twins: Mapping[str, Sequence[Item]] | None = None,
) -> tuple[Finding, ...]:
    """What every check says of every exam that it can judge; those that failed first.

    Args:
        exams: see `exam.open_exams`.
        train: what the model was trained on, as far as it is known: no item may be in it.
        layout: of a model of ours, whose template is tried on a conversation.
        scores: the model, where it tells likelihoods. twins: by task, fresh items drawn as the exam's were.
    """
    found = [finding for exam in exams for check in CHECKS for finding in check(exam)]
    if layout is not None:
        found += template.probe(layout)
    if train is not None:
        found += [contamination(exam.task, exam.items, train) for exam in exams]
    if scores is not None and twins is not None:
        found += [memorised(scores, exam.task, exam.items, twins[exam.task.name]) for exam in exams if exam.task.name in twins]
    return tuple(sorted(found, key=lambda finding: finding.passed))
