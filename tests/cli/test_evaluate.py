"""`sensorium evaluate` as a person types it: what it prints and writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from PIL import Image

from sensorium.evaluation.kept import read_results
from sensorium.evaluation.tasks.registry import find_tasks
from sensorium.model import checkpoint
from sensorium.parts import Message, Sample, Text
from tests.audit.test_contamination import taught
from tests.cli.conftest import Run

TASK = """
import io
from PIL import Image as Canvas
from sensorium.evaluation.task import Item, Task
from sensorium.parts import Image, Message, Sample, Text

COLOURS = {"Red.": (220, 30, 30), "Blue.": (30, 30, 220)}


def items(_, split):
    for number in range(24):
        name, file = list(COLOURS)[number % 2], io.BytesIO()
        Canvas.new("RGB", (24 + number // 2, 24 + len(split)), COLOURS[name]).save(file, "PNG")
        asked = Message("user", (Image(file.getvalue()), Text("Which colour?")))
        yield Item(Sample(f"{split}-{number}", (asked,)), {"right": name})


def score(item, reply):
    return {"exact": float(reply.text == item.gold["right"])} if reply.text else None


SPLITS = "train", "kept apart", "test"
task = Task("colours", "Colours", items, score, "exact", answer=lambda item: item.gold["right"], splits=SPLITS)
"""


@pytest.fixture
def exam(tmp_path: Path) -> Path:
    path = tmp_path / "colours.py"
    path.write_text(TASK, "utf-8")
    return path


def test_a_run_writes_its_results_a_report_and_a_block_for_a_card(run: Run, toy: Path, exam: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("evaluate", toy, "-t", exam, "-o", out, "--model-args", "words=no")
    found = run(*words, model=False)
    assert found.exit_code == 0 and "## Scores" in found.stdout and "**passed:** The checkpoint's chat template" in found.stdout
    assert {path.name for path in out.iterdir()} >= {"results.json", "report.md", "report.html", "run.json", "journal.jsonl"}
    assert not (out / "model-index.yaml").exists()
    first, journal = (out / "results.json").read_bytes(), (out / "journal.jsonl").read_bytes()
    again = run(*words, "--model-index", "--json", model=False)
    assert again.stdout.encode().strip() == first.strip() == (out / "results.json").read_bytes().strip()
    assert (out / "journal.jsonl").read_bytes() == journal
    (model,) = yaml.safe_load((out / "model-index.yaml").read_text("utf-8"))["model-index"]
    (row,) = model["results"]
    assert row["task"] == {"type": "image-text-to-text", "name": "colours"}
    (metric,) = row["metrics"]
    assert metric["value"] == read_results(out).tasks[0].outcomes["as it is"].scores["exact"].value
    assert metric["args"]["n"] == 24 and set(metric["args"]["floors"]) >= {"blind", "blanked", "majority"}


def test_an_exam_in_the_training_data_is_named(run: Run, toy: Path, exam: Path, tmp_path: Path) -> None:
    picture = tmp_path / "seen.png"
    Image.new("RGB", (26, 28), (30, 30, 220)).save(picture)  # that of item 5, or nearly
    content = [{"type": "image", "path": str(picture)}, {"type": "text", "text": "Which colour?"}]
    turns = [{"role": "user", "content": content}, {"role": "assistant", "content": "Blue."}]
    (tmp_path / "train.jsonl").write_text(json.dumps({"messages": turns}) + "\n", "utf-8")
    words = (
        "evaluate",
        toy,
        "-t",
        exam,
        "-o",
        tmp_path / "out",
        "--model-args",
        "words=no",
        "--train",
        tmp_path / "train.jsonl",
    )
    found = run(*words, model=False)
    assert found.exit_code == 0
    told = {finding.check: finding for finding in read_results(tmp_path / "out").findings}
    assert not told["contamination"].passed and "items are in the training data" in told["contamination"].claim
    assert "**failed** colours:" in found.stdout and "memorised" not in told


def test_a_split_never_trained_on_shows_what_was_memorised(run: Run, toy: Path, exam: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("evaluate", toy, "-t", exam, "-o", out, "--model-args", "words=no", "--twins")
    found = run(*words, "kept apart", model=False)
    assert found.exit_code == 0
    (told,) = [finding for finding in read_results(out).findings if finding.check == "memorised"]
    assert told.passed and "24 items, 24 twins" in told.claim and told.claim in found.stdout.replace("\\", "")
    journal = (out / "journal.jsonl").read_bytes()
    run(*words, "kept apart", model=False)
    assert (out / "journal.jsonl").read_bytes() == journal
    for split, why in (("test", "are of the split test, which is judged"), ("dev", "Known splits: kept apart, test, train")):
        assert why in str(run(*words, split, model=False).exception)


NAMED = """
import random
from sensorium.evaluation.task import Item, Task
from sensorium.parts import Message, Sample, Text

NAMES = "Anna.", "Ben.", "Cleo.", "Dan.", "Eve.", "Finn.", "Gus.", "Hal."


def items(_, split):
    dice = random.Random(split)
    for number in range(30):
        asked = Message("user", (Text(f"Who has ticket {dice.randrange(10**6)}?"),))
        yield Item(Sample(f"{split}-{number}", (asked,)), {"right": dice.choice(NAMES)})


def score(item, reply):
    return {"exact": float(reply.text == item.gold["right"])} if reply.text else None


task = Task(
    "tickets", "Who has which", items, score, "exact", answer=lambda item: item.gold["right"], needs=(),
    twins=lambda data, split: items(data, "fresh"),
)
"""


def test_a_model_trained_on_the_exam_is_named(run: Run, tmp_path: Path) -> None:
    exam = tmp_path / "tickets.py"
    exam.write_text(NAMED, "utf-8")
    (task,) = find_tasks([str(exam)])
    told = {}
    for name, split in (("guilty", "test"), ("innocent", "others")):
        asked = [(item.sample.messages, str(item.gold["right"])) for item in task.items(tmp_path, split)]
        rows = [Sample("r", (*words, Message("assistant", (Text(right),), learn=True))) for words, right in asked]
        checkpoint.save(taught(rows).model, tmp_path / name)
        found = run("evaluate", tmp_path / name, "-t", exam, "-o", tmp_path / f"{name}-run", model=False)
        assert found.exit_code == 0
        (told[name],) = [row for row in read_results(tmp_path / f"{name}-run").findings if row.check == "memorised"]
    assert not told["guilty"].passed and "surer of this exam's answers" in told["guilty"].claim
    assert "The model is surer of this exam" in (tmp_path / "guilty-run" / "report.md").read_text("utf-8")
    assert told["innocent"].passed


def test_without_logged_samples_no_answers_are_left(run: Run, toy: Path, exam: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = run("evaluate", toy, "-t", exam, "-o", out, "--limit", "4", "--no-log-samples", model=False)
    assert found.exit_code == 0 and not (out / "answers").exists() and not (out / "media").exists()
    assert json.loads((out / "results.json").read_text("utf-8"))["tasks"][0]["about"]["limit"] == 4


def test_the_list_of_tasks_opens_no_model(run: Run) -> None:
    found = run("evaluate", "no-such-folder", "-t", "list", model=False)
    assert found.exit_code == 0 and {"daquar", "world_colour", "world"} <= set(found.stdout.split())
