"""Folders of pictures, recordings or clips: with `metadata.jsonl` or `metadata.csv`, or one folder a class.

The layout of `imagefolder`, `audiofolder` and `videofolder` of the `datasets` library.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from pathlib import Path, PurePosixPath

from sensorium.data.attached import KINDS, Attached, Kind, medium
from sensorium.data.captioned import captioned
from sensorium.data.conversation import Columns, Conversations
from sensorium.data.fault import RowError
from sensorium.data.kinds import kind_of_name
from sensorium.data.record import Found, Record
from sensorium.data.row import Remarks
from sensorium.data.table import Table
from sensorium.data.told import Told
from sensorium.errors import DataError
from sensorium.parts import Media, Sample

METADATA = ("metadata.jsonl", "metadata.csv")


def open_folder(path: str) -> Told:
    """Rows of its metadata, or its files in classes.

    Raises:
        DataError: neither.
    """
    remarks = Remarks()
    tell = Files(path, remarks)
    for name in METADATA:
        if Path(path, name).is_file():
            table = Table(str(Path(path, name)), "csv" if name.endswith("csv") else "lines")
            return Told(Path(path).name, table, tell, remarks)
    listing = Classes(path)
    if not len(listing):
        below = sorted(str(found.parent.relative_to(path)) for name in METADATA for found in Path(path).glob(f"*/{name}"))
        problem = f"has no metadata.jsonl or metadata.csv and no folders of media{', but its folders do: ' * bool(below)}"
        raise DataError(
            path, problem + ", ".join(below), "Open one of them" if below else "Write one, with a file_name in each row"
        )
    return Told(Path(path).name, listing, tell, remarks)


@dataclass(frozen=True, slots=True)
class Files:
    """Tells a row of metadata: `file_name`, or `..._file_name(s)`, and what is said about the file."""

    folder: str
    remarks: Remarks

    def __call__(self, record: Record, default: str) -> Sample:
        """One row.

        Raises:
            RowError: what is wrong with it.
        """
        given: dict[Kind, Sequence[Media]] = {kind: [] for kind in KINDS}
        for column in record.values:
            if column in ("file_name", "file_names") or column.endswith(("_file_name", "_file_names")):
                value = record.take(column)
                for name in value if isinstance(value, list) else [value]:
                    kind = kind_of_name(str(name))
                    if kind is None:
                        reason = f"is {name!r}, whose extension is no picture's, recording's or clip's"
                        raise RowError(column, "wrong-type", reason, "Name a media file")
                    given[kind] = [*given[kind], medium(kind, name, self.folder, column)]
        attached = Attached(given, self.folder, dict.fromkeys(KINDS, "file_name"))
        if not any(given.values()):
            reason = f"is missing; the row has {sorted(record.values)}"
            raise RowError("file_name", "missing-field", reason, "Name the media file of the row")
        columns = Columns()
        if columns.fit(record):
            return Conversations(self.folder, self.remarks, columns)(record, default, attached)
        return captioned(record, default, attached, self.remarks)


@dataclass(frozen=True)
class Classes:
    """Media files in folders; the folder's name is the class. Only the folder being read is held in memory."""

    path: str

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def record(self, index: int) -> Found:
        """File `index` in the order of names, counted from 0."""
        number = next(number for number, end in enumerate(self._ends) if index < end)
        folder = self._folders[number]
        name = _media(str(Path(self.path, folder)))[index - (self._ends[number - 1] if number else 0)]
        values = {"file_name": str(PurePosixPath(folder, name)), "label": PurePosixPath(folder).name}
        return Found(self.path, index + 1, Record(values))

    def records(self, start: int = 0) -> Iterator[Found]:
        """All from `start` on."""
        return map(self.record, range(start, len(self)))

    def fingerprint(self) -> str:
        """SHA-256 of the names."""
        digest = hashlib.sha256()
        for folder in self._folders:
            digest.update("\n".join((folder, *_media(str(Path(self.path, folder))))).encode())
        return digest.hexdigest()

    @cached_property
    def _folders(self) -> list[str]:
        folders = sorted(folder for folder in Path(self.path).rglob("*") if folder.is_dir())
        return [folder.relative_to(self.path).as_posix() for folder in folders]

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(len(_media(str(Path(self.path, folder)))) for folder in self._folders))


@lru_cache(maxsize=8)
def _media(folder: str) -> tuple[str, ...]:
    return tuple(sorted(file.name for file in Path(folder).iterdir() if kind_of_name(file.name) and file.is_file()))
