"""The lab: a fair exam, families that learn, runs that resume, a curve that foretells."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium.batch import Modality, Piece, Shown
from sensorium.errors import CheckpointError, LimitError, RequestError
from sensorium.model import presets
from sensorium.parts import Image, Message, Sample, Text, Use
from sensorium.training.lab import bench, exam, report, summary
from sensorium.training.lab.bench import Comparison
from sensorium.training.lab.curve import Curve, fit
from sensorium.training.lab.exam import Exam, Question
from sensorium.training.lab.eyes import look, recall
from sensorium.training.lab.family import FAMILIES, Continues
from sensorium.training.lab.trial import Lesson, Material, Recipe, Trial, run

COLOURS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def material() -> Material:
    """Pictures that are one of three features at every place; "which" wants its name, "same" always wants yes."""
    chance = np.random.default_rng(0)
    which = chance.integers(0, 3, 400)
    questions = [Question(index, "which colour?", COLOURS[colour]) for index, colour in enumerate(which)]
    questions += [Question(index, "is it here?", "yes") for index in range(400)]
    train = tuple(item for item in questions if item.picture < 300)
    test = tuple(item for item in questions if item.picture >= 300)
    seen_PTD = torch.eye(3)[torch.from_numpy(which)].repeat_interleave(4, 1)[:, None].expand(-1, 4, -1).half()
    return Material(Exam("toy", np.zeros((400, 2, 2, 3), np.uint8), train, test), seen_PTD)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_learns_to_look_and_to_read(family: str, material: Material) -> None:
    trial = run(material, family, Recipe(steps=75, batch=8, rate=5e-3, warmup=4), 600, 0, dim=32)
    right = {name: np.mean(getattr(trial, name)) for name in ("hits", "no_picture", "other_picture", "other_question")}
    assert right["hits"] > 0.95
    assert right["no_picture"] < 0.8
    assert right["other_picture"] < 0.8
    assert right["other_question"] < 0.65
    assert trial.flops > 2 * 3 * 0.3 * trial.parameters


def test_floors_know_only_the_questions(material: Material) -> None:
    asked = material.exam
    assert asked.majority == pytest.approx(0.5)
    assert 0.6 < asked.by_question < 0.72
    assert asked.answers == ("blue", "green", "red", "yes")


def test_more_questions_than_there_are_is_refused(material: Material) -> None:
    with pytest.raises(LimitError, match="has 600 training questions, 601 are wanted"):
        material.exam.part(601, 0)


def test_a_part_takes_whole_pictures_and_grows_by_them(material: Material) -> None:
    asked = material.exam
    small, large = asked.part(100, 0), asked.part(200, 0)
    assert large[:100] == small
    assert [len({item.picture for item in part}) for part in (small, large)] == [50, 100]
    assert {item.picture for item in asked.part(100, 1)} != {item.picture for item in small}


def test_a_question_laid_out_once_is_the_layouts_own(material: Material) -> None:
    student = FAMILIES["projector"](material.shape(16))
    assert isinstance(student, Continues)
    texts = ["which colour?", "is it here?", "which colour?"]
    seen_BTD = material.seen_PTD[:3].float()
    pieces = [Piece(Modality.IMAGE, (0.0, 0.0, 1.0, 1.0), student.grid, tensor=seen_TD) for seen_TD in seen_BTD]
    samples = [Sample(text, (Message("user", (Image("picture"), Text(" ".join(exam.split(text))))),)) for text in texts]
    shown = [{(0, 0): Shown((piece,), Use(0, 0, "image", "picture"))} for piece in pieces]
    right, got = student.model.layout(samples, shown, reply=True), student.batch(seen_BTD, texts)
    for name in ("ids_BL", "valid_BL", "learn_BL"):
        assert torch.equal(getattr(got, name), getattr(right, name))
    assert (got.samples, got.placements, got.uses) == (right.samples, right.placements, right.uses)
    assert all(torch.equal(*pair) for pair in zip(got.media[Modality.IMAGE], right.media[Modality.IMAGE], strict=True))


def test_every_run_takes_as_many_steps_whatever_its_questions(material: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    asked = Lesson.loss
    monkeypatch.setattr(Lesson, "loss", lambda lesson, some: counts.append(len(some)) or asked(lesson, some))
    for rows in (20, 80):
        counts.clear()
        trial = run(material, "single-stream", Recipe(steps=7, batch=8), rows, 0, dim=16, controls=False)
        assert counts == [8] * 8  # the first is for the count of operations
        assert trial.no_picture == trial.other_picture == trial.other_question == ()


def test_the_drawn_exam_repeats_itself_and_keeps_pictures_apart() -> None:
    first, second = exam.synthetic(300, tests=100), exam.synthetic(300, tests=100)
    assert first.train == second.train
    assert (first.pictures_PHWC == second.pictures_PHWC).all()
    assert not {item.picture for item in first.train} & {item.picture for item in first.test}
    assert len(first.train) >= 300
    assert len(first.test) == 100
    assert 0 < first.majority <= first.by_question < 0.9


@pytest.mark.parametrize("bend", [-3.0, -0.5, 0.0, 0.5])
def test_the_curves_are_found_again(bend: float) -> None:
    truths = [Curve(1.0, 0.3 / 0.5**bend, bend), Curve(2.0, 0.6 / 0.5**bend, bend)]
    rows = [500, 1000, 2000, 4000]
    found = fit(rows, [[truth(size) for size in rows] for truth in truths])
    for curve, truth in zip(found, truths, strict=True):
        assert curve == pytest.approx(truth, rel=1e-6, abs=1e-9)
        assert curve(8000) == pytest.approx(truth(8000), rel=1e-6)


def test_without_a_bend_it_is_a_power_law_and_with_one_it_levels_off_or_plunges() -> None:
    level, plunging, power = Curve(0.0, 0.5, -0.5), Curve(0.0, 0.5, 0.5), Curve(0.0, 0.5, 0.0)
    assert power(400) / power(100) == pytest.approx(4**-0.5)
    assert level(1e11) == pytest.approx(np.exp(-1.0), rel=1e-3)
    assert plunging(4e5) / plunging(1e5) < plunging(1e5) / plunging(25e3)


def test_a_curve_never_rises() -> None:
    (rising,) = fit([100, 200, 400], [[1.0, 1.1, 1.2]])
    assert rising.slope == 0.0
    with pytest.raises(RequestError, match="has 2 sizes and needs 3"):
        fit([100, 200], [[1.0, 0.5]])


def test_what_is_foretold_and_came_has_an_interval_over_seeds() -> None:
    sizes, chance = (100, 200, 400, 800), np.random.default_rng(0)
    table_SFN = np.array(sizes, float) ** -0.5 * np.exp(chance.normal(0, 0.01, (3, 2, 4)))
    for told in summary.foretell(sizes, table_SFN):
        assert len(told.seen) == 3
        assert told.foretold.n == told.came.n == 3
        assert told.foretold.low < told.foretold.value < told.foretold.high
        assert told.came.value == pytest.approx(800**-0.5, rel=0.02)
        assert abs(told.off) < 0.05
        assert told.off == told.foretold.value / told.came.value - 1


def test_a_comparison_that_means_nothing_is_refused() -> None:
    with pytest.raises(RequestError, match="no family 'transformer'"):
        Comparison("synthetic", ("transformer",))
    with pytest.raises(RequestError, match="no exam 'gqa'"):
        Comparison("gqa")
    with pytest.raises(RequestError, match="16 questions in the smallest size"):
        Comparison("synthetic", rows=64)


def test_trials_resume_and_the_report_says_it_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, material: Material) -> None:
    comparison = Comparison(
        "synthetic", ("projector", "single-stream"), rows=256, halvings=2, seeds=2, dim=16, recipe=Recipe(steps=4)
    )
    monkeypatch.setattr(bench, "_material", lambda *_: material)
    counts: list[int] = []
    found = bench.trials(comparison, tmp_path / "trials", tmp_path, lambda done, total: counts.append(done))
    assert counts == list(range(17))
    again: list[int] = []
    assert bench.trials(comparison, tmp_path / "trials", tmp_path, lambda done, total: again.append(done)) == found
    assert again == [16]
    other = dataclasses.replace(comparison, dim=24)
    with pytest.raises(CheckpointError, match=r"trials: holds trials with .*'dim': 16"):
        bench.trials(other, tmp_path / "trials", tmp_path, lambda done, total: None)
    lines = summary.summarise(comparison, material.exam, found)
    report.write(tmp_path, comparison, material.exam, lines)
    written = json.loads((tmp_path / "lab.json").read_text())
    assert [row["family"] for row in written["families"]] == [line.family for line in lines]
    assert lines[0].score.value >= lines[1].score.value
    assert lines[0].score.low <= lines[0].score.value <= lines[0].score.high
    text = (tmp_path / "lab.md").read_text()
    assert f"| {lines[0].family} | {lines[0].score.value:.3f} [" in text
    assert text.count("| 64 | 128 | 256 | foretold for 512 | came | off by |\n|---|---|---|---|---|---|---|\n") == 2
    for row, line in zip(written["families"], lines, strict=True):
        for told, kept in ((row["loss"], line.loss), (row["right"], line.right)):
            assert told["off"] == kept.off
            assert f"| {100 * kept.off:+.1f} % |" in text
        came = [trial.hits for trial in found if (trial.family, trial.rows) == (line.family, 512)]
        assert line.right.came.value == pytest.approx(np.mean(came))
    assert (tmp_path / "lab.png").read_bytes().startswith(b"\x89PNG")


def test_a_damaged_trial_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"x\.json: is no trial of the lab"):
        Trial.load(tmp_path / "x.json")


def test_pictures_are_looked_at_once_and_recalled(tmp_path: Path) -> None:
    asked, model = exam.synthetic(40, tests=10), presets.tiny()
    said: list[int] = []
    look(asked, model, tmp_path / "eyes", lambda done, total: said.append(done), side=2)
    seen_PTD = recall(asked, tmp_path / "eyes")
    assert said[-1] == len(asked.pictures_PHWC) == len(seen_PTD)
    assert seen_PTD.shape[1:] == (4, 24)
    assert seen_PTD.float().mean((0, 1)).abs().max() < 0.01
    assert (seen_PTD.float().var((0, 1)) - 1).abs().max() < 0.05
    assert not torch.equal(seen_PTD[0], seen_PTD[1])
    lesson = Lesson(Material(asked, seen_PTD), Material(asked, seen_PTD).shape(16), torch.nn.Identity())
    assert torch.equal(lesson._seen(asked.train[:1])[0], seen_PTD[0].float())


def test_eyes_of_another_layer(tmp_path: Path) -> None:
    asked, model = exam.synthetic(20, tests=5), presets.tiny()
    with pytest.raises(RequestError, match=r"trace encoder\.image\.0\.hidden: has the shape \(1, 16, 24\)"):
        look(asked, model, tmp_path / "eyes", lambda done, total: None, layer="encoder.image.0.hidden")
