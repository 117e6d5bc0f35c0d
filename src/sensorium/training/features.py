"""Features of frozen encoders, made once and kept on disk in half precision; an interrupted run goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sensorium.errors import CheckpointError

Encode = Callable[[Sequence[str]], Sequence[Tensor]]
"""Media by name to features `(T, D)` each, of any lengths T."""


class FeatureStore:
    """Features by index, `(T, D)` each; read by memory map.

    Args:
        folder: holds `features.f16`, and `index.json` with the names and where each begins.
        dim: width D.
    """

    def __init__(self, folder: Path, dim: int, names: Sequence[str]) -> None:
        self.folder, self.dim, self.names = folder, dim, list(names)
        self.ends: list[int] = []
        if (folder / "index.json").is_file():
            index = json.loads((folder / "index.json").read_text("utf-8"))
            self.ends = index["ends"]
            if index["names"] != self.names or index["dim"] != dim:
                raise CheckpointError(str(folder), "holds features of other media", "Delete it, or name another folder")
        self._map: np.memmap[tuple[int, int], np.dtype[np.float16]] | None = None

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> Tensor:
        """Features `(T, D)`, float16."""
        if self._map is None:
            self._map = np.memmap(self._data, np.float16, "r", shape=(self.ends[-1], self.dim))
        start = self.ends[index - 1] if index else 0
        return torch.from_numpy(np.array(self._map[start : self.ends[index]]))

    @property
    def _data(self) -> Path:
        return self.folder / "features.f16"

    @torch.no_grad()
    def fill(self, encode: Encode, batch: int = 16, save_every: int = 64) -> Iterator[int]:
        """Encode what is missing; yields how many are done, every `save_every` batches and at the end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._data.open("r+b" if self._data.is_file() else "w+b") as file:
            file.truncate((self.ends[-1] if self.ends else 0) * self.dim * 2)
            file.seek(0, 2)
            for turn, start in enumerate(range(len(self.ends), len(self.names), batch), 1):
                for features_TD in encode(self.names[start : start + batch]):
                    self.ends.append((self.ends[-1] if self.ends else 0) + len(features_TD))
                    file.write(features_TD.half().contiguous().numpy().tobytes())
                if turn % save_every == 0:
                    file.flush()
                    self._write_index()
                    yield len(self.ends)
        self._write_index()
        yield len(self.ends)

    def _write_index(self) -> None:
        fresh = self.folder / "index.json.new"
        fresh.write_text(json.dumps({"names": self.names, "dim": self.dim, "ends": self.ends}), "utf-8")
        fresh.replace(self.folder / "index.json")
