"""The loop: what counts in a batch, what learns and when, and what stops it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sensorium.errors import CheckpointError, RequestError
from sensorium.objectives.loss import Loss
from sensorium.training.average import Average
from sensorium.training.feed import Cycle
from sensorium.training.loop import Loop
from sensorium.training.optimizer import Group, Part, arrange
from sensorium.training.recompute import recomputing
from sensorium.training.rig import Rig, Step
from sensorium.training.schedule import Constant, Timetable
from sensorium.training.state import Held, Place, States
from sensorium.training.task import Task
from tests.training.toy import PARTS, Toy, config, go


def mean_square(model: nn.Linear, batch: Tensor) -> Loss:
    total = (model(batch) - 1).square().sum()
    return Loss(total, len(batch), {"loss": (float(total.detach()), len(batch))})


def trained(tasks: Sequence[Task[Any]], steps: int = 3, **rig: Any) -> tuple[nn.Linear, list[Step]]:
    torch.manual_seed(0)
    model, told = nn.Linear(3, 1), list[Step]()
    for task in tasks:
        task.feed.seek({"turn": 0})
    groups = [Group(dict(model.named_parameters()), 0.1)]
    Loop(model, tasks, groups, Timetable(Constant(), steps), Rig(tell=told.append, **rig)).run()
    return model, told


def test_a_ragged_batch_in_parts_counts_every_row_the_same() -> None:
    whole = torch.randn(9, 3)
    one, told = trained([Task("a", mean_square, Cycle([[whole]]))])
    parts, told_parts = trained([Task("a", mean_square, Cycle([[whole[:7], whole[7:8], whole[8:]]]))])
    threads, _ = trained([Task("a", mean_square, Cycle([[whole[:7], whole[7:]]]))], workers=2)
    for other in (parts, threads):
        assert torch.allclose(one.weight, other.weight, atol=1e-6)
    assert told[0].norm == pytest.approx(told_parts[0].norm, rel=1e-5)
    assert told[0].sizes == {"a": 9}


def test_tasks_are_summed_by_weight_each_over_its_own_size() -> None:
    first, second = torch.randn(4, 3), torch.randn(20, 3)
    tasks = [Task("a", mean_square, Cycle([[first]])), Task("b", mean_square, Cycle([[second]]), weight=0.5)]
    _, told = trained(tasks, steps=1)
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    loss = (model(first) - 1).square().mean() + 0.5 * (model(second) - 1).square().mean()
    loss.backward()
    assert told[0].norm == pytest.approx(float(torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])), rel=1e-5)
    assert set(told[0].terms) == {"a/loss", "b/loss"}


def test_the_gradient_is_clipped() -> None:
    x = torch.randn(4, 3) * 100
    model, told = trained([Task("a", mean_square, Cycle([[x]]))], steps=1, clip=0.5)
    assert told[0].norm > 100
    total = torch.nn.utils.get_total_norm([value.grad for value in model.parameters() if value.grad is not None])
    assert float(total) == pytest.approx(0.5, rel=1e-4)


def test_parts_are_found_by_the_longest_path_and_the_rest_is_frozen() -> None:
    model = Toy()
    groups = arrange(model, {"encoders": Part(rate=0.1), "encoders.audio": None, "head": Part(rate=0.3, thaw=2)})
    assert [sorted(group.parameters) for group in groups] == [
        ["encoders.image.bias", "encoders.image.weight"],
        ["head.bias", "head.weight"],
    ]
    assert not model.encoders["audio"].weight.requires_grad
    assert not model.head.weight.requires_grad
    assert model.encoders["image"].training
    assert model.drop.training
    assert not model.encoders["audio"].training
    with pytest.raises(RequestError, match=r"part encodrs: names nothing.*nearest part is encoders"):
        arrange(model, {"encodrs": Part()})
    with pytest.raises(RequestError, match="all frozen"):
        arrange(model, {"head": None})


def test_a_part_thaws_at_its_step(tmp_path: Path) -> None:
    before = Toy().head.weight.detach()
    assert torch.equal(go(tmp_path / "a", config(6, average=0.0), parts=PARTS)[1].head.weight, before)
    assert not torch.equal(go(tmp_path / "b", config(7, average=0.0), parts=PARTS)[1].head.weight, before)


def test_the_average_is_torchs() -> None:
    model = nn.Linear(2, 2)
    theirs = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    ours = Average(dict(model.named_parameters()), 0.9)
    for _ in range(5):
        with torch.no_grad():
            model.weight.add_(torch.randn(2, 2))
        theirs.update_parameters(model)
        ours.update()
    assert torch.allclose(ours.tensors["weight"], theirs.module.weight, atol=1e-6)
    own = model.weight.detach().clone()
    with ours.shown():
        assert torch.allclose(model.weight, theirs.module.weight, atol=1e-6)
    assert torch.equal(model.weight, own)


def test_recomputed_activations_give_the_same_gradient() -> None:
    torch.manual_seed(0)
    model = nn.Sequential()
    model.layers = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)) for _ in range(3))
    x = torch.randn(5, 4)

    def gradient() -> Tensor:
        torch.manual_seed(1)
        y = x
        for layer in model.layers:
            y = layer(y)
        return torch.autograd.grad(y.square().sum(), model.layers[0][0].weight)[0]

    plain = gradient()
    with recomputing(model):
        assert torch.equal(gradient(), plain)
    assert "forward" not in model.layers[0].__dict__


def test_the_run_ends_early_without_progress(tmp_path: Path) -> None:
    made = config(500, patience=2, evaluate_every=5)
    run, _ = go(tmp_path, made, parts={"encoders.image": Part(rate=1e-9), "objective": None, "head": Part(rate=1e-9)})
    assert run.outcomes["main"].steps < 100


def test_a_damaged_state_is_passed_over_and_named(tmp_path: Path) -> None:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    held, states = Held(dict(model.named_parameters()), optimizer), States(tmp_path, keep=3)
    for step in (1, 2, 3):
        with torch.no_grad():
            model.weight.fill_(float(step))
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        kept = model.weight.detach().clone()
        states.save(held, Place(step=step, feeds={"a": {"turn": step}}))
        if step == 2:
            second = kept
    assert [path.name for path in states.paths()][-1] == "step-00000003.safetensors"
    newest = states.paths()[-1]
    data = bytearray(newest.read_bytes())
    data[-3] ^= 1
    newest.write_bytes(data)
    (tmp_path / "step-00000004.safetensors.partial").write_bytes(b"half")
    place, passed = states.load(held)
    assert place is not None
    assert (place.step, place.feeds) == (2, {"a": {"turn": 2}})
    assert torch.equal(model.weight, second)
    assert passed == ["step-00000003.safetensors is damaged: its checksum differs; the state before it is used"]
    assert not list(tmp_path.glob("*.partial"))
    for path in states.paths():
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="all are damaged"):
        states.load(held)


def test_only_so_many_states_are_kept(tmp_path: Path) -> None:
    go(tmp_path, config(9))
    assert [path.name for path in sorted((tmp_path / "states" / "main").iterdir())] == [
        "step-00000008.safetensors",
        "step-00000009.safetensors",
    ]


def test_an_interrupted_run_has_the_losses_of_one_that_was_not(tmp_path: Path) -> None:
    def losses(run: Any) -> list[float]:
        return [row["terms"]["loss"] for row in run.files.rows() if row["event"] == "step"]

    whole = losses(go(tmp_path / "whole", config(30))[0])

    def listen(row: Any) -> None:
        if row["event"] == "step" and row["step"] == 13:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "cut", config(30), listen=listen)
    again = losses(go(tmp_path / "cut", config(30), resume=True)[0])
    assert again[-18:] == whole[-18:]
    assert len(whole) == 30
    assert all(map(math.isfinite, whole))
