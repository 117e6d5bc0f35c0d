"""`sensorium compare` and `sensorium rate` as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from sensorium.cli import compare, rate
from sensorium.errors import RequestError
from sensorium.evaluation.votes import Vote, append_vote
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
