"""What a checkpoint folder holds, read from its headers: no weights are loaded."""

from __future__ import annotations

import json
from collections import Counter
from math import prod
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from sensorium.errors import CheckpointError


def describe(folder: Path) -> dict[str, Any]:
    """`{"folder", "model_type", "parameters": {part: count, "total"}, "bytes", "encoders", "config"}`.

    Raises:
        CheckpointError: no configuration, or weights that are not safetensors.
    """
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(str(folder / "config.json"), f"cannot be read ({error})", "Give a checkpoint folder") from error
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise CheckpointError(str(folder), "holds no safetensors", "Convert the weights to safetensors; pickles are never read")
    parts: Counter[str] = Counter()
    for file in files:
        parts += _parameters(file)
    encoders = {modality: tower["kind"] for modality, tower in config.get("encoders", {}).items()}
    return {
        "folder": str(folder),
        "model_type": config.get("model_type"),
        "parameters": {**dict(sorted(parts.items())), "total": parts.total()},
        "bytes": sum(file.stat().st_size for file in files),
        "encoders": encoders,
        "config": config,
    }


def _parameters(file: Path) -> Counter[str]:
    """Parameters by the first two names of each tensor."""
    counts: Counter[str] = Counter()
    try:
        with safe_open(file, "pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a mapping
                first, _, rest = name.partition(".")
                part = f"{first}.{rest.partition('.')[0]}" if first in ("encoders", "connectors", "dual") else first
                counts[part] += prod(tensors.get_slice(name).get_shape())
    except (SafetensorError, OSError) as error:
        raise CheckpointError(str(file), f"is not a safetensors file ({error})", "Copy it again") from error
    return counts
