"""How many frames an animated GIF, WebP or PNG has and how long each stays, from its headers alone."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

_SHORTEST = 0.0101
_USUAL = 0.1


class Animation(NamedTuple):
    """What the headers promise.

    Args:
        durations: seconds of each frame; those of 10 ms and less count as 0.1 s, as every browser shows them.
        width, height: the smallest canvas that holds every frame.
        skip: stills that stand before the first frame (a PNG may hold one for readers that know no animation).
    """

    durations: tuple[float, ...]
    width: int
    height: int
    skip: int = 0

    @property
    def seconds(self) -> float:
        """One round."""
        return sum(self.durations)


def animation(data: bytes, media_type: str) -> Animation:
    """The frames of a picture file; a still one has at most one duration. No pixel is decoded.

    A file that breaks off counts the frames whose headers are there.
    """
    if media_type == "image/gif":
        return _gif(data)
    if media_type == "image/png":
        return _png(data)
    return _webp(data) if media_type == "image/webp" else Animation((), 0, 0)


def _shown(seconds: float) -> float:
    return seconds if seconds > _SHORTEST else _USUAL


def _gif(data: bytes) -> Animation:
    width, height = _unpack("<HH", data, 6) or (0, 0)
    durations: list[float] = []
    delay, at = 0.0, 13 + _palette(data, 10)
    while at < len(data) and data[at] != 0x3B:
        if data[at] == 0x21:
            if data[at + 1 : at + 3] == b"\xf9\x04":
                delay = (_unpack("<H", data, at + 4) or (0,))[0] / 100
            at = _after_blocks(data, at + 2)
        elif data[at] == 0x2C:
            box = _unpack("<HHHH", data, at + 1)
            if box is None:
                break
            width, height = max(width, box[0] + box[2]), max(height, box[1] + box[3])
            durations.append(_shown(delay))
            delay, at = 0.0, _after_blocks(data, at + 11 + _palette(data, at + 9))
        else:
            at += 1
    return Animation(tuple(durations), width, height)


def _palette(data: bytes, at: int) -> int:
    flags = data[at] if at < len(data) else 0
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += data[at] + 1
    return at + 1


def _png(data: bytes) -> Animation:
    width, height, durations, skip = 0, 0, [], 0
    for kind, at, size in _chunks(data, 8, ">I", size_first=True):
        if kind == b"IHDR":
            width, height = _unpack(">II", data, at) or (0, 0)
        elif kind == b"fcTL" and size >= 26:
            top, bottom = _unpack(">HH", data, at + 20) or (0, 0)
            durations.append(_shown(top / (bottom or 100)))
        elif kind == b"IDAT" and not durations:
            skip = 1
    return Animation(tuple(durations), width, height, skip if durations else 0)


def broken_chunk(data: bytes) -> int | None:
    """Where the first chunk of a PNG's pixels begins whose checksum is wrong; Pillow would show its noise."""
    view = memoryview(data)
    for kind, at, size in _chunks(data, 8, ">I", size_first=True):
        promised = _unpack(">I", data, at + size)
        if kind in (b"IDAT", b"fdAT") and promised is not None and zlib.crc32(view[at - 4 : at + size]) != promised[0]:
            return at - 8
    return None


def _webp(data: bytes) -> Animation:
    width, height, durations = 0, 0, []
    for kind, at, size in _chunks(data, 12, "<I", size_first=False):
        if kind == b"VP8X" and size >= 10:
            width, height = _three(data, at + 4) + 1, _three(data, at + 7) + 1
        elif kind == b"VP8L" and size >= 5 and not width:
            packed = int.from_bytes(data[at + 1 : at + 5], "little")
            width, height = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
        elif kind == b"VP8 " and size >= 10 and not width:
            width, height = (side & 0x3FFF for side in _unpack("<HH", data, at + 6) or (0, 0))
        elif kind == b"ANMF" and size >= 16:
            durations.append(_shown(_three(data, at + 12) / 1000))
    return Animation(tuple(durations), width, height)


def _chunks(data: bytes, at: int, form: str, size_first: bool) -> Iterator[tuple[bytes, int, int]]:
    while at + 8 <= len(data):
        length, kind = (at, at + 4) if size_first else (at + 4, at)
        (size,) = struct.unpack_from(form, data, length)
        yield data[kind : kind + 4], at + 8, min(size, len(data) - at - 8)
        at += 8 + size + (4 if size_first else size & 1)


def _three(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "little")


def _unpack(form: str, data: bytes, at: int) -> tuple[int, ...] | None:
    return struct.unpack_from(form, data, at) if at + struct.calcsize(form) <= len(data) else None
