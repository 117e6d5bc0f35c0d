"""What has been seen so far, kept in a temporary database on disk, so that memory stays bounded however many rows there are."""

from __future__ import annotations

import sqlite3
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from sensorium.data.checking.sketch import PictureSketch, Words, look_alike, overlap

_BANDS, _MOST = 8, 64
_CACHE = 32
NEAR = 0.85
"""The overlap from which two texts count as nearly the same."""


class Place(NamedTuple):
    """Where something was seen first. `name` is the medium's own name, or nothing."""

    file: str
    row: int
    name: str = ""
    other: bool = False


class Memory:
    """Rows, texts and pictures seen; each question answers with the place where the like was seen before, and remembers.

    `other` marks what was seen in the other data, against which this data is checked.
    """

    def __init__(self) -> None:
        self._base = sqlite3.connect("")
        self._base.executescript(
            f"""
            PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -{_CACHE * 1024};
            CREATE TABLE places (id INTEGER PRIMARY KEY, file TEXT, row INTEGER, name TEXT, other INTEGER);
            CREATE TABLE exact (key INTEGER PRIMARY KEY, place INTEGER) WITHOUT ROWID;
            CREATE TABLE bands (key INTEGER PRIMARY KEY, place INTEGER) WITHOUT ROWID;
            CREATE TABLE texts (place INTEGER PRIMARY KEY, sketch BLOB);
            CREATE TABLE quarters (key INTEGER, place INTEGER, PRIMARY KEY (key, place)) WITHOUT ROWID;
            CREATE TABLE pictures (place INTEGER PRIMARY KEY, hash BLOB, thumb BLOB);
            """
        )

    def close(self) -> None:
        """Give the disk space back."""
        self._base.close()

    def same(self, what: str, content: bytes, here: Place) -> Place | None:
        """Whether exactly this content was seen; `what` keeps kinds of content apart."""
        key = _key(what.encode(), content)
        found = self._base.execute("SELECT place FROM exact WHERE key = ?", (key,)).fetchone()
        if found is not None:
            return self._place(found[0])
        self._base.execute("INSERT INTO exact VALUES (?, ?)", (key, self._new(here)))
        return None

    def near_text(self, sketch: Words, beside: bytes, here: Place) -> tuple[Place, float] | None:
        """A text of nearly the same words beside the same media, and the overlap."""
        keys = [_key(b"band", bytes([band]), beside, part.tobytes()) for band, part in enumerate(np.split(sketch, _BANDS))]
        marks = ",".join("?" * len(keys))
        near = self._base.execute(f"SELECT DISTINCT place FROM bands WHERE key IN ({marks})", keys).fetchall()
        for (place,) in near:
            (blob,) = self._base.execute("SELECT sketch FROM texts WHERE place = ?", (place,)).fetchone()
            share = overlap(sketch, np.frombuffer(blob, dtype=np.uint32))
            if share >= NEAR:
                return self._place(place), share
        new = self._new(here)
        self._base.executemany("INSERT OR IGNORE INTO bands VALUES (?, ?)", [(key, new) for key in keys])
        self._base.execute("INSERT INTO texts VALUES (?, ?)", (new, sketch.tobytes()))
        return None

    def near_picture(self, sketch: PictureSketch, here: Place) -> Place | None:
        """A picture that looks alike; every pair within 3 bits is found, since then one of four quarters is equal."""
        keys = [quarter << 16 | sketch.hash >> (16 * quarter) & 0xFFFF for quarter in range(4)]
        near = self._base.execute(
            "SELECT DISTINCT pictures.place, hash, thumb FROM quarters JOIN pictures USING (place)"
            f" WHERE key IN (?, ?, ?, ?) LIMIT {_MOST}",
            keys,
        ).fetchall()
        for place, number, thumb in near:
            if look_alike(sketch, PictureSketch(int.from_bytes(number, "big"), thumb)):
                return self._place(place)
        new = self._new(here)
        self._base.executemany("INSERT INTO quarters VALUES (?, ?)", [(key, new) for key in keys])
        self._base.execute("INSERT INTO pictures VALUES (?, ?, ?)", (new, sketch.hash.to_bytes(8, "big"), sketch.thumb))
        return None

    def _new(self, place: Place) -> int:
        row = self._base.execute("INSERT INTO places (file, row, name, other) VALUES (?, ?, ?, ?)", place)
        assert row.lastrowid is not None
        return row.lastrowid

    def _place(self, number: int) -> Place:
        file, row, name, other = self._base.execute(
            "SELECT file, row, name, other FROM places WHERE id = ?", (number,)
        ).fetchone()
        return Place(file, row, name, bool(other))


def _key(*parts: bytes) -> int:
    """64 bits, signed as the database wants them: two of a billion contents collide with a chance of 3 %."""
    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return int.from_bytes(digest.digest(), "big", signed=True)
