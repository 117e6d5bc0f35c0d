"""WebDataset shards: tar files whose neighbouring members with the same name but for the extension are one sample.

A shard is gone through once by its headers; after that any sample is read alone, from where it stands.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path, PurePosixPath

from sensorium.data.attached import KINDS, Attached, Kind, medium
from sensorium.data.captioned import captioned
from sensorium.data.conversation import Columns, Conversations
from sensorium.data.fault import RowError
from sensorium.data.kinds import kind_of_name
from sensorium.data.offsets import Numbers, identity, kept
from sensorium.data.record import Found, Record
from sensorium.data.row import Remarks
from sensorium.data.table import parse_json
from sensorium.data.told import Told
from sensorium.errors import DataError
from sensorium.parts import Media, Sample

_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
_OPEN = 1024
"""Shards whose positions are mapped at once."""
_ZEROS = bytes(tarfile.BLOCKSIZE)


def open_shards(pattern: str) -> Told:
    """`data-{000000..000123}.tar`, `data-*.tar`, one tar file, or a folder of them.

    Raises:
        DataError: a shard that is not there, or is compressed.
    """
    paths, remarks = expand(pattern), Remarks()
    return Told(Path(pattern).name, Shards(tuple(paths)), Members(remarks), remarks)


def expand(pattern: str) -> list[str]:
    """The shards that a pattern means, in order.

    Raises:
        DataError: one of them is not there, or is compressed.
    """
    if span := _BRACES.search(pattern):
        low, high = span.group(1), span.group(2)
        names = [
            f"{pattern[: span.start()]}{number:0{len(low)}}{pattern[span.end() :]}" for number in range(int(low), int(high) + 1)
        ]
        paths = [path for name in names for path in expand(name)]
    elif Path(pattern).is_dir():
        paths = sorted(str(path) for path in Path(pattern).glob("*.tar"))
    elif "*" in pattern or "?" in pattern:
        paths = sorted(str(path) for path in Path(pattern).parent.glob(Path(pattern).name))
    else:
        paths = [pattern]
    if not paths or not all(Path(path).is_file() for path in paths):
        missing = next((path for path in paths if not Path(path).is_file()), pattern)
        raise DataError(missing, "is no tar file that is there", "Check the name or the numbers in braces")
    for path in paths:
        with Path(path).open("rb") as file:
            if file.read(2) == b"\x1f\x8b":
                raise DataError(path, "is compressed, so that no sample can be read alone", "Unpack it with gunzip")
    return paths


@dataclass(frozen=True)
class Shards:
    """The samples of some tar files; a record has a column for each extension, and `__key__`."""

    paths: tuple[str, ...]
    _open: dict[int, Numbers] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return self._ends[-1]

    def record(self, index: int) -> Found:
        """Sample `index` over all shards, counted from 0."""
        shard, row = self._place(index)
        start, stop = self._table(shard)[row].tolist()
        return Found(self.paths[shard], row + 1, _read(self.paths[shard], start, stop))

    def records(self, start: int = 0) -> Iterator[Found]:
        """All from sample `start` on; shards before it are only looked up."""
        shard, row = self._place(start) if start else (0, 0)
        for number in range(shard, len(self.paths)):
            path = self.paths[number]
            for at, (begin, end) in enumerate(self._table(number)[row:].tolist(), row + 1):
                yield Found(path, at, _read(path, begin, end))
            row = 0

    def fingerprint(self) -> str:
        """SHA-256 over the shards' names, sizes and member positions; contents are not read."""
        digest = hashlib.sha256()
        for number, path in enumerate(self.paths):
            digest.update(f"{Path(path).name} {Path(path).stat().st_size}\n".encode())
            digest.update(self._table(number).tobytes())
        return digest.hexdigest()

    def _place(self, index: int) -> tuple[int, int]:
        ends = self._ends
        if index >= ends[-1]:
            return len(self.paths), 0
        shard = next(number for number, end in enumerate(ends) if index < end)
        return shard, index - (ends[shard - 1] if shard else 0)

    def _table(self, shard: int) -> Numbers:
        if shard not in self._open:
            path = self.paths[shard]
            if len(self._open) >= _OPEN:
                self._open.clear()
            self._open[shard] = kept(f"members 1 {identity(path)}", 2, lambda: _samples(path))
        return self._open[shard]

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(len(self._table(shard)) for shard in range(len(self.paths))))


@dataclass(frozen=True, slots=True)
class Members:
    """Tells a sample: its `json` as a conversation where it is one, else what its `txt` or `json` says about its media."""

    remarks: Remarks

    def __call__(self, record: Record, default: str) -> Sample:
        """One sample.

        Raises:
            RowError: what is wrong with it.
        """
        key = str(record.take("__key__"))
        given: dict[Kind, Sequence[Media]] = {kind: [] for kind in KINDS}
        for name in record.values:
            if kind := kind_of_name(f"x.{name}"):
                given[kind] = [*given[kind], medium(kind, record.take(name), "", name)]
        attached = Attached(given, "", {kind: kind for kind in KINDS})
        told, columns = self._json(record), Columns()
        told.values.setdefault("id", key)
        label = record.take("cls")
        if label is not None:
            told.values["label"] = _text(label).strip()
        talks = columns.fit(told)
        words = None if talks else record.take("txt", "caption", "text")
        if words is not None:
            told.values["caption"] = _text(words)
        self.remarks.ignored |= {f".{name}" for name in set(record.values) - record.used}
        if not talks:
            return captioned(told, default, attached, self.remarks)
        for kind in KINDS:
            told.take(*columns.media[kind])
        return Conversations("", self.remarks, columns)(told, default, attached)

    def _json(self, record: Record) -> Record:
        content = record.take("json")
        value = {} if content is None else parse_json(content)
        if not isinstance(value, dict):
            raise RowError("json", "wrong-type", "is not an object", "Write one object a sample")
        return Record(value)


def _samples(path: str) -> Iterator[tuple[int, int]]:
    """Where each sample begins and ends; an empty span for the last one if the shard has no end, as it may lack members."""
    size = Path(path).stat().st_size
    last, start, stop = None, 0, 0
    for name, place, end in _members(path):
        key, _ = _split(name)
        if key != last:
            if last is not None:
                yield start, stop
            last, start = key, place
        stop = end
    with Path(path).open("rb") as file:
        file.seek(stop)
        broken = stop > size or file.read(tarfile.BLOCKSIZE) != _ZEROS
    if broken or last is not None:
        yield start, start if broken else stop


def _members(path: str) -> Iterator[tuple[str, int, int]]:
    """Name, first header's place and end of each regular member, as far as the shard can be read."""
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if member.isfile():
                    yield (
                        member.name,
                        member.offset,
                        member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE,
                    )
    except tarfile.ReadError:
        return


def _read(path: str, start: int, stop: int) -> Record | RowError:
    if start == stop:
        reason = f"cannot be read: the shard breaks off inside it or after it (it begins at byte {start:,})"
        return RowError("shard", "truncated", reason, "Copy or write the shard again")
    values: dict[str, object] = {}
    with Path(path).open("rb") as file:
        file.seek(start)
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                while (member := tar.next()) is not None and member.offset < stop:
                    if not member.isfile():
                        continue
                    key, extension = _split(member.name)
                    if extension in values:
                        return RowError(
                            extension, "duplicate-member", f"occurs twice under the key {key!r}", "Keep one of the two"
                        )
                    content = tar.extractfile(member)
                    assert content is not None
                    values["__key__"], values[extension] = key, content.read()
        except (tarfile.ReadError, EOFError) as error:
            return RowError("shard", "truncated", f"breaks off inside the sample ({error})", "Copy or write the shard again")
    return Record(values)


def _split(name: str) -> tuple[str, str]:
    """`a/b.c.jpg` is key `a/b` with extension `c.jpg`."""
    path = PurePosixPath(name)
    stem, _, extension = path.name.partition(".")
    return str(path.with_name(stem)) if stem else name, extension.lower()


def _text(value: object) -> str:
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RowError("txt", "bad-json", f"is not UTF-8 (byte {error.start:,} of it)", "Save the text as UTF-8") from error
