"""What every reader gives: rows, one by one, undecoded; and broken rows as faults in their place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

from sensorium.data.fault import Fault
from sensorium.parts import Json, Sample


class Row(NamedTuple):
    """A sample and where it stands; `row` counts from 1 in the file's own order, as in `Fault`."""

    sample: Sample
    file: str
    row: int


Unread = Callable[[], "Row | Fault"]
"""A row that stands there and has not been read: a call makes the sample of it, in any thread."""


@dataclass(slots=True)
class Remarks:
    """What a person should know about the rows read so far.

    Args:
        ignored: columns that no part of a sample is made of.
        notes: what was done to rows, and to how many, such as media put before the text for want of placeholders.
    """

    ignored: set[str] = field(default_factory=set)
    notes: Counter[str] = field(default_factory=Counter)


class Source(Protocol):
    """Rows in a fixed order, which can be begun anywhere."""

    @property
    def name(self) -> str:
        """As a person would name it."""
        ...

    @property
    def remarks(self) -> Remarks:
        """About the rows read so far."""
        ...

    def rows(self, start: int = 0) -> Iterator[Row | Fault]:
        """All rows from the one after `start` on; those before are skipped without being parsed."""
        ...

    def fingerprint(self) -> str:
        """A hash of what the rows are made of; media are in it by name only."""
        ...


@runtime_checkable
class Indexed(Source, Protocol):
    """A source that knows how many rows it has and reads any of them alone; safe to use from several threads."""

    def __len__(self) -> int: ...

    def row(self, index: int) -> Row | Fault:
        """Row `index`, counted from 0."""
        ...


class Walk(Iterator[Unread], Protocol):
    """A pass over a source that can say where it stands. Its rows come unread, since a process reads its own only."""

    def bookmark(self) -> Json:
        """Plain JSON that `Streamed.walk` takes to go on after the last row given."""
        ...


@runtime_checkable
class Streamed(Source, Protocol):
    """A source of unknown length that is read in order only."""

    def walk(self, bookmark: Json | None = None) -> Walk:
        """A pass from the first row, or from a bookmark."""
        ...
