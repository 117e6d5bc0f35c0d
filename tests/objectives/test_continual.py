"""Fisher information in closed form, the elastic penalty by hand, an even replay within its bytes, averaged weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from sensorium.errors import RequestError
from sensorium.objectives.continual import Elastic, Replay, average, fisher, interpolate
from sensorium.objectives.loss import Loss


def logistic(weight_D: nn.Parameter, x_D: torch.Tensor, label: float) -> Callable[[], Loss]:
    return lambda: Loss(F.binary_cross_entropy_with_logits(x_D @ weight_D, torch.tensor(label)), 1, {})


def test_fisher_of_logistic_regression_is_its_closed_form() -> None:
    """With each label as often as the model says, the mean squared gradient is p (1 - p) x^2."""
    weight_D = nn.Parameter(torch.tensor([0.5, -1.0, 2.0]))
    x_D = torch.tensor([1.0, 2.0, 0.5])
    chance = torch.sigmoid(x_D @ weight_D).item()
    drawn = torch.Generator().manual_seed(0)
    labels = (torch.rand(4000, generator=drawn) < chance).float().tolist()
    found = fisher({"w": weight_D}, [logistic(weight_D, x_D, label) for label in labels])["w"]
    wanted = chance * (1 - chance) * x_D.square()
    assert torch.allclose(found, wanted, rtol=0.1)
    p = torch.tensor(chance)
    exact = torch.stack([(p - label) ** 2 * x_D.square() for label in labels]).mean(0)
    assert torch.allclose(found, exact, rtol=1e-4)


def test_the_penalty_is_half_lambda_f_d_squared() -> None:
    weight_D = nn.Parameter(torch.tensor([1.0, 2.0]))
    elastic = Elastic(strength=10.0)
    assert float(elastic.penalty({"w": weight_D}).detach()) == 0.0
    elastic.add({"w": weight_D}, [lambda: Loss((weight_D * torch.tensor([3.0, 0.0])).sum(), 1, {})])
    with torch.no_grad():
        weight_D += 2.0
    assert float(elastic.penalty({"w": weight_D}).detach()) == pytest.approx(10 / 2 * 9 * 4)
    loss = elastic(Loss(torch.tensor(8.0), 4, {"loss": (8.0, 4)}), {"w": weight_D})
    assert float(loss.total.detach()) / loss.size == pytest.approx(2 + 180)
    assert loss.terms["elastic"] == (pytest.approx(720), 4)
    gradient = torch.autograd.grad(elastic.penalty({"w": weight_D}), weight_D)[0]
    assert gradient.tolist() == pytest.approx([10 * 9 * 2, 0.0])


def test_earlier_tasks_fade_by_the_decay() -> None:
    weight_D = nn.Parameter(torch.ones(1))
    elastic = Elastic(1.0, decay=0.5)
    for slope in (2.0, 4.0):
        elastic.add({"w": weight_D}, [lambda slope=slope: Loss(slope * weight_D.sum(), 1, {})])  # type: ignore[misc]
    assert elastic.fisher["w"].tolist() == [0.5 * 4 + 16]


def test_no_sample_no_fisher() -> None:
    with pytest.raises(RequestError, match="Fisher information: has no sample to be measured on. Give at least one"):
        fisher({"w": nn.Parameter(torch.ones(1))}, [])


@given(st.lists(st.integers(1, 50), max_size=80), st.integers(50, 200), st.integers(0, 9))
def test_replay_never_holds_more_than_its_bytes(sizes: list[int], limit: int, seed: int) -> None:
    replay: Replay[int] = Replay(limit, lambda size: size, seed)
    for size in sizes:
        replay.add(size)
        assert replay.bytes == sum(replay) <= limit
    assert replay.seen == len(sizes)
    if sum(sizes) <= limit:
        assert list(replay) == sizes


def test_replay_keeps_early_and_late_items_alike() -> None:
    kept: Counter[int] = Counter()
    for seed in range(400):
        replay: Replay[int] = Replay(10, lambda _: 1, seed)
        for item in range(100):
            replay.add(item)
        assert len(replay) == 10
        kept.update(item // 25 for item in replay)
    assert all(abs(kept[quarter] - 1000) < 120 for quarter in range(4))


def test_replay_is_the_same_every_time_and_draws_evenly() -> None:
    one, other = (Replay[int](20, lambda _: 1, 3) for _ in range(2))
    for item in range(50):
        one.add(item)
        other.add(item)
    assert list(one) == list(other) and one.draw(7) == other.draw(7)
    assert Counter(one.draw(60)) == dict.fromkeys(one, 3)
    assert Replay[int](5, lambda _: 1).draw(3) == []


def test_an_item_over_the_limit_is_refused() -> None:
    with pytest.raises(RequestError, match="replay buffer: holds 1,000 bytes, and an item has 2,000. Give it a higher limit"):
        Replay[int](1000, lambda size: size).add(2000)


def test_weights_between_two_models() -> None:
    torch.manual_seed(0)
    before, after, counter = nn.Linear(3, 2), nn.Linear(3, 2), {"steps": torch.tensor(4)}
    for share in (0.0, 0.3, 1.0):
        mixed = interpolate({**before.state_dict(), **counter}, {**after.state_dict(), "steps": torch.tensor(9)}, share)
        assert torch.allclose(mixed["weight"], torch.lerp(before.weight, after.weight, share), atol=1e-7)
        assert int(mixed["steps"]) == 9
    soup = average([before.state_dict(), after.state_dict()])
    x_PD = torch.randn(5, 3)
    wanted = (before(x_PD) + after(x_PD)) / 2  # a linear model's average answers the average
    assert torch.allclose(F.linear(x_PD, soup["weight"], soup["bias"]), wanted, atol=1e-6)
    with pytest.raises(
        RequestError, match="average of weights: is of models that differ in steps. Average models of one shape"
    ):
        average([before.state_dict(), {**after.state_dict(), **counter}])
