"""A low-rank adapter merged into a checkpoint for good: one folder, no adapter left, the same answers."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from sensorium.errors import CheckpointError
from sensorium.model import checkpoint
from sensorium.nn.lora import absorb, adapted
from sensorium.nn.peft import load_adapter


def merge_adapter(model: Path | str, adapter: Path | str, destination: Path | str) -> None:
    """Write `model`, a checkpoint of ours, with the language model's adapter of a PEFT folder merged into its weights.

    Raises:
        CheckpointError: the model has an adapter of its own or packed weights, or the adapter is not for it.
    """
    merged = checkpoint.load(model)
    blueprint = merged.blueprint
    assert blueprint is not None
    if blueprint.config.adapter is not None:
        problem = "has an adapter of its own, which works on rows with pictures only"
        raise CheckpointError(str(model), problem, "Merge into the model it was made from")
    if blueprint.config.quantize is not None:
        problem = f"has weights packed to {blueprint.config.quantize}, into which nothing can be merged"
        raise CheckpointError(str(model), problem, "Merge into the model it was made from, and pack that")
    load_adapter(merged.decoder, Path(adapter))
    for layer in adapted(merged.decoder).values():
        layer.base.weight = nn.Parameter(layer.weight.detach().clone(), requires_grad=False)  # it was mapped from the file
    absorb(merged.decoder)
    checkpoint.save(merged, destination)
