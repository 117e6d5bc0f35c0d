"""Running an exam: the same each time, taken up where it was cut, and nothing hidden."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from sensorium.errors import RequestError
from sensorium.evaluation.kept import RESULTS, answers_path, read_answers, read_results
from sensorium.evaluation.limited import LIMITED, judged
from sensorium.evaluation.run import JOURNAL, Options, evaluate
from sensorium.parts import Message
from tests.evaluation.exam import Looker, subject, task


def run(folder: Path, model: Looker, **options: object) -> None:
    """The exam of 24 questions, in its plain form, blind and shuffled."""
    evaluate(subject(model), [task()], replace(Options(folder / "data", size=5, rounds=100), **options), folder)  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, bytes]:
    """All that is to be the same, by its name in the folder."""
    kept = [folder / RESULTS, *sorted((folder / "answers").rglob("*.jsonl"))]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in kept}


def test_a_sighted_model_stands_above_its_floors(tmp_path: Path) -> None:
    run(tmp_path, Looker())
    (found,) = read_results(tmp_path).tasks
    plain, blind, shuffled = (found.outcomes[name] for name in ("as it is", "blind", "shuffled"))
    assert plain.scores["exact"].value == 1.0
    assert plain.scores["exact"].n == plain.n == 24
    assert blind.scores["exact"].value == 0.0
    assert shuffled.scores["exact"].value < 0.8
    assert found.floors["majority"].scores["exact"].value < 0.6
    assert found.about["judged"] == "text"


def test_the_same_command_twice_gives_the_same_files(tmp_path: Path) -> None:
    run(tmp_path / "one", Looker())
    run(tmp_path / "two", Looker())
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_second_run_computes_nothing(tmp_path: Path) -> None:
    run(tmp_path, Looker())
    before, idle = contents(tmp_path), Looker()
    run(tmp_path, idle)
    assert idle.asked == 0
    assert contents(tmp_path) == before


@pytest.mark.parametrize("seed", range(5))
def test_an_interrupted_run_goes_on_and_computes_no_answer_twice(tmp_path: Path, seed: int) -> None:
    run(tmp_path / "whole", whole := Looker())
    patience = random.Random(seed).randrange(1, whole.asked)
    cut, rest = Looker(patience), Looker()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", cut)
    run(tmp_path / "cut", rest)
    assert cut.asked + rest.asked == whole.asked
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_a_line_cut_short_is_dropped_and_its_batch_asked_again(tmp_path: Path) -> None:
    run(tmp_path, Looker())
    before, journal = contents(tmp_path), tmp_path / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    lost = len(json.loads(lines[-1]))
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    again = Looker()
    run(tmp_path, again)
    assert again.asked == lost
    assert contents(tmp_path) == before


def test_equal_questions_are_asked_once(tmp_path: Path) -> None:
    run(tmp_path, model := Looker())
    blind = {tuple(json.dumps(part) for part in row.messages) for row in read_answers(tmp_path, "colours", "blind")}
    plain, shuffled = read_answers(tmp_path, "colours", "as it is"), read_answers(tmp_path, "colours", "shuffled")
    distinct = {row.key for row in (*plain, *shuffled)}
    assert model.asked <= len(distinct) + 5 * len(blind)
    assert len(blind) == 4


def test_another_model_is_asked_afresh_in_the_same_folder(tmp_path: Path) -> None:
    run(tmp_path, Looker())
    other = Looker()
    evaluate(subject(other, "another"), [task()], Options(tmp_path / "data", rounds=100), tmp_path)
    assert other.asked > 0


class Silent(Looker):
    """Says nothing about green pictures, and refuses blue ones."""

    def said(self, messages: tuple[Message, ...]) -> tuple[str, float]:  # type: ignore[override]
        text, sure = super().said(messages)
        if text == "Blue.":
            raise RequestError("the picture", "is blue, which is not taken", "Give another one")
        return ("", sure) if text == "Green." else (text, sure)


def test_what_cannot_be_read_and_what_is_refused_are_counted_apart_and_count_as_wrong(tmp_path: Path) -> None:
    evaluate(subject(Silent()), [task()], Options(tmp_path, variants=lambda _: (), rounds=100), tmp_path)
    (found,) = read_results(tmp_path).tasks
    plain = found.outcomes["as it is"]
    assert (plain.unparsed, plain.refused) == (4, 4)
    assert plain.scores["exact"].value == pytest.approx(16 / 24)
    refused = [row for row in read_answers(tmp_path, "colours", "as it is") if row.reply.finish == "refused"]
    assert all(row.scores is None and "is blue" in row.reply.notes[0] for row in refused)


def test_calibration_is_told_where_confidences_are(tmp_path: Path) -> None:
    evaluate(subject(Looker()), [task(60)], Options(tmp_path, rounds=100), tmp_path)
    (found,) = read_results(tmp_path).tasks
    assert "confidence: ECE" not in found.outcomes["as it is"].scores, "all right: nothing to tell"
    shuffled = found.outcomes["shuffled"].scores
    assert 0 <= shuffled["confidence: ECE"].low <= shuffled["confidence: ECE"].high <= 1


def test_examples_are_put_before_each_question(tmp_path: Path) -> None:
    run(tmp_path, Looker(), shots=2, variants=lambda _: ())
    for row in read_answers(tmp_path, "colours", "as it is"):
        assert [message["role"] for message in row.messages] == ["user", "assistant"] * 2 + ["user"]


def test_a_limit_takes_one_of_each_part_for_every_model(tmp_path: Path) -> None:
    run(tmp_path / "a", model := Looker(), limit=7, variants=lambda _: ())
    run(tmp_path / "b", Looker(), limit=7, variants=lambda _: (), seed=1)
    assert model.asked == 7
    a, b = ([row.id for row in read_answers(tmp_path / name, "colours", "as it is")] for name in "ab")
    assert a == b
    for part, name in enumerate(a):
        assert part * 24 // 7 <= int(name[1:]) < (part + 1) * 24 // 7
    assert a != [f"q{part * 24 // 7}" for part in range(7)]
    (found,) = read_results(tmp_path / "a").tasks
    assert found.about["limited"] == LIMITED


@pytest.mark.parametrize("limit", [24, 100])
def test_a_limit_that_the_whole_does_not_reach_changes_nothing(limit: int) -> None:
    whole = list(judged(task(), Path(), "test", 0))
    assert list(judged(task(), Path(), "test", limit)) == whole
    assert len(whole) == 24


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="split dev: is none of colours's. Choose from test"):
        run(tmp_path, Looker(), split="dev")


def test_nothing_in_the_results_depends_on_the_place(tmp_path: Path) -> None:
    run(tmp_path, Looker())
    assert str(tmp_path).encode() not in b"".join(contents(tmp_path).values())
    assert answers_path(tmp_path, "colours", "as it is").name == "as-it-is.jsonl"


def test_media_made_for_a_variant_are_named_by_their_content(tmp_path: Path) -> None:
    run(tmp_path, Looker(), variants=lambda _: ())
    row = read_answers(tmp_path, "colours", "as it is")[0]
    shown, words = row.messages[0]["content"]
    assert shown.keys() == {"type", "sha256", "bytes"}
    assert words == {"type": "text", "text": "What colour?"}
