"""Adapters as PEFT's folder: `adapter_config.json` and `adapter_model.safetensors`."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sensorium.errors import CheckpointError
from sensorium.nn.lora import DEFAULT, LoraConfig, LoraLinear, Switch, adapted, add_lora

PREFIX = "base_model.model.model."
"""What PEFT writes before the path of a decoder's layer in a causal language model."""

_MODEL = "base_model.model."

_PARTS = {"lora_A.weight": "lora_A", "lora_B.weight": "lora_B", "lora_magnitude_vector": "lora_magnitude"}


def save_adapter(module: nn.Module, folder: Path, *, prefix: str = PREFIX, base: str = "", name: str | None = None) -> None:
    """Write a set of adapters in `module` as a PEFT folder.

    Args:
        prefix: goes before the layers' paths.
        base: name or path of the model that they belong to.
        name: of the set; None is the only one.

    Raises:
        RequestError: there are several sets and no name, or none of that name.
    """
    layers = adapted(module, name)
    assert layers, "there is no adapter to save"
    config = next(iter(layers.values())).config
    r = Counter(layer.config.r for layer in layers.values()).most_common(1)[0][0]
    alpha = Counter(layer.config.alpha for layer in layers.values()).most_common(1)[0][0]
    targets = config.targets if not isinstance(config.targets, str) else tuple(layers)
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "inference_mode": True,
        "bias": "none",
        "fan_in_fan_out": False,
        "r": r,
        "lora_alpha": alpha,
        "rank_pattern": {path: layer.config.r for path, layer in layers.items() if layer.config.r != r},
        "alpha_pattern": {path: layer.config.alpha for path, layer in layers.items() if layer.config.alpha != alpha},
        "lora_dropout": config.dropout,
        "target_modules": list(targets),
        "use_rslora": config.rslora,
        "use_dora": config.dora,
    }
    (folder / "adapter_config.json").write_text(json.dumps(written, indent=2) + "\n")
    save_file(adapter_state(module, prefix, name), folder / "adapter_model.safetensors", {"format": "pt"})


def adapter_state(module: nn.Module, prefix: str = PREFIX, name: str | None = None) -> dict[str, Tensor]:
    """The tensors of one set (None: the only one) under PEFT's names."""
    return {path: tensor.detach().contiguous() for path, tensor in _named(adapted(module, name), prefix).items()}


def load_adapter(module: nn.Module, folder: Path, *, prefix: str = PREFIX, name: str = DEFAULT) -> Switch:
    """Add the adapters of a PEFT folder to `module`, as the set `name`; sets that are there already are switched off.

    Raises:
        CheckpointError: a setting that we do not do, or tensors that are missing, too many or of another shape.
        RequestError: there is a set of that name already.
    """
    names = [path for path, layer in module.named_modules() if hasattr(layer, "out_features")]
    layers = {path: f"{_before(path, prefix)}{path}".removeprefix(_MODEL) for path in names}
    config = _read_config(folder / "adapter_config.json", layers, prefix.removeprefix(_MODEL))
    file = folder / "adapter_model.safetensors"
    if not file.is_file():
        raise CheckpointError(str(file), "is missing", "Save the adapter with safe_serialization=True")
    given = load_file(file)
    switch = add_lora(module, config, name)
    wanted = _named(adapted(module, name), prefix)
    for path, layer in adapted(module, name).items():  # PEFT keeps the weight of an adapted head beside the adapter
        kept = given.pop(f"{_before(path, prefix)}{path}.base_layer.weight", None)
        if kept is not None and not kept.equal(layer.weight):
            problem = f"holds weights of {path} itself, and they are not this model's"
            raise CheckpointError(
                str(file), problem, "Use an adapter of this model, or save it with save_embedding_layers=False"
            )
    if given.keys() != wanted.keys():
        missing, extra = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
        problem = f"lacks {len(missing)} tensors {missing[:3]} and has {len(extra)} unknown ones {extra[:3]}"
        raise CheckpointError(str(file), problem, f"Use an adapter of this model, with the names' prefix {prefix!r}")
    for path, tensor in wanted.items():
        if given[path].shape != tensor.shape:
            problem = f"{path} is {tuple(given[path].shape)}, {tuple(tensor.shape)} is needed"
            raise CheckpointError(str(file), problem, "Use an adapter of this model")
        with torch.no_grad():
            tensor.copy_(given[path])
    return switch


def _named(layers: Mapping[str, LoraLinear], prefix: str) -> dict[str, Tensor]:
    return {
        f"{_before(path, prefix)}{path}.{theirs}": tensor
        for path, layer in layers.items()
        for theirs, ours in _PARTS.items()
        if isinstance(tensor := getattr(layer, ours), Tensor)
    }


def _before(path: str, prefix: str) -> str:
    """The prefix of one layer: PEFT's head stands beside the decoder that its other layers are in."""
    return prefix.removesuffix("model.") if path == "lm_head" and prefix == PREFIX else prefix


_DONE = frozenset(
    (
        "r", "lora_alpha", "lora_dropout", "target_modules", "exclude_modules", "use_rslora", "use_dora", "peft_type",
        "rank_pattern", "alpha_pattern", "init_lora_weights",
    )
)  # fmt: skip
_HARMLESS = (
    "task_type base_model_name_or_path revision inference_mode auto_mapping peft_version eva_config runtime_config "
    "megatron_core ensure_weight_tying qalora_group_size layers_pattern"
)
"""How the adapter came to be, not what it computes."""

_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")
"""Ways to start an adapter that leave the base's weights alone (PiSSA, OLoRA, CorDA, LoftQ and LoRA-GA change them)."""


def _read_config(file: Path, layers: Mapping[str, str], outer: str) -> LoraConfig:
    """PEFT's settings for `layers`: our paths to PEFT's, which begin with `outer`."""
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
    if given.get("init_lora_weights") not in _STARTS:
        problem = f"started by {given['init_lora_weights']!r}, which changes the weights it adapts"
        raise CheckpointError(str(file), problem, "Save it with PEFT's path_initial_model_for_weight_conversion")
    if not isinstance(given.get("r"), int) or given["r"] < 1:
        raise CheckpointError(str(file), f"r is {given.get('r')!r}, a whole number from 1 is needed", "Write the adapter again")
    return LoraConfig(
        r=given["r"],
        alpha=given["lora_alpha"],
        dropout=given.get("lora_dropout") or 0.0,
        targets=_targets(file, given, layers, outer),
        rslora=bool(given.get("use_rslora")),
        dora=bool(given.get("use_dora")),
        ranks=_inside(given.get("rank_pattern") or {}, outer),
        alphas=_inside(given.get("alpha_pattern") or {}, outer),
    )


def _targets(file: Path, given: Mapping[str, Any], layers: Mapping[str, str], outer: str) -> tuple[str, ...]:
    """Endings of paths as they stand; a regular expression or exclusions as the paths that are left."""
    targets, without = given.get("target_modules"), given.get("exclude_modules")
    if not isinstance(targets, list | str) or not targets:
        problem = f"target_modules is {targets!r}, names or a regular expression are needed"
        raise CheckpointError(str(file), problem, "List the layers' names")
    if isinstance(targets, list) and not without:
        return tuple(sorted(item.removeprefix(outer) for item in targets))
    left = tuple(path for path, full in layers.items() if _hits(targets, full) and not (without and _hits(without, full)))
    if not left:
        problem = f"target_modules {targets!r} without {without!r} names no layer of the model"
        raise CheckpointError(str(file), problem, "Use an adapter of this model")
    return left


def _hits(targets: str | Sequence[str], path: str) -> bool:
    if isinstance(targets, str):
        return re.fullmatch(targets, path) is not None
    return any(path == target or path.endswith(f".{target}") for target in targets)


def _inside(pattern: Mapping[str, Any], outer: str) -> dict[str, Any]:
    """Keys from the whole model's root on, from the decoder's."""
    start = f"^{outer}"
    return {
        f"^{key.removeprefix(start)}" if key.startswith(start) else key.removeprefix(outer): pattern[key] for key in pattern
    }
