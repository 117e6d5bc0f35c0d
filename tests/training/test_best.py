"""With patience a run ends with the weights of its best evaluation, to the bit, interrupted or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sensorium.training.average import Average
from sensorium.training.distributed import Together, World
from sensorium.training.loop import Loop
from sensorium.training.optimizer import Group
from sensorium.training.rig import Rig, Step
from sensorium.training.run import Recipe, Run, Training
from sensorium.training.schedule import Constant, Timetable
from sensorium.training.sharded import SharedStates
from sensorium.training.state import Place, States
from sensorium.training.task import Task
from sensorium.training.truth import Truth
from tests.training.toy import PARTS, Numbers, Scaled, Toy

HEARD = [3.0, 1.0, 2.0, 1.0, 1.5]
"""Losses of the evaluations after steps 2, 4, ...: the best is the second, and an equal one is no better."""


def run(folder: Path, average: float, shared: bool = False, stop: int = 0) -> tuple[Loop, Toy, dict[int, dict[str, Tensor]]]:
    """The loop with evaluations that say what `HEARD` says; and what each of them saw. Interrupted after step `stop`."""
    model, seen = Toy(), dict[int, dict[str, Tensor]]()

    def evaluate(place: Place, kept: Average) -> float:
        with kept.shown():
            seen[place.step] = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        return HEARD[place.step // 2 - 1]

    def tell(step: Step) -> None:
        if step.step == stop:
            raise KeyboardInterrupt

    keeper: Any = SharedStates(folder, Together(World())) if shared else States(folder)
    rig = Rig(average=average, keeper=keeper, save_every=1, tell=tell, evaluate=evaluate, evaluate_every=2, best=True)
    torch.manual_seed(0)
    groups = [Group(dict(model.named_parameters()), 0.02)]
    loop = Loop(model, [Task("sums", Scaled(), Numbers())], groups, Timetable(Constant(), 20, patience=3), rig)
    if stop:
        with pytest.raises(KeyboardInterrupt):
            loop.run()
    else:
        assert loop.run().step == 10
    return loop, model, seen


@pytest.mark.parametrize("average", [0.0, 0.9])
@pytest.mark.parametrize("shared", [False, True])
def test_what_the_best_evaluation_saw_is_kept_and_survives_an_interruption(
    average: float, shared: bool, tmp_path: Path
) -> None:
    loop, model, seen = run(tmp_path / "whole", average, shared)
    assert (loop.best.step, loop.best.loss, sorted(seen)) == (4, 1.0, [2, 4, 6, 8, 10])
    loop.best.show()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, seen[4][name]), name
    assert not torch.equal(seen[4]["head.weight"], seen[10]["head.weight"])
    for stop in (3, 5, 9):
        run(tmp_path / "cut", average, shared, stop)
    again, other, after = run(tmp_path / "cut", average, shared)
    assert sorted(after) == [10], "the others were heard before the interruption"
    again.best.show()
    assert again.best.state() == {"loss": 1.0, "step": 4}
    for name, tensor in other.state_dict().items():
        assert torch.equal(tensor, seen[4][name]), name


def trained(folder: Path, patience: int, steps: int = 40) -> tuple[Run, Toy]:
    """Learns the opposite of what it is judged by, so that the first evaluation is the best."""
    watched = Truth(blind=False)
    training = Training(steps=steps, precision="fp32", evaluate_every=2, patience=patience, schedule=Constant(), truth=watched)
    made, model = Run(folder, Recipe(training=training)), Toy()
    held = Numbers(16, 1)
    held.turn = 10_000
    judged = [(x_BD, 1 - y_B) for x_BD, y_B in held.draw()]
    made.train(model, [Task("sums", Scaled(), Numbers(), judged)], {"encoders.image": PARTS["encoders.image"]}, training)
    return made, model


def test_a_run_with_patience_ends_with_the_best_weights_and_says_of_which_step(tmp_path: Path) -> None:
    (early, best), (_, right), (late, last) = (
        trained(tmp_path / name, patience, steps)
        for name, patience, steps in (("early", 2, 40), ("right", 0, 2), ("late", 0, 6))
    )
    outcome = early.outcomes["main"]
    assert (outcome.steps, outcome.best) == (6, 2)
    for name, tensor in best.state_dict().items():
        assert torch.equal(tensor, right.state_dict()[name]), name
    rows = [json.loads(line) for line in (tmp_path / "early" / "log.jsonl").read_text("utf-8").splitlines()]
    losses = [row["values"]["loss"] for row in rows if row["event"] == "evaluation"]
    assert outcome.last["loss"] == min(losses) == losses[0]
    assert (rows[-1]["early"], rows[-1]["best"], rows[-1]["step"]) == (True, 2, 6)
    assert late.outcomes["main"].best is None
    assert not torch.equal(last.state_dict()["encoders.image.weight"], right.state_dict()["encoders.image.weight"])
