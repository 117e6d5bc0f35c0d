"""Ask and caption: JSON rows, batches that resume, bad rows that stop nothing, chats, and errors that name the thing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sensorium.errors import MediaError, RequestError
from tests.cli.conftest import Run


def rows(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_says_what_was_asked_and_read(run: Run, photo: Path) -> None:
    result = run("ask", photo, "What is it?", "--json", "--max-tokens", 4)
    (row,) = rows(result.stdout)
    assert row["media"] == [str(photo)]
    assert row["question"] == "What is it?"
    assert set(row) >= {"text", "usage", "confidence", "seconds", "finish"}
    assert row["usage"]["media"][0]["tiles"] == 1  # type: ignore[index]


def test_media_and_words_may_alternate(run: Run, photo: Path) -> None:
    (row,) = rows(run("ask", "First", photo, "then", photo, "Same?", "--json", "--max-tokens", 2).stdout)
    assert row["media"] == [str(photo), str(photo)]
    assert row["question"] == "First then Same?"


def test_standard_input_is_a_medium(run: Run, photo: Path) -> None:
    (row,) = rows(run("ask", "-", "What is it?", "--json", "--max-tokens", 2, stdin=photo.read_bytes()).stdout)
    assert row["media"] == ["-"]
    assert row["usage"]["media"][0]["kind"] == "image"  # type: ignore[index]


def test_a_mistyped_file_is_not_taken_for_the_question(run: Run, photo: Path) -> None:
    error = run("ask", photo.with_name("phto.png"), "What is it?").exception
    assert isinstance(error, MediaError)
    assert "phto.png: no such file" in str(error)


def test_what_cannot_be_read_is_refused_or_on_request_left_out_with_a_visible_statement(run: Run, photo: Path) -> None:
    broken, gone = photo.with_name("broken.png"), photo.with_name("gone.jpg")
    broken.write_bytes(photo.read_bytes()[:90])
    assert isinstance(run("ask", broken, "What is in the photo?").exception, MediaError)
    result = run("ask", broken, gone, photo, "What is in the photos?", "--missing", "say", "--max-tokens", 2)
    assert result.stdout.startswith(f"The picture {broken} could not be used: it cannot be read as a picture")
    assert f"The picture {gone} could not be used: it does not exist." in result.stdout
    assert "This answer rests on the picture and the words.\n" in result.stdout


def test_a_question_about_a_photo_that_was_not_given_is_answered_with_a_statement(run: Run) -> None:
    said = "The question speaks of a picture, and none was given. This answer rests on the words alone."
    assert run("ask", "What is in the photo?", "--max-tokens", 2).stdout.startswith(said + "\n")
    chosen = run("ask", "Is there a dog in the photo?", "--choice", "yes", "--choice", "no")
    assert chosen.stdout.strip() in ("yes", "no") and f"note: {said}" in chosen.stderr


def test_a_folder_does_not_become_the_question(run: Run, photo: Path) -> None:
    error = run("ask", str(photo.parent), "What is this?").exception
    assert "is a folder" in str(error)


def test_no_question_is_refused(run: Run, photo: Path) -> None:
    assert isinstance(run("ask", photo).exception, RequestError)


def test_each_asks_of_every_medium(run: Run, photo: Path) -> None:
    assert len(rows(run("ask", photo, photo, "What?", "--each", "--json", "--max-tokens", 2).stdout)) == 2


def test_captions_keep_the_order_and_one_bad_file_stops_nothing(run: Run, photo: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(photo.read_bytes()[:60])
    result = run("caption", photo, broken, photo, "--json", "--max-tokens", 3, "--beams", 1)
    found = rows(result.stdout)
    assert ["error" in row for row in found] == [False, True, False]
    assert result.exit_code == MediaError.exit_code
    assert "broken.png" in str(found[1]["error"])


def test_a_batch_answers_with_ids_and_resumes(run: Run, photo: Path, tmp_path: Path) -> None:
    batch, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    wanted = [{"id": str(n), "media": [photo.name], "question": f"Question {n}?"} for n in range(5)]
    wanted[2]["media"] = ["absent.png"]
    batch.write_text("\n".join(json.dumps(row) for row in wanted) + "\nnot json\n")
    first = run("ask", "--batch", batch, "-o", out, "--max-tokens", 2, "--batch-size", 2)
    assert first.exit_code == 1
    answered = rows(out.read_text())
    assert [row["id"] for row in answered] == ["0", "1", "2", "3", "4", "line 6"]
    assert ["error" in row for row in answered] == [False, False, True, False, False, True]
    assert (answered[2]["media"], answered[2]["question"]) == (["absent.png"], "Question 2?")

    cut = out.read_text().splitlines()
    out.write_text("\n".join(cut[:2]) + "\n" + cut[3][:20])  # interrupted in the middle of a line
    again = run("ask", "--batch", batch, "-o", out, "--max-tokens", 2, "--batch-size", 2)
    assert again.exit_code == 1
    ids = [row["id"] for row in rows(out.read_text())]
    assert sorted(ids) == ["0", "1", "2", "3", "4", "line 6"]


def test_a_batch_without_questions_captions(run: Run, photo: Path, tmp_path: Path) -> None:
    batch = tmp_path / "rows.jsonl"
    batch.write_text(json.dumps({"id": "a", "media": [str(photo)]}))
    (row,) = rows(run("ask", "--batch", batch, "--max-tokens", 2).stdout)
    assert row["question"] == "Describe the photo in one sentence."


def test_a_choice_is_one_of_those_given(run: Run, photo: Path) -> None:
    (row,) = rows(run("ask", photo, "Red?", "--choice", "yes", "--choice", "no", "--json").stdout)
    assert row["text"] in ("yes", "no")
    assert row["finish"] == "choice"


def test_a_chat_goes_on_until_an_empty_line(run: Run, photo: Path) -> None:
    result = run("ask", photo, "--chat", "--max-tokens", 2, stdin=b"What is it?\nAnd now?\n\n")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) >= 2


@pytest.mark.parametrize("verb", ["ask", "caption"])
def test_nothing_given_says_what_to_try(run: Run, verb: str) -> None:
    error = run(verb).exception
    assert isinstance(error, RequestError)
    assert "Try: sensorium" in str(error)


def test_a_url_is_refused_unless_its_host_is_allowed(run: Run) -> None:
    error = run("ask", "https://example.org/a.png", "What?").exception
    assert isinstance(error, MediaError)
    assert "example.org" in str(error)


def test_a_folder_that_is_no_model_is_refused(run: Run, photo: Path, tmp_path: Path) -> None:
    error = run("ask", photo, "What?", "--model", tmp_path, model=False).exception
    assert "config.json" in str(error)
