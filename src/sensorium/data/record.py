"""One row as a file holds it: named columns, which of them were used, and what every dialect keeps as meta data."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from sensorium.data.fault import RowError
from sensorium.data.row import Remarks
from sensorium.parts import Json

_KEPT = {
    "licence": ("licence", "license"),
    "language": ("language", "lang"),
    "consent": ("consent",),
    "source": ("source",),
    "channel": ("channel",),
    "chat_template_kwargs": ("chat_template_kwargs",),
}
"""Columns that go into `Sample.meta` under one name, whatever the dialect."""


class Found(NamedTuple):
    """A record and where it stands (rows from 1), or the error in its place."""

    file: str
    row: int
    record: Record | RowError


class Recorded(Protocol):
    """Records in a fixed order; what a file, a folder, a set of shards or a table library offers to be told as samples."""

    def __len__(self) -> int: ...

    def record(self, index: int) -> Found:
        """Record `index`, counted from 0."""
        ...

    def records(self, start: int = 0) -> Iterator[Found]:
        """All from `start` on."""
        ...

    def fingerprint(self) -> str:
        """A hash of the records."""
        ...


class Record:
    """Columns by name; one that is null counts as absent, as in tables that give every row every column."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = {key: value for key, value in values.items() if value is not None}
        self.used: set[str] = set()

    def has(self, *names: str) -> bool:
        """Whether any of these columns is there."""
        return any(name in self.values for name in names)

    def take(self, *names: str) -> Any:
        """The first of these columns that is there, or None; it counts as used."""
        for name in names:
            if name in self.values:
                self.used.add(name)
                return self.values[name]
        return None

    def text(self, *names: str) -> str | None:
        """Like `take`, for a column of words.

        Raises:
            RowError: it holds something else.
        """
        value = self.take(*names)
        if value is None or isinstance(value, str):
            return value
        found = next(name for name in names if name in self.values)
        raise wrong_type(found, value, "a string")

    def identity(self, default: str) -> str:
        """The row's `id` as a string, or else `default`."""
        value = self.take("id")
        return default if value is None else str(value)

    def meta(self, remarks: Remarks, **more: Any) -> Json:
        """What is kept beside the messages; columns that nobody took are named in the remarks.

        Raises:
            RowError: a `meta` column that is not an object.
        """
        own = self.take("meta")
        if own is not None and not isinstance(own, Mapping):
            raise wrong_type("meta", own, "an object")
        kept = {name: self.take(*names) for name, names in _KEPT.items() if self.has(*names)}
        rest = {name: value for name, value in more.items() if value is not None}
        remarks.ignored |= set(self.values) - self.used - {"id"}
        return types.MappingProxyType({**(own or {}), **kept, **rest})


def wrong_type(field: str, value: object, wanted: str) -> RowError:
    """The error for a column or item of the wrong kind."""
    shown = repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return RowError(field, "wrong-type", f"is {_kind(value)} ({shown}), not {wanted}", f"Write {wanted}")


def _kind(value: object) -> str:
    names = {str: "a string", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")
