"""From an exam under stress to its curves, findings and corruption errors, with a model that looks and one that looks worse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from sensorium.audit.checks import findings
from sensorium.audit.exam import open_exams
from sensorium.evaluation.kept import RESULTS, read_results
from sensorium.evaluation.result import TaskResult
from sensorium.evaluation.run import Options, evaluate
from sensorium.evaluation.stress.against import against, table
from sensorium.evaluation.stress.curve import curve, read_marks
from sensorium.evaluation.stress.suite import stress
from sensorium.evaluation.task import Task
from sensorium.evaluation.variant import Variant
from sensorium.parts import Message, Text
from tests.evaluation.exam import Looker, subject, task

KINDS = ("gaussian-noise", "saturate", "casing", "lying-caption", "missing", "second-medium")


class Careful(Looker):
    """Reads the last line only."""

    def said(self, messages: Sequence[Message]) -> tuple[str, float]:
        parts = tuple(Text(part.text.splitlines()[-1]) if isinstance(part, Text) else part for part in messages[-1].parts)
        return super().said([replace(messages[-1], parts=parts)])


class Gullible(Careful):
    """Believes captions, and is confused by capitals."""

    def said(self, messages: Sequence[Message]) -> tuple[str, float]:
        words = "".join(part.text for part in messages[-1].parts if isinstance(part, Text))
        if "the answer is " in words:
            return words.partition("the answer is ")[2].partition(".")[0], 0.9
        return ("No.", 0.1) if words.isupper() else super().said(messages)


def variants(one: Task) -> tuple[Variant, ...]:
    return stress(KINDS, one)


def ran(folder: Path, model: Looker, count: int = 24) -> TaskResult:
    one = task(count)
    result = evaluate(subject(model), [one], Options(folder / "data", size=8, rounds=50, variants=variants), folder)
    return result.tasks[0]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    ran(folder / "careful", Careful())
    ran(folder / "gullible", Gullible())
    return folder / "careful", folder / "gullible"


def test_the_results_hold_each_kind_in_order_of_level_and_only_what_changes_something(runs: tuple[Path, Path]) -> None:
    (found,) = read_results(runs[0]).tasks
    assert found.curves["gaussian-noise"] == tuple(f"gaussian-noise-{level}" for level in range(1, 6))
    assert set(found.curves) == {*KINDS[:4], "second-medium", "no-image", "no-text", "truncated"}
    truncated = found.outcomes["truncated-3"]
    assert truncated.refused == truncated.n == 24, "a broken picture is refused, not guessed at"


def test_the_same_stress_twice_gives_the_same_results(runs: tuple[Path, Path], tmp_path: Path) -> None:
    ran(tmp_path, Careful())
    assert (tmp_path / RESULTS).read_bytes() == (runs[0] / RESULTS).read_bytes()


def test_curves_fall_where_the_model_is_weak(runs: tuple[Path, Path]) -> None:
    lies = curve(read_marks(runs[1], "colours", ("lying-caption",)), "lying-caption")
    assert [point.score.value for point in lies] == [0.0, 0.0] and lies[0].touched == 1.0
    assert curve(read_marks(runs[0], "colours", ("lying-caption",)), "lying-caption")[0].fall.value == 0.0
    capitals = curve(read_marks(runs[1], "colours", ("casing",)), "casing")[1]
    assert capitals.fall.value > 0.5 and capitals.fall.low > 0


def test_the_audit_names_what_is_wrong_with_the_gullible_model_alone(runs: tuple[Path, Path]) -> None:
    said = {}
    for folder in runs:
        exams = open_exams(folder, read_results(folder), [task()], folder / "data")
        said[folder.name] = [found for found in findings(exams) if found.check == "robustness" and not found.passed]
    named = " ".join(found.claim for found in said["gullible"])
    assert "follows a caption that lies" in named and "casing-2 (ALL CAPITALS)" in named
    assert not any("lies" in found.claim for found in said["careful"])


def test_two_runs_give_corruption_errors_over_the_harms_of_media_alone(runs: tuple[Path, Path]) -> None:
    found = against(*runs)
    assert list(found) == ["colours"] and "| colours | " in table(found)
