"""Parameter groups: which part of a model learns, how fast and from when; everything else is frozen. AdamW over them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple

import torch
from pydantic import Field
from torch import nn

from sensorium.errors import RequestError
from sensorium.training.config import Settings

_ALIASES: Mapping[str, tuple[str, ...]] = {
    "connectors": ("connectors", "crossings"),
    "heads": ("dual.image_head", "dual.text_head"),
}
"""Parts that are several modules."""

ADAPTER = "adapter"
"""The part of all low-rank adapters, wherever they are; `decoder` and the like never mean them."""


class Part(Settings):
    """How one part of a model learns.

    Args:
        rate: learning rate at the top of the schedule. decay: of weights, which vectors are spared.
        thaw: the step from which on it learns; frozen until then.
    """

    rate: float = Field(default=1e-4, gt=0)
    decay: float = Field(default=0.01, ge=0)
    thaw: int = Field(default=0, ge=0)


class Group(NamedTuple):
    """Parameters by name with their learning rate and weight decay (which vectors are spared), and when they thaw."""

    parameters: Mapping[str, nn.Parameter]
    rate: float
    decay: float = 0.0
    thaw: int = 0


def adamw(groups: Sequence[Group], betas: tuple[float, float] = (0.9, 0.98)) -> torch.optim.AdamW:
    """Loshchilov & Hutter 2019, with one group for matrices and one for vectors of each `Group`."""
    rows = []
    for group in groups:
        matrices = [parameter for parameter in group.parameters.values() if parameter.dim() > 1]
        vectors = [parameter for parameter in group.parameters.values() if parameter.dim() < 2]
        rows.append({"params": matrices, "lr": group.rate, "weight_decay": group.decay})
        rows.append({"params": vectors, "lr": group.rate, "weight_decay": 0.0})
    return torch.optim.AdamW([row for row in rows if row["params"]], betas=betas, fused=True)


def arrange(model: nn.Module, parts: Mapping[str, Part | None]) -> list[Group]:
    """The groups of a model, each parameter in that of the longest key its path begins with; the others are frozen.

    Weights that are mapped from a file become the run's own where they are trained. Frozen towers are put into evaluation
    mode, so that nothing is dropped out in them.

    Args:
        parts: by path, such as `decoder` or `encoders.image`; `connectors` are the crossings too, `heads` those of the shared
            space, `adapter` the low-rank adapters, `*` whatever no other key names. None freezes.

    Raises:
        RequestError: a key that names no parameter, or nothing to train.
    """
    groups: dict[str, dict[str, nn.Parameter]] = {name: {} for name in parts}
    for path, parameter in model.named_parameters():
        key = _key(path, parts)
        if key is not None:
            groups[key][path] = parameter
    if idle := [name for name, own in groups.items() if not own]:
        known = sorted({part_of(path) for path, _ in model.named_parameters()})
        near = get_close_matches(idle[0], known, n=1)
        remedy = f"The nearest part is {near[0]}" if near else f"Its parts are {', '.join(known)}"
        raise RequestError(f"part {idle[0]}", "names nothing in this model", remedy)
    model.requires_grad_(False)
    found: list[Group] = []
    for name, part in parts.items():
        if part is None:
            continue
        for parameter in groups[name].values():
            parameter.data = parameter.data.clone()
            parameter.requires_grad_(True)
        found.append(Group(groups[name], part.rate, part.decay, part.thaw))
    if not found:
        remedy = "Give one a rate, such as parts.connectors.rate=1e-3"
        raise RequestError("parts", "are all frozen: nothing would be learned", remedy)
    learn_mode(model)
    for group in found:
        thaw([group], 0)
    return found


def thaw(groups: Iterable[Group], step: int) -> None:
    """Let those groups learn whose time has come, and no others."""
    for group in groups:
        for parameter in group.parameters.values():
            if parameter.requires_grad != (step >= group.thaw):
                parameter.requires_grad_(step >= group.thaw)


def learn_mode(module: nn.Module) -> bool:
    """Training mode for modules that hold a trained parameter (and their dropout), evaluation mode for frozen ones."""
    module.training = False
    own = any(parameter.requires_grad for parameter in module.parameters())
    if own:
        module.training = True
        for child in module.children():
            if next(child.parameters(), None) is None:
                child.train()
            else:
                learn_mode(child)
    else:
        module.eval()
    return own


def part_of(path: str) -> str:
    """The part a parameter belongs to, as the log names it: `encoders.image`, `connectors.audio`, `decoder`, `adapter`."""
    if ".lora_" in path:
        return ADAPTER
    first, *rest = path.split(".")
    return f"{first}.{rest[0]}" if first in ("encoders", "connectors", "dual") and rest else first


def _key(path: str, parts: Mapping[str, Part | None]) -> str | None:
    """The longest key that a parameter's path begins with."""
    if ".lora_" in path:
        return ADAPTER if ADAPTER in parts else None
    best = "*" if "*" in parts else None
    for key in parts:
        for name in _ALIASES.get(key, (key,)):
            if (path == name or path.startswith(f"{name}.")) and (best in (None, "*") or len(key) > len(best or "")):
                best = key
    return best
