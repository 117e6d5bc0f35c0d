"""Adapters: switching by rows, merging, what trains."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sensorium.errors import RequestError
from sensorium.nn.fused import fuse
from sensorium.nn.lora import LoraConfig, LoraLinear, absorb, adapted, add_lora, choose, merge, unmerge


class Block(nn.Module):
    """Two layers to adapt, one that is not, and a path of faster ways."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.other = nn.Linear(12, 8), nn.Linear(12, 8, bias=False), nn.Linear(8, 12)
        self.fast = None

    def forward(self, x_BLD: Tensor) -> Tensor:
        return self.other(torch.tanh(self.q_proj(x_BLD)) * self.k_proj(x_BLD))


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(Block(), Block())


def moved(module: nn.Module) -> nn.Module:
    """Every adapter parameter away from its start."""
    for layer in adapted(module).values():
        nn.init.normal_(layer.lora_B, std=0.3)
        if layer.lora_magnitude is not None:
            layer.lora_magnitude.data.mul_(1 + 0.2 * torch.rand(layer.out_features))
    return module


KINDS = [
    LoraConfig(r=3, alpha=6, targets=("q_proj", "k_proj")),
    LoraConfig(r=3, alpha=6, targets=("q_proj",), rslora=True),
    LoraConfig(r=3, alpha=6, targets=("q_proj", "k_proj"), dora=True),
]
X = torch.randn(4, 5, 12, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("config", KINDS)
def test_starts_as_the_base_and_trains_only_the_adapter(config: LoraConfig) -> None:
    plain, net = model(), model()
    add_lora(net, config)
    assert (net(X) - plain(X)).abs().max() < 1e-6
    moved(net)(X).square().sum().backward()
    learning = {name for name, weight in net.named_parameters() if weight.requires_grad}
    assert all(".lora_" in name for name in learning)
    assert len(learning) == 2 * len(config.targets) * (3 if config.dora else 2)
    for name, weight in net.named_parameters():
        assert (weight.grad is not None and weight.grad.abs().max() > 0) == (name in learning), name


@pytest.mark.parametrize("config", KINDS)
def test_rows_that_are_off_give_exactly_the_base(config: LoraConfig) -> None:
    plain, net = model(), model()
    switch = add_lora(net, config)
    moved(net)
    base, on = plain(X), net(X)
    assert (on - base).abs().amax((1, 2)).min() > 1e-3
    with switch.rows(False):
        assert net(X).equal(base)
    with switch.rows(torch.tensor([True, False, False, True])):
        mixed = net(X)
        with switch.rows(torch.tensor([False] * 4)):
            assert switch.rows_B is False
        assert net(X).equal(mixed), "an inner block must give the outer one back"
    assert mixed[1:3].equal(base[1:3])
    assert (mixed[[0, 3]] - on[[0, 3]]).abs().max() < 1e-6
    with switch.rows(torch.tensor([True] * 4)):
        assert net(X).equal(on)
    assert switch.rows_B is None


@pytest.mark.parametrize("config", KINDS)
def test_the_switch_comes_back_after_an_error(config: LoraConfig) -> None:
    switch = add_lora(model(), config)
    with pytest.raises(ZeroDivisionError), switch.rows(False):
        raise ZeroDivisionError
    assert switch.rows_B is None


@pytest.mark.parametrize("config", KINDS)
def test_merged_equals_unmerged_and_back(config: LoraConfig) -> None:
    net = model()
    switch = add_lora(net, config)
    moved(net)
    expected, before = net(X), {name: tensor.clone() for name, tensor in net.state_dict().items()}
    merge(net)
    merge(net)
    assert (net(X) - expected).abs().max() <= 1e-5
    assert not net[0].q_proj.weight.equal(before["0.q_proj.base.weight"])
    with switch.rows(False), pytest.raises(RequestError, match="is merged into the weights and cannot be switched off"):
        net(X)
    unmerge(net)
    unmerge(net)
    assert (net(X) - expected).abs().max() <= 1e-5
    assert all((tensor - before[name]).abs().max() <= 1e-6 for name, tensor in net.state_dict().items())
    absorb(net)
    assert not adapted(net)
    assert net.state_dict().keys() == model().state_dict().keys()
    assert (net(X) - expected).abs().max() <= 1e-5


def test_the_scale_is_alpha_over_r_or_its_root() -> None:
    assert LoraConfig(r=16, alpha=32).scale == 2
    assert LoraConfig(r=16, alpha=32, rslora=True).scale == 8
    layer = LoraLinear(nn.Linear(12, 8), LoraConfig(r=16, alpha=32), add_lora(model(), KINDS[0]))
    nn.init.normal_(layer.lora_B)
    by_hand = layer.base(X) + 2 * (X @ layer.lora_A.T) @ layer.lora_B.T
    assert (layer(X) - by_hand).abs().max() < 1e-4


def test_dora_by_the_papers_formula() -> None:
    layer = LoraLinear(nn.Linear(12, 8), LoraConfig(r=3, alpha=6, dora=True), add_lora(model(), KINDS[0]))
    nn.init.normal_(layer.lora_B)
    assert layer.lora_magnitude is not None
    layer.lora_magnitude.data.add_(0.5)
    direction = layer.base.weight + 2 * layer.lora_B @ layer.lora_A
    weight = layer.lora_magnitude[:, None] * direction / direction.norm(dim=1, keepdim=True)
    assert (layer(X) - nn.functional.linear(X, weight, layer.base.bias)).abs().max() < 1e-5


def test_dropout_only_in_training() -> None:
    net = model()
    add_lora(net, LoraConfig(r=8, dropout=0.5, targets=("q_proj",)))
    moved(net)
    assert not net.train()(X).equal(net(X))
    assert net.eval()(X).equal(net(X))


@pytest.mark.parametrize("dora", [False, True])
def test_fp32_adapters_on_a_bf16_base(dora: bool) -> None:
    net = model().to(torch.bfloat16)
    switch = add_lora(net, LoraConfig(r=3, targets=("q_proj", "k_proj"), dora=dora))
    assert all(layer.lora_A.dtype == torch.float32 for layer in adapted(net).values())
    with switch.rows(torch.tensor([True, False, True, True])):
        out = moved(net)(X.to(torch.bfloat16))
    assert out.dtype == torch.bfloat16
    out.float().square().sum().backward()
    assert all(layer.lora_A.grad.dtype == torch.float32 for layer in adapted(net).values())


def test_targets_match_whole_endings_of_paths() -> None:
    config = LoraConfig(targets=("q_proj", "mlp.up"))
    assert [config.hits(name) for name in ("a.q_proj", "q_proj", "a.eq_proj", "b.mlp.up", "mlp.up", "up")] == [
        True,
        True,
        False,
        True,
        True,
        False,
    ]
    net = model()
    add_lora(net, LoraConfig(targets=("1.q_proj",)))
    assert adapted(net).keys() == {"1.q_proj"}


def test_what_cannot_be_adapted_says_so() -> None:
    with pytest.raises(RequestError, match="adapter target w_proj: names no linear layer of the model"):
        add_lora(model(), LoraConfig(targets=("q_proj", "w_proj")))
    net = model()
    add_lora(net, KINDS[0])
    with pytest.raises(RequestError, match=r"layer 0\.q_proj: has an adapter 'default' already"):
        add_lora(net, KINDS[0])


class Packed(nn.Module):
    """A linear layer that keeps its weight in int8."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight = nn.Buffer((layer.weight * 100).to(torch.int8))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.float().T / 100


def test_a_quantised_base_can_be_adapted_but_not_merged() -> None:
    net = nn.ModuleDict({"q_proj": Packed(nn.Linear(12, 8))})
    add_lora(net, LoraConfig(r=2, targets=("q_proj",)))
    assert net["q_proj"](X).shape == (4, 5, 8)
    with pytest.raises(RequestError, match="needs the base's floating-point weights"):
        merge(net)
    with pytest.raises(RequestError, match="needs the base's floating-point weights"):
        add_lora(nn.ModuleDict({"q_proj": Packed(nn.Linear(12, 8))}), LoraConfig(targets=("q_proj",), dora=True))


def test_a_fused_path_around_the_adapter_is_closed() -> None:
    net = model()
    net[0].fast = fuse([net[0].q_proj])
    add_lora(net, KINDS[0])
    assert net[0].fast is None


def test_sets_of_adapters_are_chosen_by_name_and_by_rows() -> None:
    plain, net = model(), model()
    first = add_lora(net, KINDS[0], "first")
    second = add_lora(net, KINDS[2], "second")
    moved_set(net, "first"), moved_set(net, "second")
    assert {name for name, weight in net.named_parameters() if weight.requires_grad}.isdisjoint(
        name for name, _ in net.named_parameters() if ".base.lora_" in name
    ), "only the set that was added last trains"
    outs = {}
    for name in ("first", "second"):
        choose(net, name)
        outs[name] = net(X)
    assert (outs["first"] - outs["second"]).abs().max() > 1e-2
    rows = torch.tensor([True, False, False, True])
    with first.rows(rows), second.rows(~rows):
        mixed = net(X)
    assert torch.allclose(mixed, torch.where(rows[:, None, None], outs["first"], outs["second"]), atol=1e-5)
    choose(net, None)
    assert torch.allclose(net(X), plain(X), atol=1e-6)


def moved_set(net: nn.Module, name: str) -> None:
    for layer in adapted(net, name).values():
        nn.init.normal_(layer.lora_B, std=0.3)


def test_sets_that_would_mix_are_refused() -> None:
    net = model()
    first = add_lora(net, KINDS[0], "first")
    add_lora(net, KINDS[2], "second")
    with pytest.raises(RequestError, match=r"there are \['first', 'second'\]; which of them is meant"):
        adapted(net)
    with pytest.raises(RequestError, match="none is called 'third'"):
        choose(net, "third")
    with first.rows(None), pytest.raises(RequestError, match="adapter 'second': is DoRA and cannot add to 'first'"):
        net(X)
    merge(net, "first")
    with pytest.raises(RequestError, match="adapter 'first': is merged into the weights already"):
        merge(net, "second")
    with pytest.raises(RequestError, match="adapter 'first': is merged into the weights. Call `unmerge` first"):
        choose(net, "second")


def test_one_regular_expression_and_ranks_of_their_own() -> None:
    net = model()
    config = LoraConfig(r=3, alpha=6, targets=r"\d\.[qk]_proj", ranks={"q_proj": 5}, alphas={r"1\.k_proj": 9.0})
    add_lora(net, config)
    found = {name: (layer.config.r, layer.config.alpha) for name, layer in adapted(net).items()}
    assert found == {"0.q_proj": (5, 6), "0.k_proj": (3, 6), "1.q_proj": (5, 6), "1.k_proj": (3, 9.0)}
    with pytest.raises(RequestError, match=r"adapter target q_proj: names no linear layer"):
        add_lora(model(), LoraConfig(targets="q_proj"))
    with pytest.raises(RequestError, match=r"adapter of 0\.q_proj: has the rank 0"):
        add_lora(model(), LoraConfig(r=0, targets=("q_proj",)))
