"""A frozen encoder that remembers: its features on disk by content, bounded in bytes, shared by all processes of a machine.

A key is the hash of the encoder (weights, buffers, settings) and of the prepared tensor, which the medium and its preprocessing
have made together. Change any of them, and the features are made anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.batch import Features
from sensorium.errors import RequestError

_PLAIN = (int, float, str, bool, tuple, type(None))


class CachedEncoder:
    """Called like the encoder itself: P prepared tensors to `Features`, without gradient.

    Args:
        encoder: frozen and in evaluation mode.
        folder: may be shared by processes and by encoders. limit: bytes in it at most, all encoders together; what was not
            used for longest goes first, and what is larger than all of it is not kept.
        dtype: on disk; float16 rounds to 11 bits and halves the room.

    Raises:
        RequestError: the encoder is being trained, or its weights changed since it was wrapped.
    """

    def __init__(self, encoder: nn.Module, folder: Path, limit: int = 2**32, dtype: torch.dtype = torch.float16) -> None:
        self.encoder, self.folder, self.limit, self.dtype = encoder, folder, limit, dtype
        self.hits = self.misses = 0
        self._check_frozen()
        self._versions = self._count_changes()
        self._mark = fingerprint(encoder) + str(dtype)
        folder.mkdir(parents=True, exist_ok=True)

    @torch.no_grad()
    def __call__(self, media: Sequence[Tensor]) -> Features:
        """`(P, T, D)` float32, padded on the right."""
        self._check_frozen()
        if self._count_changes() != self._versions:
            problem = "has changed since its features were first kept"
            raise RequestError("cached encoder", problem, "Wrap it again, or train it without a cache")
        paths = [self._path(tensor) for tensor in media]
        found = [_read(path) for path in paths]
        lost = [place for place, features in enumerate(found) if features is None]
        self.hits, self.misses = self.hits + len(media) - len(lost), self.misses + len(lost)
        if lost:
            made = self.encoder([media[place] for place in lost])
            for place, x_TD, valid_T in zip(lost, made.x_BTD, made.valid_BT, strict=True):
                kept_TD = x_TD[valid_T].to(self.dtype)
                self._write(paths[place], kept_TD)
                found[place] = kept_TD
        return _padded([features for features in found if features is not None])

    def _path(self, tensor: Tensor) -> Path:
        said = f"{self._mark} {tuple(tensor.shape)} {tensor.dtype}".encode()
        name = hashlib.blake2b(said + _bytes(tensor), digest_size=20).hexdigest()
        return self.folder / name[:2] / f"{name}.npy"

    def _write(self, path: Path, features_TD: Tensor) -> None:
        """Whole or not at all, and one process at a time, so that the bound holds however many share the folder."""
        file = io.BytesIO()
        np.save(file, features_TD.contiguous().numpy(), allow_pickle=False)
        size = file.tell()
        if size > self.limit:
            return
        path.parent.mkdir(exist_ok=True)
        with (self.folder / "held").open("a+") as ledger:
            fcntl.flock(ledger, fcntl.LOCK_EX)
            held = self._held(ledger, size)
            ledger.truncate(0)
            ledger.write(str(held))  # before the file is there: a crash between the two counts too much, never too little
            ledger.flush()
            fresh = path.with_suffix(".partial")
            fresh.write_bytes(file.getbuffer())
            fresh.replace(path)

    def _held(self, ledger: TextIO, size: int) -> int:
        """Bytes held with `size` more; past the limit, after counting anew, what was not used for longest goes first."""
        ledger.seek(0)
        said = ledger.read()
        if said.isdigit() and int(said) + size <= self.limit:
            return int(said) + size
        files = sorted(_files(self.folder))
        held = sum(each for _, each, _ in files) + size
        target = self.limit * 8 // 10 if held > self.limit else held
        for _, each, path in files:
            if held <= target:
                break
            path.unlink(missing_ok=True)
            held -= each
        return held

    def _check_frozen(self) -> None:
        if self.encoder.training or any(parameter.requires_grad for parameter in self.encoder.parameters()):
            problem = "is being trained; its features would be out of date after one step"
            raise RequestError(
                "cached encoder", problem, "Freeze it (requires_grad_(False), eval()), or train it without a cache"
            )

    def _count_changes(self) -> int:
        return sum(tensor._version for tensor in (*self.encoder.parameters(), *self.encoder.buffers()))


def remembered(
    encoders: Mapping[str, nn.Module], folder: Path, limit: int = 2**32
) -> dict[str, Callable[[Sequence[Tensor]], Features]]:
    """Encoders by modality that remember their features as long as they are frozen, and work as ever while they learn.

    Args:
        folder, limit: see `CachedEncoder`.
    """
    return {name: _Perhaps(encoder, folder, limit) for name, encoder in encoders.items()}


class _Perhaps:
    """An encoder, cached as soon as it is found frozen."""

    def __init__(self, encoder: nn.Module, folder: Path, limit: int) -> None:
        self.encoder, self.folder, self.limit = encoder, folder, limit
        self.cached: CachedEncoder | None = None

    def __call__(self, media: Sequence[Tensor]) -> Features:
        if any(parameter.requires_grad for parameter in self.encoder.parameters()):
            self.cached = None
            learned: Features = self.encoder(media)
            return learned
        if self.cached is None:
            self.encoder.eval()
            self.cached = CachedEncoder(self.encoder, self.folder, self.limit)
        return self.cached(media)


def fingerprint(module: nn.Module) -> str:
    """Hash of a module: its structure, plain settings, weights and buffers."""
    state = hashlib.blake2b(digest_size=20)
    for path, part in module.named_modules():
        rows = {key: value for key, value in vars(part).items() if not key.startswith("_") and key != "training"}
        plain = {key: value for key, value in rows.items() if isinstance(value, _PLAIN) or is_dataclass(value)}
        state.update(f"{path} {type(part).__qualname__} {sorted(plain.items(), key=lambda row: row[0])}".encode())
    for name, tensor in module.state_dict().items():
        state.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        state.update(_bytes(tensor))
    return state.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _read(path: Path) -> Tensor | None:
    """Features that are there and whole; reading them counts as use."""
    try:
        with path.open("rb") as file:
            array: np.ndarray[Any, Any] = np.load(file, allow_pickle=False)
        os.utime(path)
    except (FileNotFoundError, ValueError, EOFError):  # evicted just now, or cut short by a crash
        return None
    return torch.from_numpy(array)


def _files(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """(last use, bytes, path) of every file, those a crash left half written too; who counts is the only one who writes."""
    for path in folder.glob("??/*"):
        status = path.stat()
        yield (0.0 if path.suffix == ".partial" else status.st_mtime), status.st_size, path


def _padded(features: Sequence[Tensor]) -> Features:
    steps = torch.tensor([len(tensor) for tensor in features])
    x_PTD = torch.nn.utils.rnn.pad_sequence([tensor.float() for tensor in features], batch_first=True)
    return Features(x_PTD, torch.arange(x_PTD.shape[1]) < steps[:, None])
