"""Where the files of a task lie, so that what is missing can be named together with what is wanted."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from sensorium.errors import RequestError


class Layout(NamedTuple):
    """One folder below the data folder.

    Args:
        folder: its name. files: what has to be in it, in words.
    """

    folder: str
    files: str

    def path(self, data: Path, name: str = "") -> Path:
        """A file or folder in it.

        Raises:
            RequestError: it is not there; the message tells the whole layout.
        """
        path = data / self.folder / name
        if not path.exists():
            raise self._missing(path)
        return path

    def table(self, data: Path, stem: str, below: str = "") -> list[Path]:
        """The files of one table, in order of names: `STEM*.parquet`, or else `STEM.jsonl`.

        Raises:
            RequestError: neither is there.
        """
        folder = data / self.folder / below
        found = sorted(folder.glob(f"{stem}*.parquet")) or sorted(folder.glob(f"{stem}.jsonl"))
        if not found:
            raise self._missing(folder / f"{stem}*.parquet")
        return found

    def _missing(self, path: Path) -> RequestError:
        wanted = f"Put into the folder {self.folder}/ of the data folder: {self.files}"
        return RequestError(str(path), "is not there", wanted)
