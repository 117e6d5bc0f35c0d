"""Named tensors on disk: safetensors, whole or in shards with an index, written at once or not at all, read by memory map.

Never pickle. The names of files and the index are those of Hugging Face folders.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sensorium.errors import CheckpointError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARD_BYTES = 4 << 30
"""A file of weights at most; more is split into shards."""

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def write_tensors(folder: Path, tensors: Mapping[str, Tensor], shard_bytes: int = SHARD_BYTES) -> None:
    """`model.safetensors`, or `model-00001-of-0000N.safetensors` and their index when over `shard_bytes`."""
    shards: list[dict[str, Tensor]] = [{}]
    room = shard_bytes
    for name, tensor in tensors.items():
        size = tensor.nbytes
        if size > room and shards[-1]:
            shards.append({})
            room = shard_bytes
        shards[-1][name] = tensor.detach().contiguous()
        room -= size
    if len(shards) == 1:
        _save(shards[0], folder / WEIGHTS)
        return
    files = [f"model-{number:05}-of-{len(shards):05}.safetensors" for number in range(1, len(shards) + 1)]
    for file, shard in zip(files, shards, strict=True):
        _save(shard, folder / file)
    index = {
        "metadata": {"total_size": sum(tensor.nbytes for tensor in tensors.values())},
        "weight_map": {name: file for file, shard in zip(files, shards, strict=True) for name in shard},
    }
    write_json(folder / INDEX, index)


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a folder, mapped from its file rather than read.

    Raises:
        CheckpointError: no safetensors file, only pickled weights, a damaged or hostile file, or an index that its files belie.
    """
    if (folder / WEIGHTS).is_file():
        return read_file(folder / WEIGHTS)
    if not (folder / INDEX).is_file():
        raise _no_weights(folder)
    weight_map = read_json(folder / INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
        raise CheckpointError(str(folder / INDEX), "has no weight_map of names to files", "Write the checkpoint again")
    tensors: dict[str, Tensor] = {}
    for file in sorted(set(weight_map.values())):
        if Path(file).name != file or not file.endswith(".safetensors"):
            raise CheckpointError(
                str(folder / INDEX), f"names the shard {file!r}", "A shard is a safetensors file in the same folder"
            )
        shard = read_file(folder / file)
        promised = {name for name, place in weight_map.items() if place == file}
        if shard.keys() != promised:
            odd = sorted(shard.keys() ^ promised)
            raise CheckpointError(
                str(folder / file),
                f"and the index disagree on {len(odd)} tensors, first {odd[0]!r}",
                "Copy the whole folder again",
            )
        tensors |= shard
    return tensors


def read_file(path: Path) -> dict[str, Tensor]:
    """Every tensor of one safetensors file, mapped.

    Raises:
        CheckpointError: the file is missing, damaged, or its header lies.
    """
    if not path.is_file():
        raise CheckpointError(str(path), "is missing", "Copy the whole checkpoint folder again")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 not a mapping
    except (SafetensorError, ValueError, RuntimeError, OverflowError) as error:
        raise CheckpointError(
            str(path), f"is not a whole safetensors file ({error})", "Copy or convert it again; damaged weights are not used"
        ) from error


def assign(model: torch.nn.Module, tensors: Mapping[str, Tensor], thing: str) -> None:
    """Put tensors in the place of a model's parameters and buffers, without a copy; names and shapes must agree exactly.

    Tied parameters are one tensor under the first of their names. Each tensor takes its parameter's type (float16 on disk
    may be float32 in the model) and memory layout, copied only where these differ.

    Raises:
        CheckpointError: missing, unexpected or wrongly shaped tensors, by name; nothing is then assigned.
    """
    slots = _slots(model)
    firsts = {name: slot for slot in slots for name in slot[:1]}
    missing, unexpected = firsts.keys() - tensors.keys(), tensors.keys() - firsts.keys()
    if missing or unexpected:
        raise CheckpointError(
            thing, _disagreement(missing, unexpected), "Every tensor must have its place and every place its tensor"
        )
    values = {name: _value(model, name) for name in firsts}
    wrong = [
        f"{name!r} is {tuple(tensors[name].shape)} and must be {tuple(value.shape)}"
        for name, value in values.items()
        if tensors[name].shape != value.shape
    ]
    if wrong:
        raise CheckpointError(
            thing, f"has {len(wrong)} tensors of the wrong shape: {'; '.join(wrong[:5])}", "Check its config.json"
        )
    for name, slot in firsts.items():
        old = values[name]
        new = tensors[name].to(old.dtype)
        if new.stride() != old.stride():
            new = torch.empty_like(old).copy_(new)
        value = torch.nn.Parameter(new, old.requires_grad) if isinstance(old, torch.nn.Parameter) else new
        for alias in slot:
            owner, _, leaf = alias.rpartition(".")
            setattr(model.get_submodule(owner), leaf, value)


def own_tensors(model: torch.nn.Module) -> dict[str, Tensor]:
    """What `assign` expects: every parameter and kept buffer, a tied one once."""
    return {slot[0]: _value(model, slot[0]).detach() for slot in _slots(model)}


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A new, empty folder that takes the place of `folder` at the end; on any failure the old one stays as it was."""
    recover(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.with_name(f".{folder.name}.{uuid4().hex[:8]}.partial")
    fresh.mkdir()
    try:
        yield fresh
        for path in fresh.iterdir():
            _sync(path)
        previous = _previous(folder)
        if folder.exists():
            folder.rename(previous)
        fresh.rename(folder)
        shutil.rmtree(previous, ignore_errors=True)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        recover(folder)


def recover(folder: Path) -> None:
    """Finish or undo a replacement that was interrupted between its two renames."""
    previous = _previous(folder)
    if previous.is_dir() and not folder.exists():
        previous.rename(folder)


def read_json(path: Path) -> dict[str, Any]:
    """One JSON object.

    Raises:
        CheckpointError: the file is missing or is not a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(str(path), "is missing", "Give a whole checkpoint folder") from error
    except (ValueError, RecursionError, OSError) as error:
        raise CheckpointError(str(path), f"cannot be read as JSON ({error})", "Copy the checkpoint folder again") from error
    if not isinstance(value, dict):
        raise CheckpointError(str(path), "is not a JSON object", "Copy the checkpoint folder again")
    return value


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """As people read it: two spaces, UTF-8."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)  # the library writes for the owner alone


def _slots(model: torch.nn.Module) -> list[tuple[str, ...]]:
    """The names of each parameter and kept buffer; a tied one has several."""
    kept = model.state_dict(keep_vars=True)
    names: dict[int, list[str]] = {}
    for name, value in kept.items():
        names.setdefault(id(value), []).append(name)
    return [tuple(group) for group in names.values()]


def _value(model: torch.nn.Module, name: str) -> Tensor:
    owner, _, leaf = name.rpartition(".")
    value = getattr(model.get_submodule(owner), leaf)
    assert isinstance(value, Tensor)
    return value


def _disagreement(missing: Iterable[str], unexpected: Iterable[str]) -> str:
    missing, unexpected = sorted(missing), sorted(unexpected)
    words = []
    if missing:
        words.append(f"lacks {len(missing)} tensors ({_listing(missing, unexpected)})")
    if unexpected:
        words.append(f"holds {len(unexpected)} that the model has no place for ({_listing(unexpected, missing)})")
    return " and ".join(words)


def _listing(names: list[str], others: list[str]) -> str:
    shown = []
    for name in names[:5]:
        near = get_close_matches(name, others, n=1)
        shown.append(f"{name!r}" + (f", did you mean {near[0]!r}?" if near else ""))
    return "; ".join(shown) + ("; ..." if len(names) > 5 else "")


def _no_weights(folder: Path) -> CheckpointError:
    if not folder.is_dir():
        return CheckpointError(str(folder), "is not a folder", "Give the folder that holds config.json and model.safetensors")
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
    if pickled:
        return CheckpointError(
            str(folder),
            f"holds only pickled weights ({pickled[0]}), which can run code when they are read",
            "Where you trust them, load them with transformers and save_pretrained(...), which writes safetensors",
        )
    return CheckpointError(str(folder), f"holds neither {WEIGHTS} nor {INDEX}", "Give a whole checkpoint folder")


def _previous(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.previous")


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
