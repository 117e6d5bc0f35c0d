"""Distillation's recipe: a student with some of its teacher's layers, taught by it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sensorium.data.flat import flatten
from sensorium.data.synthetic import World
from sensorium.errors import RequestError
from sensorium.model import checkpoint
from sensorium.model.presets import tiny
from sensorium.objectives.distillation import Lessons
from sensorium.training.recipe import execute
from sensorium.training.taught import Taught, thin


def test_a_student_begins_with_evenly_chosen_layers() -> None:
    teacher = tiny(layers=4)
    student = thin(teacher, 2)
    assert len(student.decoder.layers) == 2
    for mine, other in ((0, 1), (1, 3)):
        pairs = zip(student.decoder.layers[mine].parameters(), teacher.decoder.layers[other].parameters(), strict=True)
        assert all(torch.equal(one, two) for one, two in pairs)
    assert torch.equal(student.decoder.embed_tokens.weight, teacher.decoder.embed_tokens.weight)
    with pytest.raises(RequestError, match="student: has 5 layers, more than its teacher's 4"):
        thin(teacher, 5)
    with pytest.raises(RequestError, match="teacher: reads media before certain layers"):
        thin(tiny(cross_attention=True), 1)


def test_a_student_that_is_its_teacher_has_nothing_to_learn() -> None:
    teacher = tiny()
    student = thin(teacher, 2)
    flat = flatten([teacher.batch([sample]) for sample in World(size=32).samples(2, what="questions")])
    objective = Taught(teacher, student, Lessons(logits=1.0))
    loss = objective(student, flat)
    assert float(loss.total.detach()) == pytest.approx(0.0, abs=1e-4)
    assert loss.terms["agreed"] == (loss.size, loss.size)
    assert not any(name.startswith("_teacher") for name, _ in objective.named_parameters())
    with pytest.raises(RequestError, match="attention maps: are not made for rows laid end to end. Set their weight to 0"):
        Taught(teacher, student, Lessons(attention=1.0))


def test_the_recipe_trains_a_thinner_model_and_exports_it(tmp_path: Path) -> None:
    sets = ["teacher=tiny", "layers=1", "words=false", "data.train=synthetic:questions", "data.rows=4", "data.judge=4"]
    sets += ["data.scenes=32", "training.steps=2", "training.evaluate_every=0", "training.precision=fp32"]
    outcome = execute("distill", sets, tmp_path / "run")["main"]
    assert outcome.steps == 2
    assert {"loss", "logits", "hidden", "gold", "agreed"} <= outcome.last.keys()
    assert len(checkpoint.load(tmp_path / "run" / "model").decoder.layers) == 1
