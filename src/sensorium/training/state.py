"""A run on disk: parameters, optimiser, random numbers and place in the data, so that it goes on as if never interrupted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sensorium.errors import CheckpointError


@dataclass(slots=True)
class Place:
    """Where a run is: steps done, the epoch, batches of it done, and minutes spent."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    minutes: float = 0.0


def save_state(path: Path, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer, place: Place) -> None:
    """Write a safetensors file, whole or not at all."""
    tensors: dict[str, Tensor] = {f"parameter/{name}": tensor.detach() for name, tensor in parameters.items()}
    for name, parameter in parameters.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer/{key}/{name}"] = torch.as_tensor(value)
    tensors["random"] = torch.get_rng_state()
    fresh = path.with_suffix(".new")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, fresh, {"place": json.dumps(asdict(place))})
    fresh.replace(path)


def load_state(path: Path, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> Place:
    """Put a saved run back; the place to go on from.

    Raises:
        CheckpointError: it is of a model with other parameters.
    """
    with safe_open(path, "pt") as file:
        names = set(file.keys())
        saved = {name.removeprefix("parameter/") for name in names if name.startswith("parameter/")}
        if odd := sorted(saved ^ parameters.keys()):
            problem = f"is of another model: {len(odd)} parameters differ, among them {odd[0]}"
            raise CheckpointError(str(path), problem, "Delete it to begin anew")
        for name, parameter in parameters.items():
            found = file.get_tensor(f"parameter/{name}")
            if found.shape != parameter.shape:
                problem = f"has {name} of shape {tuple(found.shape)}, {tuple(parameter.shape)} is needed"
                raise CheckpointError(str(path), problem, "Delete it to begin anew")
            with torch.no_grad():
                parameter.copy_(found)
            optimizer.state[parameter] = {
                key: file.get_tensor(f"optimizer/{key}/{name}")
                for key in ("step", "exp_avg", "exp_avg_sq")
                if f"optimizer/{key}/{name}" in names
            }
        torch.set_rng_state(file.get_tensor("random"))
        return Place(**json.loads(file.metadata()["place"]))
