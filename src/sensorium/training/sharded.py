"""States of a run in several processes: a file a process and an index; any number of processes goes on from them."""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from sensorium.errors import CheckpointError
from sensorium.training.distributed import Together
from sensorium.training.state import Held, Place, chance, restore_chance

_INDEX = "index.json"


class _Piece(NamedTuple):
    """Where some rows of a tensor are, and how many there are in all; `rows` 0 is all of it, or a single number."""

    file: str
    start: int
    rows: int


class SharedStates:
    """The last few states of a run, a folder each. A folder without its index, which comes last, was never finished.

    Whole tensors are shared out between the files, spread ones lie where they were.

    Args:
        keep: how many.
    """

    def __init__(self, folder: Path, together: Together, keep: int = 2) -> None:
        self.folder, self.together, self.keep = folder, together, keep

    def paths(self) -> list[Path]:
        """Finished ones, oldest first."""
        return [path.parent for path in sorted(self.folder.glob(f"step-*/{_INDEX}"))]

    def save(self, held: Held, place: Place) -> None:
        """Every process writes its file; the first one the index, and forgets the oldest."""
        world, folder = self.together.world, self.folder / f"step-{place.step:08d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _INDEX).unlink(missing_ok=True)
        own = {name: tensor.contiguous() for name, tensor in _own(held.tensors(), world.rank, world.size)}
        pieces = {name: _range(held.tensors()[name], world.rank, world.size) for name in own}
        own |= {f"random/{name}": tensor for name, tensor in chance().items()}
        path = folder / f"process-{world.rank}-of-{world.size}.safetensors"
        save_file(own, path, {"place": json.dumps(asdict(place)), "pieces": json.dumps(pieces)})
        with path.open("rb") as file:
            os.fsync(file.fileno())
        found = self.together.told((path.name, _checksum(path)))
        if world.first:
            fresh = folder / f"{_INDEX}.partial"
            fresh.write_text(json.dumps({"step": place.step, "files": dict(found)}, indent=1) + "\n", "utf-8")
            with fresh.open("rb") as file:
                os.fsync(file.fileno())
            fresh.replace(folder / _INDEX)
            for old in self.paths()[: -self.keep]:
                shutil.rmtree(old)
        self.together.wait()

    def load(self, held: Held) -> tuple[Place | None, list[str]]:
        """The place to go on from, None where there is no state; and what was wrong with the states passed over.

        Raises:
            CheckpointError: there are states and all of them are damaged, or they are of another model.
        """
        passed: list[str] = []
        paths = self.paths()
        for path in reversed(paths):
            if damaged := _damage(path):
                passed.append(f"{path.name} is damaged: {damaged}; the state before it is used")
                continue
            place, note = self._put_back(path, held)
            self.together.wait()
            return place, passed + note
        if paths:
            problem = f"holds {len(paths)} states and all are damaged"
            raise CheckpointError(str(self.folder), problem, "Delete them to begin anew")
        return None, passed

    def _put_back(self, path: Path, held: Held) -> tuple[Place, list[str]]:
        world = self.together.world
        files = sorted(json.loads((path / _INDEX).read_text("utf-8"))["files"])
        source = _Source(path, files)
        parameters: Mapping[str, Tensor] = {f"parameter/{name}": value for name, value in held.parameters.items()}
        parameters = {**parameters, **{f"buffer/{name}": value for name, value in held.buffers.items()}}
        saved = {name for name in source.pieces if name.startswith(("parameter/", "buffer/"))}
        if odd := sorted(saved ^ parameters.keys()):
            problem = f"is of another model: {len(odd)} parameters differ, among them {odd[0].partition('/')[2]}"
            raise CheckpointError(str(path), problem, "Delete it to begin anew")
        with torch.no_grad():
            for name, value in parameters.items():
                _fill(value, source.whole(name), path, name)
            for name, parameter in held.parameters.items():
                self._optimizer(source, path, held, name, parameter)
            if held.average is not None:
                for name in [name for name in source.pieces if name.startswith("average/")]:
                    plain = name.removeprefix("average/")
                    held.average.tensors[plain] = torch.zeros_like(held.parameters[plain].detach())
                    _fill(held.average.tensors[plain], source.whole(name), path, name)
            if held.best is not None:
                for plain, value in held.best.live().items():
                    if f"best/{plain}" in source.pieces:
                        held.best.tensors[plain] = torch.zeros_like(value)
                        _fill(held.best.tensors[plain], source.whole(f"best/{plain}"), path, plain)
        same = len(files) == world.size
        with safe_open(path / (f"process-{world.rank}-of-{world.size}.safetensors" if same else files[0]), "pt") as file:
            names = [name for name in file.keys() if name.startswith("random/")]  # noqa: SIM118
            restore_chance({name.removeprefix("random/"): file.get_tensor(name) for name in names})
            place = Place(**json.loads(file.metadata()["place"]))
        note = f"{path.name} is of {len(files)} processes, this run of {world.size}: random numbers go on differently"
        return place, [] if same else [note]

    def _optimizer(self, source: _Source, path: Path, held: Held, name: str, parameter: nn.Parameter) -> None:
        state: dict[str, Any] = {}
        for key in ("step", "exp_avg", "exp_avg_sq"):
            full = f"optimizer/{key}/{name}"
            if full in source.pieces:
                state[key] = source.whole(full) if key == "step" else torch.zeros_like(parameter.detach())
                if key != "step":
                    _fill(state[key], source.whole(full), path, full)
        if state:
            held.optimizer.state[parameter] = state


class _Source:
    """Tensors by name from the files of one state."""

    def __init__(self, folder: Path, files: list[str]) -> None:
        self.folder = folder
        self.pieces: dict[str, list[_Piece]] = {}
        for name in files:
            with safe_open(folder / name, "pt") as file:
                for key, (start, rows) in json.loads(file.metadata()["pieces"]).items():
                    self.pieces.setdefault(key, []).append(_Piece(name, start, rows))

    def whole(self, name: str) -> Tensor:
        """One tensor, its rows put together."""
        found = []
        for piece in sorted(self.pieces[name], key=lambda piece: piece.start):
            with safe_open(self.folder / piece.file, "pt") as file:
                found.append(file.get_tensor(name))
        return found[0] if len(found) == 1 else torch.cat(found)


def _own(tensors: Mapping[str, Tensor], rank: int, size: int) -> Iterator[tuple[str, Tensor]]:
    """What this process writes: its rows of the spread tensors, and its share of the whole ones, by size."""
    loads = [0] * size
    for name in sorted(tensors):
        tensor = tensors[name]
        if isinstance(tensor, DTensor):
            if tensor.to_local().numel() or rank == 0:
                yield name, tensor.to_local()
            continue
        target = loads.index(min(loads))
        loads[target] += tensor.numel() + 1
        if target == rank:
            yield name, tensor


def _range(tensor: Tensor, rank: int, size: int) -> tuple[int, int]:
    """Which rows this process has of a spread tensor: chunks of equal size, the last ones shorter (as torch.chunk does)."""
    if not isinstance(tensor, DTensor):
        return 0, 0
    each = -(-tensor.shape[0] // size)
    start = min(rank * each, tensor.shape[0])
    rows = min(each, tensor.shape[0] - start)
    assert rows == tensor.to_local().shape[0], "spread by the first axis, in chunks"
    return start, rows


def _fill(target: Tensor, whole: Tensor, path: Path, name: str) -> None:
    if whole.shape != target.shape:
        problem = f"has {name.partition('/')[2]} of shape {tuple(whole.shape)}, {tuple(target.shape)} is needed"
        raise CheckpointError(str(path), problem, "Delete it to begin anew")
    if isinstance(target, DTensor):
        start, rows = _range(target, target.device_mesh.get_local_rank(), target.device_mesh.size())
        target.to_local().copy_(whole[start : start + rows])
    else:
        target.copy_(whole)


def _damage(path: Path) -> str:
    """What is wrong with a state's files; empty where nothing is."""
    try:
        files: dict[str, int] = json.loads((path / _INDEX).read_text("utf-8"))["files"]
    except (ValueError, KeyError):
        return "its index cannot be read"
    for name, checksum in files.items():
        if not (path / name).is_file():
            return f"{name} is missing"
        if _checksum(path / name) != checksum:
            return f"the checksum of {name} differs"
    return ""


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while block := file.read(2**22):
            value = zlib.crc32(block, value)
    return value
