"""A run on disk: parameters, optimiser, average, random numbers, place in the data; it goes on as if never interrupted.

A state is written whole or not at all, and carries a checksum: one that is cut short or altered is never gone on from.
"""

from __future__ import annotations

import json
import os
import random
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sensorium.errors import CheckpointError
from sensorium.training.average import Average
from sensorium.training.best import Best


@dataclass(slots=True)
class Place:
    """Where a run is: steps done, minutes spent, and what feeds and schedule need to go on (plain JSON)."""

    step: int = 0
    minutes: float = 0.0
    feeds: dict[str, Any] = field(default_factory=dict)
    pace: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Held:
    """All that changes while a run goes on, besides its `Place`.

    Args:
        parameters, buffers: by name. average: of the parameters, or None. best: what the best evaluation saw, or None.
    """

    parameters: Mapping[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    average: Average | None = None
    buffers: Mapping[str, Tensor] = field(default_factory=dict)
    best: Best | None = None

    def tensors(self) -> dict[str, Tensor]:
        """All that is kept, by name."""
        found: dict[str, Tensor] = {f"parameter/{name}": tensor.detach() for name, tensor in self.parameters.items()}
        found |= {f"buffer/{name}": tensor.detach() for name, tensor in self.buffers.items()}
        for name, parameter in self.parameters.items():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                found[f"optimizer/{key}/{name}"] = torch.as_tensor(value)
        if self.average is not None:
            found |= {f"average/{name}": tensor for name, tensor in self.average.tensors.items()}
        if self.best is not None:
            found |= {f"best/{name}": tensor for name, tensor in self.best.tensors.items()}
        return found


def save_state(path: Path, held: Held, place: Place) -> None:
    """Write a safetensors file, whole or not at all, on the disk when this returns."""
    tensors = held.tensors()
    tensors |= {f"random/{name}": tensor for name, tensor in chance().items()}
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    said = json.dumps(asdict(place))
    fresh = path.with_name(f"{path.name}.partial")
    save_file(tensors, fresh, {"place": said, "checksum": str(_checksum(tensors, said))})
    with fresh.open("rb") as file:
        os.fsync(file.fileno())
    fresh.replace(path)
    _sync_folder(path.parent)


def load_state(path: Path, held: Held) -> Place:
    """Put a saved run back; the place to go on from.

    Raises:
        CheckpointError: it is damaged, or of a model with other parameters.
    """
    try:
        with safe_open(path, "pt") as file:
            said = (file.metadata() or {}).get("place", "")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            checksum = (file.metadata() or {}).get("checksum")
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(str(path), f"is damaged ({error})", "Delete it to begin anew") from error
    if checksum != str(_checksum(tensors, said)):
        raise CheckpointError(str(path), "is damaged: its checksum differs", "Delete it to begin anew")
    _check(path, tensors, held)
    with torch.no_grad():
        for name, parameter in held.parameters.items():
            parameter.copy_(tensors[f"parameter/{name}"])
            state = {key: tensors.get(f"optimizer/{key}/{name}") for key in ("step", "exp_avg", "exp_avg_sq")}
            if all(value is not None for value in state.values()):
                held.optimizer.state[parameter] = state
        for name, buffer in held.buffers.items():
            buffer.copy_(tensors[f"buffer/{name}"])
    if held.average is not None:
        held.average.tensors = _under("average/", tensors)
    if held.best is not None:
        held.best.tensors = _under("best/", tensors)
    place = Place(**json.loads(said))
    restore_chance(_under("random/", tensors))
    return place


class States:
    """The last few states of a run in a folder; the newest that is whole is gone on from.

    Args:
        keep: how many.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder, self.keep = folder, keep

    def paths(self) -> list[Path]:
        """Oldest first."""
        return sorted(self.folder.glob("step-*.safetensors"))

    def save(self, held: Held, place: Place) -> None:
        """Write one, then forget the oldest."""
        self.folder.mkdir(parents=True, exist_ok=True)
        save_state(self.folder / f"step-{place.step:08d}.safetensors", held, place)
        for path in self.paths()[: -self.keep]:
            path.unlink()

    def load(self, held: Held) -> tuple[Place | None, list[str]]:
        """The place to go on from, None where there is no state; and what was wrong with the states passed over.

        Raises:
            CheckpointError: there are states and all of them are damaged, or they are of another model.
        """
        for torn in self.folder.glob("*.partial"):
            torn.unlink()
        passed: list[str] = []
        for path in reversed(self.paths()):
            try:
                return load_state(path, held), passed
            except CheckpointError as error:
                if "is damaged" not in error.problem:
                    raise
                passed.append(f"{path.name} {error.problem}; the state before it is used")
                path.rename(path.with_suffix(".damaged"))
        if passed:
            problem = f"holds {len(passed)} states and all are damaged"
            raise CheckpointError(str(self.folder), problem, "Delete them to begin anew")
        return None, passed


class OneState:
    """A run that is kept in a single file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, held: Held, place: Place) -> None:
        """Replace it."""
        save_state(self.path, held, place)

    def load(self, held: Held) -> tuple[Place | None, list[str]]:
        """The place to go on from, None where there is no file.

        Raises:
            CheckpointError: it is damaged, or of another model.
        """
        return (load_state(self.path, held) if self.path.is_file() else None), []


def chance() -> dict[str, Tensor]:
    """Where the three sources of random numbers are."""
    _, words, gauss = random.getstate()
    said = np.random.get_state(legacy=False)
    assert isinstance(said, dict)
    inner = said["state"]
    return {
        "torch": torch.get_rng_state(),
        "python": torch.tensor([*words, 0 if gauss is None else 1], dtype=torch.int64),
        "python_gauss": torch.tensor([gauss or 0.0], dtype=torch.float64),
        "numpy": torch.from_numpy(inner["key"].astype(np.int64)),
        "numpy_rest": torch.tensor([inner["pos"], said["has_gauss"], said["gauss"]], dtype=torch.float64),
    }


def restore_chance(saved: Mapping[str, Tensor]) -> None:
    """The inverse of `chance`."""
    torch.set_rng_state(saved["torch"])
    *words, has = saved["python"].tolist()
    random.setstate((3, tuple(words), float(saved["python_gauss"][0]) if has else None))
    place, has_gauss, gauss = saved["numpy_rest"].tolist()
    key = saved["numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", key, int(place), int(has_gauss), gauss))


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _check(path: Path, tensors: Mapping[str, Tensor], held: Held) -> None:
    wanted: dict[str, Tensor] = {f"parameter/{name}": tensor for name, tensor in held.parameters.items()}
    wanted |= {f"buffer/{name}": tensor for name, tensor in held.buffers.items()}
    saved = {name for name in tensors if name.startswith(("parameter/", "buffer/"))}
    if odd := sorted(saved ^ wanted.keys()):
        name = odd[0].partition("/")[2]
        problem = f"is of another model: {len(odd)} parameters differ, among them {name}"
        raise CheckpointError(str(path), problem, "Delete it to begin anew")
    for name, tensor in wanted.items():
        if tensors[name].shape != tensor.shape:
            problem = f"has {name.partition('/')[2]} of shape {tuple(tensors[name].shape)}, {tuple(tensor.shape)} is needed"
            raise CheckpointError(str(path), problem, "Delete it to begin anew")


def _checksum(tensors: Mapping[str, Tensor], said: str) -> int:
    value = zlib.crc32(said.encode())
    for name in sorted(tensors):
        value = zlib.crc32(name.encode(), value)
        value = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, value)
    return value


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
