"""`sensorium evaluate` of models that are not ours: a public folder with the command that judges nano."""

from __future__ import annotations

import json
from pathlib import Path

from sensorium.evaluation.kept import read_answers, read_results
from tests.cli.conftest import Run
from tests.model.foreign_checkpoints import llava_onevision


def test_a_public_checkpoint_is_judged_by_the_same_command(run: Run, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    llava_onevision(tmp_path / "model")
    words = ("evaluate", tmp_path / "model", "-t", "world_colour,world_negation", "--limit", 6, "-o", tmp_path / "out")
    found = run(*words, model=False)
    assert found.exit_code == 0, found.output
    results = read_results(tmp_path / "out")
    assert results.model["kind"] == "foreign"
    for task in results.tasks:
        assert {"as it is", "blind", "shuffled", "blanked"} <= set(task.outcomes) and task.floors
        assert len(read_answers(tmp_path / "out", task.task, "as it is")) == 6 == task.outcomes["as it is"].n
    journal = (tmp_path / "out" / "journal.jsonl").read_bytes()
    again = run(*words, "--json", model=False)
    assert json.loads(again.stdout)["tasks"] and (tmp_path / "out" / "journal.jsonl").read_bytes() == journal
