"""What the objectives are for, on the synthetic world, at a small budget each."""

from __future__ import annotations

import pytest
import torch

from benchmarks.synthetic import contrast, preferring, streams, students
from benchmarks.synthetic.fit import batches, scenes
from sensorium.objectives.contrastive import Doubt, Form
from sensorium.objectives.preference import Form as Preferred


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_shuffled_captions_are_as_many_as_asked_and_all_of_others() -> None:
    captions = [(str(number),) for number in range(100)]
    told = contrast.shuffled(captions, 0.3)
    assert sum(one != other for one, other in zip(captions, told, strict=True)) == 30
    assert sorted(told) == sorted(captions)


def test_settings_are_chosen_by_other_scenes_than_those_reported_on() -> None:
    keys = [{scene.key for scene in scenes(50, on, single=True)} for on in ("train", "dev", "test")]
    assert [len(some) for some in keys] == [50, 50, 50]
    assert len(set.union(*keys)) == 150
    drawn = [{scene.picture().tobytes() for scene in scenes(50, on)} for on in ("train", "dev", "test")]
    assert len(set.union(*drawn)) == 150


def test_an_offer_is_one_true_list_and_four_with_one_thing_more() -> None:
    for scene in scenes(20, "test"):
        said = contrast.offer(scene)
        assert said[0] == scene.captions()[0]
        assert all(text.count(",") + text.count(" and ") == len(scene.things) for text in said[1:])


def test_every_row_comes_once_an_epoch() -> None:
    rows = batches(10, 3)
    assert len({row for step in range(3) for row in rows(step)}) == 9
    assert rows(0) == batches(10, 3)(0) != rows(3)


@pytest.mark.slow
@pytest.mark.parametrize(("form", "least"), [("softmax", 0.7), ("sigmoid", 0.4)])
def test_classes_are_named(form: Form, least: float) -> None:
    """Of 16; the sigmoid begins more slowly."""
    found = contrast.naming(contrast.Lesson(form), contrast.Budget(2000, 400, 64, 240))
    assert found["named"].value > least
    assert found["fall"].value > least / 2


@pytest.mark.slow
def test_a_third_of_wrong_captions_does_little_harm_when_they_are_doubted() -> None:
    budget = contrast.Budget(2000, 400, 64, 240)
    clean = contrast.naming(contrast.Lesson(), budget)["named"].value
    noisy = contrast.naming(contrast.Lesson(wrong=0.3, doubt=Doubt(trim=0.35, soft=0.3)), budget)["named"].value
    assert noisy > clean - 0.25  # a third of the full budget; with all of it the difference is 0.08


@pytest.mark.slow
def test_hallucinated_negatives_cut_what_is_invented() -> None:
    found = contrast.invented(contrast.Budget(1500, 200, 48, 200))
    assert found["cut"].value > 0.2


@pytest.mark.slow
def test_a_student_keeps_what_its_teacher_knows() -> None:
    found = students.distil(students.Budget(1500, 150, 300, 300))
    assert found["parameters"].value <= 0.4
    assert found["kept"].value > 0.85


@pytest.mark.slow
def test_replay_keeps_what_a_naive_run_forgets() -> None:
    found = streams.forgetting(("naive", "replay"), streams.Budget(1200, 150, 150))
    assert found["naive"].value > 0.25
    assert found["replay"].value < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("form", ["dpo", "ln-dpo", "simpo"])
def test_preferred_answers_become_likelier(form: Preferred) -> None:
    found = preferring.prefer(form, preferring.Budget(300, 60, 150, 40, 8))
    assert found["after"].value > found["before"].value + 0.2
