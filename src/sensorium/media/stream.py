"""FFmpeg's containers, opened by what their content is and never by guess: a playlist must not open other files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedIOBase

import av
from av.container import InputContainer

from sensorium.errors import MediaError
from sensorium.media.source import Blob

AV_ERRORS = (
    av.FFmpegError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
)
"""What PyAV raises on damaged files."""

_DEMUXERS: Mapping[str, str] = {
    "audio/wav": "wav",
    "audio/flac": "flac",
    "audio/mpeg": "mp3",
    "audio/aac": "aac",
    "audio/ogg": "ogg",
    "video/ogg": "ogg",
    "audio/aiff": "aiff",
    "audio/basic": "au",
    "audio/mp4": "mov",
    "video/mp4": "mov",
    "video/quicktime": "mov",
    "video/webm": "matroska",
    "video/x-matroska": "matroska",
    "video/x-msvideo": "avi",
}
_PROBE = {"probesize": "5000000", "analyzeduration": "5000000"}


class _Watched:
    """A file whose reads stop at the deadline, so that a demuxer cannot search for ever."""

    def __init__(self, file: BufferedIOBase, check: Callable[[], None]) -> None:
        self._file, self._check = file, check

    def read(self, size: int = -1) -> bytes:
        self._check()
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def is_stream(media_type: str) -> bool:
    """Whether FFmpeg's containers include it."""
    return media_type in _DEMUXERS


@contextmanager
def open_stream(blob: Blob, kind: str, check: Callable[[], None]) -> Iterator[InputContainer]:
    """An open container; every error of PyAV inside the block becomes a MediaError that names the file.

    Args:
        kind: what the caller wants to read, for the message. check: raises when the time is up.

    Raises:
        MediaError: not a container that is read here, or damaged. LimitError: from `check`.
    """
    demuxer = _DEMUXERS.get(blob.media_type)
    if demuxer is None:
        problem = f"is {blob.media_type}, not {kind} that can be read"
        raise MediaError(blob.name, problem, "Give WAV, FLAC, MP3, OGG or M4A; MP4, WebM, MOV or MKV")
    try:
        with blob.open() as file, av.open(_Watched(file, check), format=demuxer, container_options=_PROBE) as container:
            yield container
    except AV_ERRORS as error:
        raise blob.damaged(kind, getattr(error, "strerror", None) or error) from error


def has_picture(blob: Blob, check: Callable[[], None]) -> bool:
    """Whether a container holds moving pictures; the cover of an album is none.

    Raises:
        MediaError: damaged. LimitError: from `check`.
    """
    with open_stream(blob, "video", check) as container:
        if not container.streams.video and not container.streams.audio:
            raise blob.damaged("sound or video", "it holds neither")
        return moving(container) is not None


def moving(container: InputContainer) -> int | None:
    """The index among the video streams of the first that is not a cover picture."""
    for index, stream in enumerate(container.streams.video):
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return index
    return None
