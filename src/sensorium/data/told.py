"""Records told as samples: the source behind every dialect whose rows can be counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePath

from sensorium.data.fault import Fault, RowError
from sensorium.data.record import Found, Record, Recorded
from sensorium.data.row import Remarks, Row
from sensorium.parts import Sample

Tell = Callable[[Record, str], Sample]
"""A record and the id it gets if it has none, to a sample; raises RowError."""


@dataclass(frozen=True, slots=True)
class Told:
    """Rows of a file, a folder or shards; an `Indexed` source.

    Args:
        limit: rows at most; 0 is all.
    """

    name: str
    records: Recorded
    tell: Tell
    remarks: Remarks
    limit: int = 0

    def __len__(self) -> int:
        return min(len(self.records), self.limit or len(self.records))

    def row(self, index: int) -> Row | Fault:
        """Row `index`, counted from 0."""
        return told(self.records.record(index), self.tell)

    def rows(self, start: int = 0) -> Iterator[Row | Fault]:
        """All rows from the one after `start` on."""
        for number, found in enumerate(self.records.records(start), start):
            if self.limit and number >= self.limit:
                return
            yield told(found, self.tell)

    def fingerprint(self) -> str:
        """A hash of the records; media are in it by name only."""
        return f"{self.records.fingerprint()}:{self.limit}" if self.limit else self.records.fingerprint()


def told(found: Found, tell: Tell) -> Row | Fault:
    """One record as a row, or as the fault that it is."""
    if isinstance(found.record, RowError):
        return found.record.at(found.file, found.row)
    try:
        return Row(tell(found.record, f"{PurePath(found.file).stem}-{found.row}"), found.file, found.row)
    except RowError as error:
        return error.at(found.file, found.row)
