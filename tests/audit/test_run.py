"""From a run's folder to its report: the findings are read off the kept answers and stand in the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sensorium.audit.checks import findings
from sensorium.audit.exam import open_exams
from sensorium.evaluation.kept import read_results, write_results
from sensorium.evaluation.report.write import write_report
from sensorium.evaluation.result import Finding
from sensorium.evaluation.run import Options, evaluate
from sensorium.parts import Message
from tests.evaluation.exam import Looker, subject, task

TASK = task(48)


def judged(folder: Path, model: Looker, limit: int = 0) -> tuple[Finding, ...]:
    result = evaluate(subject(model), [TASK], Options(folder, limit=limit, rounds=50), folder)
    found = findings(open_exams(folder, result, [TASK], folder))
    write_results(folder, replace(result, findings=found))
    write_report(folder)
    assert read_results(folder).findings == found
    return found


class Nodder(Looker):
    """Says yes."""

    def said(self, messages: Sequence[Message]) -> tuple[str, float]:
        assert messages
        return "Yes.", 0.9


def test_a_sighted_model_passes(tmp_path: Path) -> None:
    found = judged(tmp_path, Looker())
    assert {one.check for one in found} == {"grounding", "one-sided", "template"} and all(one.passed for one in found)
    assert sum("Answers rest on what is shown" in one.claim for one in found) == 3


def test_defects_are_named_in_the_report_failed_ones_first(tmp_path: Path) -> None:
    found = judged(tmp_path, Nodder())
    assert [one.passed for one in found] == sorted(one.passed for one in found)
    failed = {one.check for one in found if not one.passed}
    assert failed == {"grounding", "one-sided"}
    told = (tmp_path / "report.md").read_text("utf-8")
    assert "The model ignores what it is shown" in told and "The model answers &#x27;yes&#x27; to all" in told.replace(
        "'", "&#x27;"
    )


def test_a_limited_run_is_read_with_its_limit(tmp_path: Path) -> None:
    found = judged(tmp_path, Looker(), limit=30)
    assert all(one.estimate is None or one.estimate.n <= 30 for one in found) and len(found) >= 4
