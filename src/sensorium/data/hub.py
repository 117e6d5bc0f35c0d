"""Tables of the `datasets` library, on disk or streamed: media stay the bytes or paths they are stored as."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from sensorium.data.attached import KINDS, Attached, Kind
from sensorium.data.captioned import captioned
from sensorium.data.conversation import Columns, Conversations
from sensorium.data.fault import Fault
from sensorium.data.record import Found, Record
from sensorium.data.row import Remarks, Row, Source, Unread
from sensorium.data.told import Told, told
from sensorium.errors import DataError, DependencyError
from sensorium.parts import Json, Sample


def open_hub(
    path: str,
    *,
    name: str | None = None,
    split: str = "train",
    revision: str | None = None,
    streaming: bool = False,
    media: str = "",
) -> Source:
    """A data set saved with `save_to_disk`, a Parquet or Arrow file (streamed), or one of the hub.

    Args:
        name: the configuration. revision: of the hub's repository; name one, so that the data cannot change under a run.
        media: the folder that relative media paths start from.

    Raises:
        DependencyError: `datasets` is not installed. DataError: no such data set or split.
    """
    try:
        datasets = import_module("datasets")
    except ImportError as error:
        raise DependencyError("datasets", f"is needed to read {path}, and is not installed", "pip install datasets") from error
    try:
        if Path(path).is_dir():
            table = datasets.load_from_disk(path)
        elif Path(path).suffix in (".parquet", ".arrow"):
            kind = Path(path).suffix[1:]
            table = datasets.load_dataset(kind, data_files=path, split="train", streaming=True)
        else:
            table = datasets.load_dataset(path, name, split=split, revision=revision, streaming=streaming)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            path, f"cannot be opened by datasets ({error})", "Check the path, the configuration and the split"
        ) from error
    if isinstance(table, dict):
        if split not in table:
            raise DataError(path, f"has no split {split!r}", f"Use one of {', '.join(table)}")
        table = table[split]
    return from_table(table, f"{path} {name or ''} {split}".strip(), media)


def from_table(table: Any, name: str, media: str = "") -> Source:
    """A `Dataset` or `IterableDataset` that is already open."""
    features = table.features
    if features is not None:
        table = table.cast(_undecoded(features))
    remarks = Remarks()
    tell = Columned(media, remarks)
    if hasattr(table, "__len__"):
        return Told(name, Held(table, name), tell, remarks)
    return Flow(name, table, tell, remarks)


@dataclass(frozen=True, slots=True)
class Columned:
    """Tells a row of a table: a conversation where its columns are one, else media with their caption."""

    media: str
    remarks: Remarks

    def __call__(self, record: Record, default: str) -> Sample:
        """One row.

        Raises:
            RowError: what is wrong with it.
        """
        columns = Columns()
        if columns.fit(record):
            return Conversations(self.media, self.remarks, columns)(record, default)
        return captioned(record, default, Attached.of(record, self.media), self.remarks)


@dataclass(frozen=True, slots=True)
class Held:
    """Records of a `Dataset`, which is mapped from disk."""

    table: Any
    name: str

    def __len__(self) -> int:
        return len(self.table)

    def record(self, index: int) -> Found:
        """Record `index`, counted from 0."""
        return Found(self.name, index + 1, Record(self.table[index]))

    def records(self, start: int = 0) -> Iterator[Found]:
        """All from `start` on."""
        return map(self.record, range(start, len(self)))

    def fingerprint(self) -> str:
        """The library's own: of the data and of every change made to them."""
        return str(self.table._fingerprint)


@dataclass(frozen=True, slots=True)
class Flow:
    """Rows of an `IterableDataset`; a `Streamed` source that goes on by the library's own state."""

    name: str
    table: Any
    tell: Columned
    remarks: Remarks

    def rows(self, start: int = 0) -> Iterator[Row | Fault]:
        """All rows from the one after `start` on."""
        table = self.table.skip(start) if start else self.table
        return (self.read(row, values) for row, values in enumerate(table, start + 1))

    def read(self, row: int, values: Mapping[str, Any]) -> Row | Fault:
        """A row of the library as a sample, or as the fault that it is."""
        return told(Found(self.name, row, Record(values)), self.tell)

    def walk(self, bookmark: Json | None = None) -> FlowWalk:
        """A pass from the first row, or from a bookmark."""
        return FlowWalk(self, bookmark)

    def fingerprint(self) -> str:
        """SHA-256 of the name, the columns and the number of shards; a stream's rows cannot be hashed before they come."""
        what = f"{self.name} {self.table.features} {self.table.num_shards}"
        return hashlib.sha256(what.encode()).hexdigest()


class FlowWalk(Iterator[Unread]):
    """One pass over a `Flow`."""

    def __init__(self, flow: Flow, bookmark: Json | None) -> None:
        self._flow, self._table = flow, deepcopy(flow.table)
        self._row: int = bookmark["row"] if bookmark else 0
        self._state: Json | None = bookmark["state"] if bookmark else None
        if self._state is not None:
            self._table.load_state_dict(deepcopy(self._state))
        self._rows, self._moved = iter(self._table), False

    def __next__(self) -> Unread:
        values = next(self._rows)
        self._row, self._moved = self._row + 1, True
        return partial(self._flow.read, self._row, values)

    def bookmark(self) -> Json:
        """Plain JSON that `Flow.walk` takes to go on after the last row given."""
        return {"row": self._row, "state": deepcopy(self._table.state_dict()) if self._moved else self._state}


def _undecoded(features: Any) -> Any:
    """The same columns with media left as they are stored, in lists and objects too."""
    datasets = import_module("datasets")
    kinds: dict[Any, Kind] = {getattr(datasets, kind.capitalize()): kind for kind in KINDS}

    def plain(feature: Any) -> Any:
        if type(feature) in kinds:
            changed = deepcopy(feature)
            changed.decode = False
            return changed
        if isinstance(feature, dict):
            return type(feature)({key: plain(value) for key, value in feature.items()})
        if isinstance(feature, list):
            return [plain(value) for value in feature]
        if hasattr(feature, "feature"):
            changed = deepcopy(feature)
            changed.feature = plain(feature.feature)
            return changed
        return feature

    return plain(features)
