"""The one media connector: a path, bytes, a data URL or an allowed URL becomes a checked Blob."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import os
import re
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import unquote_to_bytes

from sensorium.errors import AccessError, LimitError, MediaError
from sensorium.media.sniff import HEAD, fits, sniff
from sensorium.parts import Source

_EAGER = 1 << 24
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|(?:file|javascript|blob):", re.ASCII | re.IGNORECASE)
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one medium may cost; the defaults suit a laptop.

    Args:
        bytes: of the file; 512 MiB holds an hour of 1080p video. Files over 16 MiB are streamed, not read whole.
        pixels: of one picture, page or frame; 64 million is above common phone cameras and costs 192 MB decoded.
        seconds: of sound or video read at once; two hours cost 460 MB at 16 kHz. A stretch of a longer file may be chosen.
        frames: kept of one video. pages: read of one document in one go.
        timeout: seconds that decoding one medium may take; loops stop at it.
    """

    bytes: int = 512 * 1024 * 1024
    pixels: int = 64_000_000
    seconds: float = 7200.0
    frames: int = 128
    pages: int = 64
    timeout: float = 120.0

    def check_pixels(self, name: str, width: int, height: int) -> None:
        """Refuse a picture before it is decoded.

        Raises:
            MediaError: an empty picture. LimitError: more pixels than allowed.
        """
        if width < 1 or height < 1:
            raise MediaError(name, f"declares a size of {width} x {height} pixels", "The file is damaged; export it again")
        if width * height > self.pixels:
            problem = f"has {width} x {height} = {width * height:,} pixels, over the limit of {self.pixels:,}"
            raise LimitError(name, problem, "Scale it down, or raise Limits.pixels")

    def deadline(self, name: str) -> Callable[[], None]:
        """A check to call inside a decoding loop; it raises LimitError once `timeout` seconds have gone by."""
        end = time.monotonic() + self.timeout

        def check() -> None:
            if time.monotonic() > end:
                problem = f"takes over {self.timeout:g} s to decode, the limit"
                raise LimitError(name, problem, "Choose a shorter stretch, or raise Limits.timeout")

        return check


@dataclass(frozen=True, slots=True)
class Access:
    """What a source may reach.

    Args:
        hosts: hosts whose URLs may be fetched: `example.org`, `*.example.org`, `example.org:8443`, or `*` for every public
            one; empty allows no URL. Private addresses are refused whatever stands here.
        schemes: of URLs.
        redirects: followed at most, each checked like the first address.
        timeout: seconds for one fetch, redirects included.
        files: whether paths may be read; a server says no.
    """

    hosts: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ("https",)
    redirects: int = 3
    timeout: float = 30.0
    files: bool = True


@dataclass(frozen=True)
class Blob:
    """A medium's bytes, checked; of a large file they stay on disk until somebody reads them.

    Args:
        name: the source as a person would name it. media_type: sniffed from the content.
        size: in bytes. content: the bytes, or None where `path` is read when needed.
        notes: what a person should know, such as an extension that does not fit.
    """

    name: str
    media_type: str
    size: int
    content: bytes | None
    path: str | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def data(self) -> bytes:
        """All bytes."""
        if self.content is not None:
            return self.content
        with self.open() as file:
            return file.read(self.size)

    @cached_property
    def digest(self) -> str:
        """SHA-256, hexadecimal."""
        with self.open() as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def open(self) -> io.BufferedIOBase:
        """A fresh readable, seekable file at its first byte."""
        if self.content is not None:
            return io.BytesIO(self.content)
        assert self.path is not None
        return _open_regular(self.path)

    def damaged(self, kind: str, why: object) -> MediaError:
        """The error that says this blob cannot be decoded."""
        reason = _SPACE.sub(" ", str(why)).strip()[:200] or type(why).__name__
        return MediaError(self.name, f"cannot be read as {kind} ({reason})", "The file is damaged; export or copy it again")


def load(source: Source | Blob, limits: Limits | None = None, access: Access | None = None) -> Blob:
    """Fetch what a source names, within limits, and say what it is.

    Args:
        source: a path, the bytes themselves, a `data:` URL, or an `http(s):` URL whose host `access` allows. A Blob is
            checked against the limits and returned.

    Raises:
        MediaError: missing, empty, or not a regular file. LimitError: too many bytes. AccessError: not allowed.
    """
    limits, access = limits or Limits(), access or Access()
    if isinstance(source, Blob):
        check_size(source.name, source.size, limits.bytes)
        return source
    if isinstance(source, bytes):
        return _blob("the given bytes", source, "", limits)
    if source[:5].lower() == "data:":
        return _data_url(source, limits)
    if source[:7].lower() == "http://" or source[:8].lower() == "https://":
        from sensorium.media.fetch import fetch

        name, content = fetch(source, limits.bytes, access)
        return _blob(name, content, name.partition("?")[0].rpartition("/")[2], limits)
    if _SCHEME.match(source):
        scheme = source.partition(":")[0]
        raise AccessError(source[:80], f"has the scheme {scheme!r}", "Give a path, bytes, a data: URL or an https: URL")
    return _file(source, limits, access)


def check_size(name: str, size: int, limit: int) -> None:
    """Refuse nothing at all, and too much.

    Raises:
        MediaError: no bytes. LimitError: more than `limit`.
    """
    if size == 0:
        raise MediaError(name, "is empty (0 bytes)", "Give a file with content")
    if size > limit:
        raise LimitError(name, f"has {size:,} bytes, over the limit of {limit:,}", "Shorten it, or raise Limits.bytes")


def _file(path: str, limits: Limits, access: Access) -> Blob:
    if not access.files:
        raise AccessError(path[:80], "is a path, and paths may not be read here", "Send the file itself, as a data: URL")
    with _open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        check_size(path, size, limits.bytes)
        if size <= _EAGER:
            return _blob(path, file.read(size + 1), path, limits)
        media_type = sniff(file.read(HEAD))
    return Blob(path, media_type, size, None, path, _misnamed(path, media_type))


def _open_regular(path: str) -> io.BufferedReader:
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError as error:
        raise MediaError(path, "does not exist", "Check the path") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise MediaError(path[:200], f"cannot be opened ({reason})", "Check the path and its permissions") from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        what = "a directory" if stat.S_ISDIR(mode) else "a pipe" if stat.S_ISFIFO(mode) else "a device"
        raise MediaError(path, f"is {what}, not a regular file", "Give the path of a file")
    return os.fdopen(descriptor, "rb")


def _blob(name: str, content: bytes, file_name: str, limits: Limits) -> Blob:
    check_size(name, len(content), limits.bytes)
    media_type = sniff(content[:HEAD])
    return Blob(name, media_type, len(content), content, None, _misnamed(file_name, media_type))


def _misnamed(name: str, media_type: str) -> tuple[str, ...]:
    if fits(name, media_type):
        return ()
    return (f"named .{name.rpartition('.')[2]}, but read as {media_type}, which it is",)


def _data_url(url: str, limits: Limits) -> Blob:
    header, comma, payload = url[5:].partition(",")
    if not comma:
        raise MediaError("data URL", "has no comma between its type and its data", "Write data:<type>;base64,<data>")
    declared, *options = (item.strip().lower() for item in header.split(";"))
    name = f"data URL of {declared}" if declared else "data URL"
    if "base64" not in options:
        content = unquote_to_bytes(payload)
    else:
        check_size(name, len(payload) * 3 // 4 - 2 if len(payload) > 4 else 1, limits.bytes)
        text = payload if "%" not in payload else unquote_to_bytes(payload).decode("latin-1")
        text = _SPACE.sub("", text).rstrip("=")
        try:
            content = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except (binascii.Error, ValueError) as error:
            raise MediaError(name, f"is not base64 ({error})", "Encode the file again") from error
    blob = _blob(name, content, "", limits)
    if declared in ("", "application/octet-stream") or _same(declared, blob.media_type):
        return blob
    note = f"declared as {declared}, but read as {blob.media_type}, which it is"
    return Blob(blob.name, blob.media_type, blob.size, content, None, (note,))


def _same(declared: str, media_type: str) -> bool:
    if declared.startswith("text/") and media_type == "text/plain":
        return True
    kind, _, subtype = declared.partition("/")
    return fits(f"x.{subtype.removeprefix('x-')}", media_type) or (kind, media_type) == ("audio", "video/webm")
