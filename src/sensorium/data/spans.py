"""Where the records of a text file begin and end: one pass, bounded memory, nothing parsed.

A record that is broken inside does not hide the ones after it, because only quotes, brackets and line feeds are looked at.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

_BLOCK = 1 << 20
_KEY = 256
_IN_STRING = re.compile(rb'[^"\\]*+(["\\])')
_DEEP = re.compile(rb'(?:[^"{}\[\]]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+(["{}\[\]])', re.DOTALL)
"""The next bracket past whole strings, or the quote of a string that does not end in this block."""
_FLAT = re.compile(rb'[^"{}\[\],]*+(["{}\[\],])')


class Span(NamedTuple):
    """Bytes `start` to `stop` of a file. An empty span stands for a record that is not there although it should be."""

    start: int
    stop: int


class _Mark(NamedTuple):
    """A bracket, or a comma or a string's end where they count.

    Args:
        depth: how many brackets are open around it. start: the first byte of a string.
    """

    sign: int
    place: int
    depth: int
    start: int


def lines(path: str) -> Iterator[Span]:
    """Each line; empty ones at the end of the file are none, others are empty spans."""
    empty: list[Span] = []
    with Path(path).open("rb") as file:
        place = start = _after_mark(file)
        blank = True
        while block := file.read(_BLOCK):
            for piece in _at_feeds(block):
                place += len(piece)
                blank = blank and piece.isspace()
                if not piece.endswith(b"\n"):
                    continue
                if blank:
                    empty.append(Span(start, start))
                else:
                    yield from empty
                    empty.clear()
                    yield Span(start, place)
                start, blank = place, True
        if not blank:
            yield from empty
            yield Span(start, place)


def csv_records(path: str) -> Iterator[Span]:
    """Each record of a CSV file after its head; line feeds inside quotes do not end one."""
    head = True
    with Path(path).open("rb") as file:
        place = start = _after_mark(file)
        quotes = 0
        for line in file:
            place += len(line)
            quotes += line.count(b'"')
            if quotes % 2 == 0:
                if not head and not line.isspace():
                    yield Span(start, place)
                start, quotes, head = place, 0, False
        if place > start:
            yield Span(start, place)


def elements(path: str, key: str | None = None) -> Iterator[Span]:
    """Each element of a JSON array: the file's own, or the one under a key of the object that the file is.

    Yields an empty span at the end of the file when the array is never closed, and one between two commas with nothing between.
    """
    flat, start, count = (0 if key is None else 1), -1, 0
    name = b""
    end = 0
    for mark in _marks(path, flat + 1):
        end = mark.place + 1
        if start < 0:
            if mark.sign == _QUOTE and mark.depth == 1:
                name = _read(path, mark.start, mark.place)
            elif mark.sign == _OPEN and mark.depth == flat and (key is None or name == key.encode()):
                start = end
        elif mark.depth == flat + 1 and mark.sign == _COMMA:
            yield Span(start, mark.place)
            start, count = end, count + 1
        elif mark.depth == flat and mark.sign == _CLOSE:
            if count or _read(path, start, mark.place).strip():
                yield Span(start, mark.place)
            return
    if start >= 0:
        size = Path(path).stat().st_size
        yield Span(start, size) if _read(path, start, start + _KEY).strip() else Span(size, size)


def members(path: str) -> Iterator[tuple[str, str | None]]:
    """The keys of the object that a JSON file is, each as soon as it is met, and again with its value if that is a string."""
    key, value = "", False
    for mark in _marks(path, 1):
        if mark.depth == 1 and mark.sign == _COMMA:
            value = False
        elif mark.depth == 1 and mark.sign == _QUOTE:
            text = _read(path, mark.start, mark.place).decode("utf-8", "replace")
            key = key if value else text
            yield key, text if value else None
            value = True


def first_sign(path: str) -> str:
    """The first character of a text file that is not white: `[` or `{` for JSON."""
    with Path(path).open("rb") as file:
        _after_mark(file)
        while block := file.read(4096):
            if found := block.strip():
                return chr(found[0])
    return ""


_QUOTE, _BACKSLASH, _COMMA, _OPEN, _CLOSE = b'"\\,[]'
_OPENING = b"[{"


def _marks(path: str, flat: int) -> Iterator[_Mark]:
    """What gives a JSON text its shape, outside strings; commas and strings only down to depth `flat`."""
    with Path(path).open("rb") as file:
        base = _after_mark(file)
        depth, opened = 0, -1
        skip = 0
        while block := file.read(_BLOCK):
            place, skip = skip, 0
            while place < len(block):
                pattern = _IN_STRING if opened >= 0 else _FLAT if depth <= flat else _DEEP
                found = pattern.match(block, place)
                if found is None:
                    break
                at, place = found.end() - 1, found.end()
                sign = block[at]
                if sign == _BACKSLASH:
                    place += 1
                elif sign == _QUOTE:
                    if opened >= 0 and depth <= flat:
                        yield _Mark(sign, base + at, depth, opened)
                    opened = -1 if opened >= 0 else base + place
                elif sign == _COMMA:
                    yield _Mark(sign, base + at, depth, 0)
                else:
                    opening = sign in _OPENING
                    depth -= not opening
                    yield _Mark(sign, base + at, depth, 0)
                    depth += opening
            skip = max(0, place - len(block))
            base += len(block)


def _at_feeds(block: bytes) -> list[bytes]:
    """Split after line feeds only."""
    pieces = [piece + b"\n" for piece in block.split(b"\n")]
    last = pieces.pop()[:-1]
    return [*pieces, last] if last else pieces


def _read(path: str, start: int, stop: int) -> bytes:
    with Path(path).open("rb") as file:
        file.seek(start)
        return file.read(min(stop - start, _KEY))


def _after_mark(file: BinaryIO) -> int:
    if file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8:
        return len(codecs.BOM_UTF8)
    file.seek(0)
    return 0
