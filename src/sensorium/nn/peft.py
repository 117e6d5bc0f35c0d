"""Adapters as PEFT's folder: `adapter_config.json` and `adapter_model.safetensors`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sensorium.errors import CheckpointError
from sensorium.nn.lora import LoraConfig, LoraLinear, Switch, adapted, add_lora

PREFIX = "base_model.model.model."
"""What PEFT writes before the path of a decoder's layer in a causal language model."""

_PARTS = {"lora_A.weight": "lora_A", "lora_B.weight": "lora_B", "lora_magnitude_vector": "lora_magnitude"}


def save_adapter(module: nn.Module, folder: Path, *, prefix: str = PREFIX, base: str = "") -> None:
    """Write the adapters in `module` as a PEFT folder.

    Args:
        prefix: goes before the layers' paths.
        base: name or path of the model that they belong to.
    """
    layers = adapted(module)
    assert layers, "there is no adapter to save"
    config = next(iter(layers.values())).config
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "inference_mode": True,
        "bias": "none",
        "fan_in_fan_out": False,
        "r": config.r,
        "lora_alpha": config.alpha,
        "lora_dropout": config.dropout,
        "target_modules": list(config.targets),
        "use_rslora": config.rslora,
        "use_dora": config.dora,
    }
    (folder / "adapter_config.json").write_text(json.dumps(written, indent=2) + "\n")
    save_file(adapter_state(module, prefix), folder / "adapter_model.safetensors", {"format": "pt"})


def adapter_state(module: nn.Module, prefix: str = PREFIX) -> dict[str, Tensor]:
    """The adapters' tensors under PEFT's names."""
    return {name: tensor.detach().contiguous() for name, tensor in _named(adapted(module), prefix).items()}


def load_adapter(module: nn.Module, folder: Path, *, prefix: str = PREFIX) -> Switch:
    """Add the adapters of a PEFT folder to `module`.

    Raises:
        CheckpointError: a setting that we do not do, or tensors that are missing, too many or of another shape.
    """
    config = _read_config(folder / "adapter_config.json")
    file = folder / "adapter_model.safetensors"
    if not file.is_file():
        raise CheckpointError(str(file), "is missing", "Save the adapter with safe_serialization=True")
    given = load_file(file)
    switch = add_lora(module, config)
    wanted = _named(adapted(module), prefix)
    if given.keys() != wanted.keys():
        missing, extra = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
        problem = f"lacks {len(missing)} tensors {missing[:3]} and has {len(extra)} unknown ones {extra[:3]}"
        raise CheckpointError(str(file), problem, f"Use an adapter of this model, with the names' prefix {prefix!r}")
    for name, tensor in wanted.items():
        if given[name].shape != tensor.shape:
            problem = f"{name} is {tuple(given[name].shape)}, {tuple(tensor.shape)} is needed"
            raise CheckpointError(str(file), problem, "Use an adapter of this model")
        with torch.no_grad():
            tensor.copy_(given[name])
    return switch


def _named(layers: Mapping[str, LoraLinear], prefix: str) -> dict[str, Tensor]:
    return {
        f"{prefix}{path}.{theirs}": tensor
        for path, layer in layers.items()
        for theirs, ours in _PARTS.items()
        if isinstance(tensor := getattr(layer, ours), Tensor)
    }


_DONE = frozenset(("r", "lora_alpha", "lora_dropout", "target_modules", "use_rslora", "use_dora", "peft_type"))
_HARMLESS = (
    "task_type base_model_name_or_path revision inference_mode auto_mapping peft_version init_lora_weights loftq_config "
    "eva_config corda_config lora_ga_config runtime_config megatron_core ensure_weight_tying qalora_group_size "
    "layers_pattern"
)
"""How the adapter came to be, not what it computes."""


def _read_config(file: Path) -> LoraConfig:
    if not file.is_file():
        raise CheckpointError(str(file), "is missing", "Name a folder written by PEFT's save_pretrained")
    given = json.loads(file.read_text())
    for name, value in given.items():
        idle = value is None or value is False or value in ("none", [], {})
        if name not in _DONE.union(_HARMLESS.split()) and not idle:
            raise CheckpointError(
                str(file), f"asks for {name} = {value!r}, which is not done here", "Merge the adapter with PEFT"
            )
    if given.get("peft_type") != "LORA":
        raise CheckpointError(
            str(file), f"is of type {given.get('peft_type')!r}, LORA is needed", "Merge the adapter with PEFT"
        )
    targets = given.get("target_modules")
    if not isinstance(targets, list):
        raise CheckpointError(str(file), f"target_modules is {targets!r}, a list is needed", "List the layers' names")
    return LoraConfig(
        r=given["r"],
        alpha=given["lora_alpha"],
        dropout=given.get("lora_dropout") or 0.0,
        targets=tuple(sorted(targets)),
        rslora=bool(given.get("use_rslora")),
        dora=bool(given.get("use_dora")),
    )
