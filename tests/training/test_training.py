"""The loop learns, resumes to the bit, and says what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from sensorium.errors import CheckpointError
from sensorium.objectives.loss import Loss
from sensorium.training.features import FeatureStore
from sensorium.training.feed import Thunk
from sensorium.training.loop import train
from sensorium.training.optimizer import Group
from sensorium.training.precision import fast_dtype
from sensorium.training.schedule import Plan


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.drop = nn.Linear(3, 1), nn.Dropout(0.2)

    def loss(self, x: torch.Tensor) -> Loss:
        total = ((self.layer(self.drop(x)) - x.sum(1, keepdim=True)) ** 2).sum()
        return Loss(total, len(x), {"loss": (float(total.detach()), len(x))})

    def epoch(self, number: int, shards: int = 1) -> list[Sequence[Thunk]]:
        chance = torch.Generator().manual_seed(number)
        batches = [torch.randn(8, 3, generator=chance) for _ in range(5)]
        return [[partial(self.loss, batch[part::shards]) for part in range(shards)] for batch in batches]


def run(line: Line, plan: Plan, **options: object) -> dict[str, torch.Tensor]:
    group = Group(dict(line.named_parameters()), 0.05, 0.01)
    train([group], line.epoch, plan, **options)  # type: ignore[arg-type]
    return {name: tensor.clone() for name, tensor in line.state_dict().items()}


def test_it_learns() -> None:
    line = Line()
    said: list[str] = []
    run(line, Plan(steps=200, warmup=5), say=said.append, every=50)
    assert len(said) == 4
    assert float(said[-1].split("loss ")[1].split()[0]) < 1.5
    assert line.layer.weight.detach().sub(1).abs().max() < 0.35


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = run(Line(), Plan(steps=12))
    line, steps = Line(), 0
    group = Group(dict(line.named_parameters()), 0.05, 0.01)

    def stopping(number: int) -> list[Sequence[Thunk]]:
        nonlocal steps
        batches = line.epoch(number)

        def stop() -> Loss:
            raise KeyboardInterrupt

        cut = [batch if steps + place < 7 else [stop] for place, batch in enumerate(batches)]
        steps += len(batches)
        return cut

    with pytest.raises(KeyboardInterrupt):
        train([group], stopping, Plan(steps=12, save_minutes=0.0), state=tmp_path / "run")
    assert (tmp_path / "run").is_file()
    assert {name: tensor.tolist() for name, tensor in run(Line(), Plan(steps=12), state=tmp_path / "run").items()} == {
        name: tensor.tolist() for name, tensor in whole.items()
    }


def test_shards_in_threads_give_the_gradient_of_the_whole() -> None:
    lines = [Line().eval(), Line().eval()]
    for line, shards in zip(lines, (1, 2), strict=True):
        group = Group(dict(line.named_parameters()), 0.05)
        train([group], partial(line.epoch, shards=shards), Plan(steps=6), workers=shards)
    assert torch.allclose(lines[0].layer.weight, lines[1].layer.weight, atol=1e-6)


def test_a_state_of_another_model_is_refused(tmp_path: Path) -> None:
    run(Line(), Plan(steps=1), state=tmp_path / "run")
    other = {"other": nn.Parameter(torch.zeros(2))}
    with pytest.raises(CheckpointError, match=r"is of another model: 3 parameters differ.*Delete it to begin anew"):
        train([Group(other, 0.1)], lambda _: [], Plan(steps=1), state=tmp_path / "run")


def test_a_loss_that_is_no_number_stops_the_run() -> None:
    line = Line()

    def broken(number: int) -> list[Sequence[Thunk]]:
        return [[lambda: Loss(line.layer.weight.sum() * float("nan"), 1, {"loss": (float("nan"), 1)})]]

    with pytest.raises(CheckpointError, match="Lower the learning rate"):
        train([Group(dict(line.named_parameters()), 0.1)], broken, Plan(steps=1))


def test_the_rate_warms_up_and_ends_at_its_floor_by_steps_or_by_the_clock() -> None:
    plan = Plan(steps=100, minutes=10, warmup=10, floor=0.1)
    assert plan.rate(0, 0) == pytest.approx(0.1)
    assert plan.rate(50, 0) == pytest.approx(0.55)
    assert plan.rate(20, 10) == pytest.approx(0.1)
    assert plan.progress(1, 5) == 0.5


def test_features_are_kept_in_half_precision_and_filled_where_they_stopped(tmp_path: Path) -> None:
    names = [str(number) for number in range(7)]
    asked: list[str] = []

    def encode(some: Sequence[str]) -> list[torch.Tensor]:
        asked.extend(some)
        return [torch.full((int(name) + 1, 4), float(name)) for name in some]

    store = FeatureStore(tmp_path / "store", 4, names)
    next(store.fill(encode, batch=2, save_every=1))
    again = FeatureStore(tmp_path / "store", 4, names)
    assert list(again.fill(encode, batch=2, save_every=1))[-1] == 7
    assert asked.count("0") == 1
    assert again[5].shape == (6, 4)
    assert again[5].dtype == torch.float16
    assert float(again[5].mean()) == 5.0
    with pytest.raises(CheckpointError, match="holds features of other media"):
        FeatureStore(tmp_path / "store", 4, ["another"])


def test_the_number_format_is_one_of_two() -> None:
    assert fast_dtype(64, 0.01) in (torch.float32, torch.bfloat16)
