"""Low-rank adapters (Hu et al. 2021; DoRA, Liu et al. 2024) that can be switched on and off row by row.

A layer may carry several, each of a named set with a switch of its own; they wrap one another.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.errors import RequestError
from sensorium.nn.fused import Fused


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """What to adapt, and how strongly.

    Args:
        r: rank. alpha: the update is scaled by alpha / r, or by alpha / sqrt(r) with `rslora` (Kalajdzievski 2023).
        dropout: on the adapter's rank activations, in training (PEFT drops its input: many more random numbers).
        targets: last names of the linear layers, or longer endings of their paths, as PEFT matches them; or one regular
            expression that the whole path has to match.
        dora: learn the length of each output row apart from its direction.
        ranks, alphas: other values of `r` and `alpha` for layers whose path ends as a key (a regular expression) says.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # where a checkpoint's config.json holds it

    r: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: tuple[str, ...] | str = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    rslora: bool = False
    dora: bool = False
    ranks: Mapping[str, int] = field(default_factory=dict, hash=False)
    alphas: Mapping[str, float] = field(default_factory=dict, hash=False)

    @property
    def scale(self) -> float:
        """Factor on the update."""
        return self.alpha / (math.sqrt(self.r) if self.rslora else self.r)

    def hits(self, name: str) -> bool:
        """Whether the layer at path `name` is a target."""
        if isinstance(self.targets, str):
            return re.fullmatch(self.targets, name) is not None
        return any(name == target or name.endswith(f".{target}") for target in self.targets)

    def at(self, name: str) -> LoraConfig:
        """The configuration of the layer at path `name`: its own rank and alpha, and no exceptions any more."""
        rank = next((value for key, value in self.ranks.items() if re.match(rf"(.*\.)?({key})$", name)), self.r)
        alpha = next((value for key, value in self.alphas.items() if re.match(rf"(.*\.)?({key})$", name)), self.alpha)
        return replace(self, r=rank, alpha=alpha, ranks={}, alphas={})


class Switch:
    """Says for which rows the adapters of one set work; shared by all of its layers.

    `rows_B` is None (all rows), False (none) or a boolean `(B,)`; or `(B, L)` where rows hold several samples end to end.
    What is off gets exactly the base model's output.
    """

    def __init__(self) -> None:
        self.rows_B: Tensor | bool | None = None

    @contextmanager
    def rows(self, rows_B: Tensor | bool | None) -> Iterator[None]:
        """Work for these rows (or all: None or True; or none: False) until the block ends."""
        before = self.rows_B
        if isinstance(rows_B, Tensor) and bool(rows_B.all()):
            rows_B = None
        elif isinstance(rows_B, Tensor) and not bool(rows_B.any()):
            rows_B = False
        self.rows_B = None if rows_B is True else rows_B
        try:
            yield
        finally:
            self.rows_B = before


DEFAULT = "default"
"""The name of a set that is given none; PEFT's."""


class LoraLinear(nn.Module):
    """A linear layer and its low-rank update: `base(x) + scale * B A x`.

    `lora_A` `(R, in)` starts random, `lora_B` `(out, R)` zero, both fp32 by default whatever the base's dtype; the product is
    made in the dtype of x. With DoRA the whole row is rescaled to the length `lora_magnitude`; its norm carries no gradient
    (the paper's section 4.3).

    Args:
        base: `nn.Linear`, or a layer like it (`in_features`, `out_features`; DoRA and merging need its `weight`), or such a
            layer with an adapter of another set. Frozen.
        config: of this layer: `r` and `alpha` count.
        switch: shared with the other layers of the set.
        name: of the set.
    """

    def __init__(self, base: nn.Module, config: LoraConfig, switch: Switch, name: str = DEFAULT) -> None:
        super().__init__()
        self.base, self.config, self.switch, self.merged = base.requires_grad_(False), config, switch, False
        self.name = name
        self.in_features, self.out_features = cast(int, base.in_features), cast(int, base.out_features)
        device = next((tensor.device for tensor in (*base.parameters(), *base.buffers())), None)
        self.lora_A = nn.Parameter(torch.empty(config.r, self.in_features, device=device))
        self.lora_B = nn.Parameter(torch.zeros(self.out_features, config.r, device=device))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        self.lora_magnitude = nn.Parameter(_lengths(self.weight)) if config.dora else None
        self._merged_stretch: Tensor | None = None

    @property
    def weight(self) -> Tensor:
        """The base's weight `(out, in)`.

        Raises:
            RequestError: it is not stored as floating point.
        """
        weight = getattr(self.base, "weight", None)
        if not isinstance(weight, Tensor) or not weight.is_floating_point():
            raise RequestError("adapter", "needs the base's floating-point weights to merge or for DoRA", "Load it unquantised")
        return weight

    @property
    def bias(self) -> Tensor | None:
        """The base's bias `(out,)`."""
        bias: Tensor | None = getattr(self.base, "bias", None)
        return bias

    def forward(self, x_BLD: Tensor) -> Tensor:
        """`(B, ..., in)` to `(B, ..., out)`.

        Raises:
            RequestError: the adapter is merged and switched off, or two are on for the same rows and one of them is DoRA's.
        """
        base_BLE: Tensor = self.base(x_BLD)
        rows_B = self.switch.rows_B
        if self.merged:
            if rows_B is not None:
                raise RequestError("adapter", "is merged into the weights and cannot be switched off", "Call `unmerge` first")
            return base_BLE
        if rows_B is False:
            return base_BLE
        small_BLR = F.linear(x_BLD, self.lora_A.to(x_BLD.dtype))
        if self.config.dropout:
            small_BLR = F.dropout(small_BLR, self.config.dropout, self.training)
        if isinstance(rows_B, Tensor):
            on_B11 = rows_B.view(*rows_B.shape, *(1,) * (x_BLD.dim() - rows_B.dim()))
            small_BLR = small_BLR * on_B11
        update_BLE = F.linear(small_BLR, (self.lora_B * self.config.scale).to(x_BLD.dtype))
        if self.lora_magnitude is None:
            return base_BLE + update_BLE
        if isinstance(self.base, LoraLinear) and rows_B is None and self.base.switch.rows_B is None and not self.base.merged:
            raise RequestError(
                f"adapter {self.name!r}", f"is DoRA and cannot add to {self.base.name!r}", "Call `choose` with one of them"
            )
        bias_E, stretch_E = self.bias, self._stretch().to(base_BLE.dtype)
        plain_BLE = base_BLE if bias_E is None else base_BLE - bias_E
        turned_BLE = base_BLE + (stretch_E - 1) * plain_BLE + stretch_E * update_BLE
        return torch.where(on_B11, turned_BLE, base_BLE) if isinstance(rows_B, Tensor) else turned_BLE

    def _update(self) -> Tensor:
        """The change of the weight, `(out, in)`, without DoRA's rescaling, fp32."""
        return self.lora_B @ self.lora_A * self.config.scale

    def _stretch(self) -> Tensor:
        """DoRA's factor on each output."""
        assert self.lora_magnitude is not None
        return self.lora_magnitude / _lengths(self.weight.detach().float() + self._update().detach())

    @torch.no_grad()
    def merge(self) -> None:
        """Put the update into the base's weight; the layer then costs what the base costs."""
        if self.merged:
            return
        self._merged_stretch = None if self.lora_magnitude is None else self._stretch()[:, None]
        weight = self.weight.float() + self._update()
        self.weight.copy_(weight if self._merged_stretch is None else weight * self._merged_stretch)
        self.merged = True

    @torch.no_grad()
    def unmerge(self) -> None:
        """Take the update out again, up to rounding."""
        if not self.merged:
            return
        weight = self.weight.float() if self._merged_stretch is None else self.weight.float() / self._merged_stretch
        self.weight.copy_(weight - self._update())
        self.merged = False


def add_lora(module: nn.Module, config: LoraConfig, name: str = DEFAULT) -> Switch:
    """Freeze `module` and wrap every target in it; this set's adapters are the only parameters left to train.

    Other sets that are in `module` already are switched off; `choose` says which is on.

    Args:
        name: of the set, where there are several.

    Raises:
        RequestError: a target that names no layer, a rank under 1, or a layer that has an adapter of this name already.
    """
    layers = {path: layer for path, layer in module.named_modules() if hasattr(layer, "out_features")}
    inner = {id(layer.base) for layer in layers.values() if isinstance(layer, LoraLinear)}
    found = {path: layer for path, layer in layers.items() if config.hits(path) and id(layer) not in inner}
    for target in [config.targets] if isinstance(config.targets, str) else config.targets:
        one = LoraConfig(targets=target if isinstance(config.targets, str) else (target,))
        if not any(one.hits(path) for path in found):
            raise RequestError(f"adapter target {target}", "names no linear layer of the model", "Use names of its layers")
    for path, layer in found.items():
        if any(each.name == name for each in _chain(layer)):
            raise RequestError(
                f"layer {path}", f"has an adapter {name!r} already", "Absorb it, train that one on, or use another name"
            )
        if config.at(path).r < 1:
            raise RequestError(f"adapter of {path}", f"has the rank {config.at(path).r}", "Use at least 1")
    switch = Switch()
    module.requires_grad_(False)
    for other in _sets(module).values():
        other.rows_B = False
    for path, layer in found.items():
        parent = module.get_submodule(path.rpartition(".")[0])
        for attribute, value in list(vars(parent).items()):
            if isinstance(value, Fused):
                setattr(parent, attribute, None)
        setattr(parent, path.rpartition(".")[2], LoraLinear(layer, config.at(path), switch, name))
    return switch


def adapted(module: nn.Module, name: str | None = None) -> dict[str, LoraLinear]:
    """The adapted layers of one set in `module`, by the path that the plain layer had.

    Args:
        name: of the set; None is the only one.

    Raises:
        RequestError: there are several sets and no name, or none of that name.
    """
    name = _the_one(module, name)
    return {path: layer for path, layer in _adapters(module) if layer.name == name}


def choose(module: nn.Module, name: str | None) -> None:
    """Switch one set on for all rows, and all others off; None switches every set off.

    Raises:
        RequestError: there is no set of that name, or another is merged into the weights.
    """
    switches = _sets(module)
    if name is not None:
        _the_one(module, name)
    if merged := {layer.name for _, layer in _adapters(module) if layer.merged} - {name}:
        raise RequestError(f"adapter {min(merged)!r}", "is merged into the weights", "Call `unmerge` first")
    for other, switch in switches.items():
        switch.rows_B = None if other == name else False


def merge(module: nn.Module, name: str | None = None) -> None:
    """Put the adapters of a set (None: the only one) into the weights.

    Raises:
        RequestError: there are several sets and no name, none of that name, or another one is in the weights already.
    """
    name = _the_one(module, name)
    if merged := {layer.name for _, layer in _adapters(module) if layer.merged} - {name}:
        raise RequestError(f"adapter {min(merged)!r}", "is merged into the weights already", "Call `unmerge` first")
    for layer in adapted(module, name).values():
        layer.merge()


def unmerge(module: nn.Module, name: str | None = None) -> None:
    """Take the adapters of a set (None: the only one) out of the weights again."""
    for layer in adapted(module, name).values():
        layer.unmerge()


def absorb(module: nn.Module, name: str | None = None) -> None:
    """Merge a set (None: the only one) for good: the layers it wrapped, changed, stand where the adapted ones stood."""
    merge(module, name)
    gone = set(map(id, adapted(module, name).values()))
    for path, layer in list(module.named_modules()):
        if id(layer) in gone:
            setattr(module.get_submodule(path.rpartition(".")[0]), path.rpartition(".")[2], cast(LoraLinear, layer).base)


def _the_one(module: nn.Module, name: str | None) -> str:
    names = sorted(_sets(module))
    if name is None and len(names) < 2:
        return names[0] if names else DEFAULT
    if name is None or name not in names:
        asked = "which of them is meant" if name is None else f"none is called {name!r}"
        raise RequestError("adapter", f"there are {names}; {asked}", "Name one of them" if names else "Add one first")
    return name


def _sets(module: nn.Module) -> dict[str, Switch]:
    return {layer.name: layer.switch for layer in module.modules() if isinstance(layer, LoraLinear)}


def _adapters(module: nn.Module) -> Iterator[tuple[str, LoraLinear]]:
    """Every adapter with the path of the outermost of its layer."""
    inner: set[int] = set()
    for path, layer in module.named_modules():
        if isinstance(layer, LoraLinear) and id(layer) not in inner:
            for each in _chain(layer):
                inner.add(id(each))
                yield path, each


def _chain(layer: nn.Module) -> Iterator[LoraLinear]:
    while isinstance(layer, LoraLinear):
        yield layer
        layer = layer.base


def _lengths(weight_ED: Tensor) -> Tensor:
    lengths_E: Tensor = torch.linalg.vector_norm(weight_ED.float(), dim=1)
    return lengths_E
