"""The examples of tasks: short, shown whole in the documents, and run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sensorium.evaluation.result import TaskResult
from sensorium.evaluation.run import Options, evaluate
from sensorium.evaluation.tasks.registry import find_tasks
from sensorium.media import image
from sensorium.parts import Image, Message
from tests.evaluation.exam import NAMES, Looker, subject

ROOT = Path(__file__).parents[3]
SHAPES = ROOT / "examples" / "task_shapes.py"


class Eye(Looker):
    """Tells likelihoods: by the mean colour of the picture, and by whether a corner of what is drawn is white."""

    def score(self, messages: Sequence[Message], answers: Sequence[str]) -> list[float]:
        shown = [part for part in messages[-1].parts if isinstance(part, Image)]
        if not shown:
            return [-1.0] * len(answers)
        pixels = image.decode(shown[0].source).pixels_CHW.float()
        if "circle" in answers[0]:
            return [-1.0, -2.0] if pixels[:, 11, 11].min() > 200 else [-2.0, -1.0]
        best = NAMES[int(pixels.mean((1, 2)).argmax())]
        return [-1.0 if best in answer.lower() else -3.0 for answer in answers]


def run(path: Path, folder: Path) -> TaskResult:
    result = evaluate(subject(Eye()), find_tasks([str(path)]), Options(folder, rounds=50), folder / "run")
    return result.tasks[0]


def test_a_task_in_python_has_under_forty_lines_and_stands_whole_in_the_documents() -> None:
    code = SHAPES.read_text("utf-8")
    assert len(code.splitlines()) < 40
    assert f"```python\n{code}```" in (ROOT / "docs" / "evaluation.md").read_text("utf-8")


def test_a_sighted_model_passes_it_and_falls_without_its_eyes(tmp_path: Path) -> None:
    found = run(SHAPES, tmp_path)
    assert (found.task, found.main) == ("shapes", "accuracy")
    assert found.outcomes["as it is"].scores["accuracy"].value == 1
    assert found.outcomes["as it is"].n == 20
    assert found.outcomes["blind"].scores["accuracy"].value == 0.5
    assert found.floors["majority"].scores["accuracy"].value <= 0.5


def test_a_task_of_lmms_eval_runs_beside_its_data(tmp_path: Path) -> None:
    found = run(ROOT / "examples" / "task_colours.yaml", tmp_path)
    assert (found.task, found.outcomes["as it is"].scores["acc"].value) == ("colours", 1)
    assert found.outcomes["as it is"].n == 3
    assert found.about["version"] == "1.0"
