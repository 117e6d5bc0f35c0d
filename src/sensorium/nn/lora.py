"""Low-rank adapters (Hu et al. 2021; DoRA, Liu et al. 2024) that can be switched on and off row by row."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
        targets: last names of the linear layers, or longer endings of their paths, as PEFT matches them.
        dora: learn the length of each output row apart from its direction.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # where a checkpoint's config.json holds it

    r: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    rslora: bool = False
    dora: bool = False

    @property
    def scale(self) -> float:
        """Factor on the update."""
        return self.alpha / (math.sqrt(self.r) if self.rslora else self.r)

    def hits(self, name: str) -> bool:
        """Whether the layer at path `name` is a target."""
        return any(name == target or name.endswith(f".{target}") for target in self.targets)


class Switch:
    """Says for which rows the adapters of one set work; shared by all of its layers.

    `rows_B` is None (all rows), False (none) or a boolean `(B,)`. Rows that are off get exactly the base model's output.
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


class LoraLinear(nn.Module):
    """A linear layer and its low-rank update: `base(x) + scale * B A x`.

    `lora_A` `(R, in)` starts random, `lora_B` `(out, R)` zero, both fp32 by default whatever the base's dtype; the product is
    made in the dtype of x. With DoRA the whole row is rescaled to the length `lora_magnitude`; its norm carries no gradient
    (the paper's section 4.3).

    Args:
        base: `nn.Linear`, or a layer like it (`in_features`, `out_features`; DoRA and merging need its `weight`). Frozen.
        switch: shared with the other layers of the set.
    """

    def __init__(self, base: nn.Module, config: LoraConfig, switch: Switch) -> None:
        super().__init__()
        self.base, self.config, self.switch, self.merged = base.requires_grad_(False), config, switch, False
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

    def forward(self, x_BLD: Tensor) -> Tensor:
        """`(B, ..., in)` to `(B, ..., out)`."""
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
            on_B11 = rows_B.view(-1, *(1,) * (x_BLD.dim() - 1))
            small_BLR = small_BLR * on_B11
        update_BLE = F.linear(small_BLR, (self.lora_B * self.config.scale).to(x_BLD.dtype))
        if self.lora_magnitude is None:
            return base_BLE + update_BLE
        bias_E, stretch_E = getattr(self.base, "bias", None), self._stretch().to(base_BLE.dtype)
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


def add_lora(module: nn.Module, config: LoraConfig) -> Switch:
    """Freeze `module` and wrap every target in it; adapters are the only parameters left to train.

    Raises:
        RequestError: a target that names no layer, or a layer that has an adapter already.
    """
    found = {name: layer for name, layer in module.named_modules() if config.hits(name) and hasattr(layer, "out_features")}
    for target in config.targets:
        if not any(LoraConfig(targets=(target,)).hits(name) for name in found):
            raise RequestError(f"adapter target {target}", "names no linear layer of the model", "Use names of its layers")
    if taken := [name for name, layer in found.items() if isinstance(layer, LoraLinear)]:
        raise RequestError(f"layer {taken[0]}", "has an adapter already", "Absorb it first, or train that one on")
    switch = Switch()
    module.requires_grad_(False)
    for name, layer in found.items():
        parent = module.get_submodule(name.rpartition(".")[0])
        for attribute, value in list(vars(parent).items()):
            if isinstance(value, Fused):
                setattr(parent, attribute, None)
        setattr(parent, name.rpartition(".")[2], LoraLinear(layer, config, switch))
    return switch


def adapted(module: nn.Module) -> dict[str, LoraLinear]:
    """The adapted layers in `module` by path."""
    return {name: layer for name, layer in module.named_modules() if isinstance(layer, LoraLinear)}


def merge(module: nn.Module) -> None:
    """Put all adapters into the weights."""
    for layer in adapted(module).values():
        layer.merge()


def unmerge(module: nn.Module) -> None:
    """Take all adapters out of the weights again."""
    for layer in adapted(module).values():
        layer.unmerge()


def absorb(module: nn.Module) -> None:
    """Merge for good: the plain layers, changed, stand where the adapted ones stood."""
    for name, layer in adapted(module).items():
        layer.merge()
        setattr(module.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2], layer.base)


def _lengths(weight_ED: Tensor) -> Tensor:
    lengths_E: Tensor = torch.linalg.vector_norm(weight_ED.float(), dim=1)
    return lengths_E
