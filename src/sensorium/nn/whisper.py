"""What Whisper's encoder and decoder share: projections stacked into one matrix, and the names `transformers` gives a layer.

Queries, keys and values are one `qkv` matrix here (one GEMM instead of three). Whisper's key projection has no bias; ours has
one, which softmax cancels (it adds the same number to every key's score), so leaving it out on the way back is exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sensorium.errors import CheckpointError

Names = Mapping[str, tuple[str, ...]]
"""Our module -> the modules of `transformers` whose rows it stacks; `{}` stands for the layer's number."""

LAYER: Names = {
    "blocks.{}.attention_norm": ("layers.{}.self_attn_layer_norm",),
    "blocks.{}.attention.qkv": ("layers.{}.self_attn.q_proj", "layers.{}.self_attn.k_proj", "layers.{}.self_attn.v_proj"),
    "blocks.{}.attention.out": ("layers.{}.self_attn.out_proj",),
    "blocks.{}.mlp_norm": ("layers.{}.final_layer_norm",),
    "blocks.{}.up": ("layers.{}.fc1",),
    "blocks.{}.down": ("layers.{}.fc2",),
}


def stack_names(state: Mapping[str, Tensor], prefix: str, names: Names) -> dict[str, Tensor]:
    """The tensors under `prefix`, renamed and stacked as `names` says.

    Raises:
        CheckpointError: a weight is missing, or one is left over.
    """
    left = {name[len(prefix) :]: tensor for name, tensor in state.items() if name.startswith(prefix)}
    layers = 1 + max((int(found[1]) for name in left if (found := re.match(r"layers\.(\d+)\.", name))), default=-1)
    ours: dict[str, Tensor] = {}
    for our, theirs in _expand(names, layers):
        weights = [left.pop(f"{their}.weight", None) for their in theirs]
        biases = [left.pop(f"{their}.bias", None) for their in theirs]
        if lost := [their for their, weight in zip(theirs, weights, strict=True) if weight is None]:
            raise CheckpointError(
                f"{prefix}{lost[0]}.weight", "is missing", "Take the weights from a complete Whisper checkpoint"
            )
        found_weights = [weight for weight in weights if weight is not None]
        ours[f"{our}.weight"] = torch.cat(found_weights) if len(theirs) > 1 else found_weights[0]
        if any(bias is not None for bias in biases):
            rows = [
                weight.new_zeros(len(weight)) if bias is None else bias
                for weight, bias in zip(found_weights, biases, strict=True)
            ]
            ours[f"{our}.bias"] = torch.cat(rows) if len(theirs) > 1 else rows[0]
    if left:
        raise CheckpointError(
            f"{prefix}{min(left)}",
            f"is known to no Whisper layer ({len(left)} such tensors)",
            "Load a checkpoint of Whisper's shape",
        )
    return ours


def split_names(state: Mapping[str, Tensor], prefix: str, names: Names) -> dict[str, Tensor]:
    """The inverse of `stack_names`; the keys' bias, which changes nothing, is left out."""
    layers = 1 + max((int(found[1]) for name in state if (found := re.match(r"blocks\.(\d+)\.", name))), default=-1)
    theirs: dict[str, Tensor] = {}
    for our, parts in _expand(names, layers):
        for kind in ("weight", "bias"):
            if (tensor := state.get(f"{our}.{kind}")) is None:
                continue
            for part, rows in zip(parts, tensor.chunk(len(parts)), strict=True):
                if not (kind == "bias" and part.endswith("k_proj")):
                    theirs[f"{prefix}{part}.{kind}"] = rows.clone()
    return theirs


def _expand(names: Names, layers: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    for our, theirs in names.items():
        for layer in range(layers) if "{}" in our else (0,):
            yield our.format(layer), tuple(their.format(layer) for their in theirs)


def whole_numbers(config: Mapping[str, Any], fields: Sequence[str]) -> tuple[int, ...]:
    """The named fields of a Whisper `config.json`.

    Raises:
        CheckpointError: one is missing, or no whole number.
    """
    if lost := [name for name in fields if not isinstance(config.get(name), int)]:
        problem = f"lacks the whole number {lost[0]}"
        raise CheckpointError("config.json", problem, "Give the configuration of a Whisper model")
    return tuple(config[name] for name in fields)
