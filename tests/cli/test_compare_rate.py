"""`sensorium compare` and `sensorium rate` as a person types them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from sensorium.cli import compare, rate
from sensorium.errors import RequestError
from sensorium.estimate import estimate
from sensorium.evaluation.kept import Kept, write_answers, write_results
from sensorium.evaluation.result import Outcome, Result, TaskResult
from sensorium.evaluation.task import Item, Reply
from sensorium.evaluation.tasks.captions import flickr8k_captions
from sensorium.evaluation.votes import Vote, append_vote
from sensorium.parts import Sample
from tests.evaluation.report.maker import make_run

app = typer.Typer()
app.command("compare")(compare.run)
app.command("rate")(rate.run)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("runs")
    return str(make_run(folder / "one", 0.9, "olive", 12)), str(make_run(folder / "two", 0.3, "tulip", 12, seed=7))


def test_compare_prints_a_table_and_writes_three_files(runs: tuple[str, str], tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["compare", *runs, "-o", str(tmp_path / "out"), "--tasks", "world_picture"])
    assert found.exit_code == 0, found.output
    assert "A (olive) against B (tulip)" in found.stdout and "world_picture" in found.stdout
    assert "world_sound |" not in found.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["compare.html", "compare.json", "compare.md"]


def test_the_data_folder_of_a_run_is_remembered(runs: tuple[str, str], tmp_path: Path) -> None:
    told = Path(runs[0]) / "run.json"
    told.write_text(json.dumps({"data": str(Path(runs[0]).parent / "data")}), "utf-8")
    found = CliRunner().invoke(app, ["compare", *runs, "-o", str(tmp_path / "out"), "--tasks", "world_picture"])
    told.unlink()
    page = (tmp_path / "out" / "compare.html").read_text("utf-8")
    assert found.exit_code == 0 and "<img" in page and "is not kept" not in page


def test_compare_as_json(runs: tuple[str, str]) -> None:
    found = CliRunner().invoke(app, ["compare", *runs, "--json"])
    rows = {row["task"]: row for row in json.loads(found.stdout)["tasks"]}
    assert rows["world_picture"]["difference"]["n"] == 12 and 0 <= rows["world_sound"]["test"]["p_holm"] <= 1


CAPTIONS = "a dog runs on grass", "two men play football", "a child eats cake", "a red boat on a lake"


def captioned(folder: Path, said: Sequence[str]) -> Path:
    """A run of `flickr8k_captions` with these answers, a caption of each photo being what people wrote."""
    task = flickr8k_captions()
    items = [Item(Sample(f"{place}.jpg", ()), {"captions": [gold], "part": ""}) for place, gold in enumerate(CAPTIONS)]
    replies = [Reply(text) for text in said]
    scores = [task.score(item, reply) for item, reply in zip(items, replies, strict=True)]
    cider = task.corpus["CIDEr-D"]
    outcome = Outcome({"CIDEr-D": estimate(cider.rows(items, replies), cider.measure, rounds=50)}, len(items))
    asked = ({"role": "user", "content": [{"type": "text", "text": "Describe the photo in one sentence."}]},)
    rows = [
        Kept(item.sample.id, "", "", asked, item.gold, reply, score)
        for item, reply, score in zip(items, replies, scores, strict=True)
    ]
    write_answers(folder, task.name, "as it is", rows)
    result = TaskResult(task.name, task.main, {"version": task.version, "split": "test"}, {"as it is": outcome})
    write_results(folder, Result({"name": folder.name}, {}, 0, (result,)))
    return folder


@pytest.mark.parametrize("named", [(), ("--tasks", "flickr8k_captions")])
def test_a_score_that_is_no_mean_is_compared_as_the_task_measures_it(tmp_path: Path, named: tuple[str, ...]) -> None:
    a, b = captioned(tmp_path / "a", CAPTIONS), captioned(tmp_path / "b", [*CAPTIONS[:2], "a cat", "a red boat"])
    found = CliRunner().invoke(app, ["compare", str(a), str(b), *named, "--json"], catch_exceptions=False)
    (row,) = json.loads(found.stdout)["tasks"]
    assert (row["score"], row["test"]["name"]) == ("CIDEr-D", "approximate randomisation")
    assert row["difference"]["value"] > 1 and row["difference"]["n"] == 4


def votes(path: Path) -> Path:
    for number in range(12):
        append_vote(path, Vote("anna", f"{number}", f"task/{number}", "olive", "tulip", "left" if number < 8 else "right"))
        append_vote(path, Vote("ben", f"{number}", f"task/{number}", "tulip", "olive", "right" if number < 7 else "tie"))
    return path


def test_rate_sums_up_a_file(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["rate", "--results", str(votes(tmp_path / "v.jsonl"))])
    assert found.exit_code == 0, found.output
    assert "24 votes by 2 raters, 5 of them ties; 0 skipped" in found.stdout
    assert "olive to tulip: 0.7" in found.stdout and "n=12 pairs" in found.stdout


def test_rate_sums_up_as_json(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["rate", "--results", str(votes(tmp_path / "v.jsonl")), "--json"])
    row = json.loads(found.stdout)
    assert list(row["strengths"]) == ["olive", "tulip"] and row["raters"] == ["anna", "ben"]


def test_rate_wants_two_runs_or_a_file(runs: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is given 1 run folders, and needs 2"):
        CliRunner().invoke(app, ["rate", runs[0]], catch_exceptions=False)
    with pytest.raises(RequestError, match="Give either the folders or --results FILE"):
        CliRunner().invoke(app, ["rate", *runs, "--results", str(tmp_path)], catch_exceptions=False)


def test_rate_opens_a_page_until_it_is_stopped(runs: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: object, poll_interval: float = 0.5) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("http.server.ThreadingHTTPServer.serve_forever", stop)
    found = CliRunner().invoke(app, ["rate", *runs, "--votes", str(tmp_path / "v.jsonl"), "--port", "0"])
    assert found.exit_code == 0, found.output
    assert "open http://127.0.0.1:" in found.stdout and "rate --results" in found.stdout
