"""Records of one table found by the value of a field, without holding the table in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sensorium.data.fault import RowError
from sensorium.data.offsets import Numbers, identity, kept
from sensorium.data.record import Record
from sensorium.data.table import Table


@dataclass(frozen=True)
class Lookup:
    """`find` gives the first record whose `field` equals a value; hashes and places of all are kept on disk, sorted."""

    table: Table
    field: str

    def __len__(self) -> int:
        return len(self._sorted)

    def find(self, value: Any) -> Record | None:
        """The record, or None."""
        wanted = _hash(value)
        place = int(np.searchsorted(self._sorted[:, 0], wanted))
        while place < len(self._sorted) and self._sorted[place, 0] == wanted:
            record = self.table.record(int(self._sorted[place, 1])).record
            if not isinstance(record, RowError) and record.values.get(self.field) == value:
                return record
            place += 1
        return None

    @cached_property
    def _sorted(self) -> Numbers:
        key = f"{self.field} {self.table.key} {identity(self.table.path)}"
        pairs = kept(f"hashes 1 {key}", 2, self._pairs)
        return kept(f"sorted 1 {key}", 2, lambda: map(tuple, pairs[np.argsort(pairs[:, 0], kind="stable")].tolist()))

    def _pairs(self) -> Iterator[tuple[int, int]]:
        for found in self.table.records():
            if not isinstance(found.record, RowError) and found.record.has(self.field):
                yield _hash(found.record.values[self.field]), found.row - 1


def _hash(value: Any) -> int:
    digest = hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
