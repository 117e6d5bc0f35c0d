"""`data check` and `data show` as they are typed: exit codes, lines, tables, copies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sensorium.cli import faults as faults_table
from sensorium.cli import view
from sensorium.data.checking.check import Report
from sensorium.data.fault import Fault
from sensorium.data.synthetic import write_corpus
from sensorium.data.view import Span, spans
from sensorium.model.presets import tiny
from tests.cli.conftest import Run
from tests.data.test_checking import IDENTIFY


@pytest.fixture(autouse=True)
def _languages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensorium.data.checking.policy.load_identifier", lambda: IDENTIFY)


def test_a_clean_corpus_ends_with_zero_and_a_broken_one_with_one(run: Run, tmp_path: Path) -> None:
    write_corpus(tmp_path / "clean", 6)
    path = tmp_path / "clean/rows.jsonl"
    clean = run("data", "check", path, model=False)
    assert clean.exit_code == 0
    assert clean.output == f"{path}: 6 rows with 1 audio, 5 image; no faults\n"
    write_corpus(tmp_path / "bad", 8, faults=("echo", "missing-media"))
    path = tmp_path / "bad/rows.jsonl"
    broken = run("data", "check", path, model=False)
    assert broken.exit_code == 1
    echo = (
        ": messages[1]: echo: answers with the question itself ('Describe the picture.'). Write the answer, or remove the row\n"
    )
    assert echo in broken.output and "2 faults: 1 " in broken.output
    assert run("data", "check", path, "--ignore", "echo", "--ignore", "missing-media", model=False).exit_code == 0


def test_json_lines_hold_every_field_and_the_summary_stays_apart(run: Run, tmp_path: Path) -> None:
    true = write_corpus(tmp_path, 8, faults=("echo", "bad-json"))
    result = run("data", "check", tmp_path / "rows.jsonl", "--json", model=False)
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(row["row"], row["field"], row["kind"]) for row in rows] == [(item.row, item.field, item.kind) for item in true]
    assert set(rows[0]) == {"file", "row", "field", "kind", "reason", "fix"} and "2 faults" in result.stderr


def test_a_repaired_copy_is_written_and_is_clean(run: Run, tmp_path: Path) -> None:
    write_corpus(tmp_path, 8, faults=("mojibake", "bad-json"))
    target = tmp_path / "fixed.jsonl"
    result = run("data", "check", tmp_path / "rows.jsonl", "--fix", target, model=False)
    assert result.exit_code == 1 and f"{target}: 6 rows as they were, 1 put right, 1 left out\n" in result.output
    assert run("data", "check", target, model=False).exit_code == 0
    refused = run("data", "check", tmp_path / "rows.jsonl", "--fix", target, "--limit", "3", model=False)
    assert "--fix: copies all rows, but --limit looks at some only. Leave one of them out." in str(refused.exception)


def test_other_data_licences_and_lengths_are_options(run: Run, tmp_path: Path) -> None:
    write_corpus(tmp_path, 4)
    path = tmp_path / "rows.jsonl"
    assert run("data", "check", path, "--against", path, model=False).output.count(": leak: ") >= 4
    assert "4 faults: 4 forbidden-licence" in run("data", "check", path, "--licence", "CC-BY*", model=False).output
    assert "4 faults: 4 too-long" in run("data", "check", path, "--longest", "10", model=False).output
    assert (
        ": 2 rows with 2 image, the first of more; no faults" in run("data", "check", path, "--limit", "2", model=False).output
    )
    unknown = run("data", "check", path, "--dialect", "xml", model=False)
    assert "dialect 'xml': is not known. Use one of conversations, " in str(unknown.exception)


def test_a_model_checks_lengths_too(run: Run, tmp_path: Path) -> None:
    write_corpus(tmp_path, 2)
    path = tmp_path / "rows.jsonl"
    assert run("data", "check", path).exit_code == 0
    row = json.loads(path.read_text("utf-8").splitlines()[0])
    row["messages"][1]["content"] = " ".join(f"star {number}" for number in range(1500))
    path.write_text(json.dumps(row) + "\n", "utf-8")
    result = run("data", "check", path)
    assert result.exit_code == 1 and ": messages: refused-by-model: takes " in result.output


def test_an_interrupted_check_says_what_it_found(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_corpus(tmp_path, 8, faults=("echo",))

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sensorium.data.checking.policy.Policy.end", stop)
    result = run("data", "check", tmp_path / "rows.jsonl", model=False)
    assert result.exit_code == 130 and ", interrupted; 1 faults: 1 echo\n" in result.output


def test_show_marks_what_is_learned_and_counts_it(run: Run, tmp_path: Path) -> None:
    write_corpus(tmp_path, 4)
    path = tmp_path / "rows.jsonl"
    row = json.loads(path.read_text("utf-8").splitlines()[1])
    result = run("data", "show", path, "--row", "2")
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"{path}, row 2, id 000001\n")
    assert "<image " in result.output and f"[[{row['messages'][1]['content']}<|im_end|>]]" in result.output
    said = json.loads(run("data", "show", path, "--row", "2", "--json").stdout)
    shown = said["spans"]
    assert [span["start"] for span in shown[1:]] == [span["stop"] for span in shown[:-1]]
    assert shown[-1]["stop"] == said["positions"]["all"]
    learned = sum(span["stop"] - span["start"] for span in shown if span["learn"])
    assert learned == said["positions"]["learned"] and said["learned_share"] == round(learned / said["positions"]["all"], 4)
    assert {span["role"] for span in shown if span["learn"]} <= {"assistant", ""}
    past = run("data", "show", path, "--row", "5")
    assert f"row 5: is not in {path}, which is shorter. Give a smaller number." in str(past.exception)


def test_a_broken_row_is_refused_with_its_place(run: Run, tmp_path: Path) -> None:
    (fault,) = write_corpus(tmp_path, 4, faults=("unknown-role",))
    result = run("data", "show", tmp_path / "rows.jsonl", "--row", fault.row)
    assert f"row {fault.row}, messages[1].role: is 'narrator'. Use one of system, " in str(result.exception)


def test_spans_cover_every_position_once() -> None:
    from sensorium.data.synthetic import World

    model = tiny()
    batch = model.batch(list(World(0).samples(3)))
    for row in range(3):
        shown = spans(batch, row, lambda ids: f"{len(ids)} tokens")
        places = [place for span in shown for place in range(span.start, span.stop)]
        assert places == list(range(int(batch.valid_BL[row].sum())))
        assert [place for span in shown if span.learn for place in range(span.start, span.stop)] == (
            batch.learn_BL[row].nonzero().flatten().tolist()
        )
        assert {span.kind for span in shown} == {"template", "words", "image"}


def test_the_tables_of_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    fault = Fault("rows.jsonl", 7, "images[0]", "empty-media", "a.png has 0 bytes", "Copy it again")
    faults_table.show_faults([fault], {"empty-media": 3})
    report = Report(rows=9)
    report.kinds["empty-media"] = 3
    faults_table.show_summary(report, Path("rows.jsonl"), interrupted=False, err=False)
    view._print([Span(0, 2, "template", "", False, "<s>"), Span(2, 3, "words", "assistant", True, "star")])
    said = capsys.readouterr().out
    assert "rows.jsonl" in said and "images[0]" in said and "... and 2 more of empty-media; --json lists all" in said
    assert "9 rows, the first of more; 3 faults: 3 empty-media" in said and "star" in said


def test_what_cannot_be_checked_is_said(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_corpus(tmp_path, 2)
    monkeypatch.setattr("sensorium.data.checking.policy.load_identifier", lambda: None)
    result = run("data", "check", tmp_path / "rows.jsonl", model=False)
    assert result.exit_code == 0 and "note: languages were not checked: pip install py3langid\n" in result.output
    monkeypatch.setattr("sensorium.model.load.load", lambda *_, **__: object())
    refused = run("data", "show", tmp_path / "rows.jsonl")
    assert "is a foreign model, whose rows are laid out elsewhere. Use nano, or a folder of ours." in str(refused.exception)
