"""A sound file as blocks of samples in its own rate and channels, from soundfile where it can, from PyAV otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np
import soundfile
from av.audio.frame import AudioFrame
from av.container import InputContainer
from numpy.typing import NDArray

from sensorium.errors import MediaError
from sensorium.media.source import Blob
from sensorium.media.stream import AV_ERRORS, open_stream

SOUNDFILE_ERRORS = (soundfile.LibsndfileError, RuntimeError, OSError, ValueError, TypeError, MemoryError, AssertionError)
"""What soundfile raises on damaged files."""

_NATIVE = ("audio/wav", "audio/flac", "audio/mpeg", "audio/ogg", "audio/aiff", "audio/basic")
_BLOCK = 1 << 19
_GAP = 0.1
_ROLL = 1.0
_PAGE = 65_307
_SCALES = {"uint8": (128.0, 128.0), "int16": (0.0, 2.0**15), "int32": (0.0, 2.0**31), "int64": (0.0, 2.0**63)}


@dataclass
class Waves:
    """A sound being read.

    Args:
        rate: samples a second. blocks: float32 `(T, channels)`, from the wanted start on.
        known: the length in seconds that the file claims, if it does.
        ended: whether the last block was the file's last; then seconds_total is what it really held.
    """

    rate: int
    blocks: Iterator[NDArray[np.float32]]
    known: float | None
    notes: list[str] = field(default_factory=list)
    ended: bool = False
    seconds_total: float = 0.0


@contextmanager
def open_waves(blob: Blob, start: float, check: Callable[[], None]) -> Iterator[Waves]:
    """Open a sound at `start` seconds.

    Raises:
        MediaError: no sound in it, or damaged. LimitError: from `check`.
    """
    with ExitStack() as stack:
        if blob.media_type in _NATIVE:
            try:
                file = stack.enter_context(soundfile.SoundFile(stack.enter_context(blob.open())))
            except SOUNDFILE_ERRORS as error:
                refused = error
            else:
                try:
                    yield _from_soundfile(blob, file, start)
                except SOUNDFILE_ERRORS as error:
                    raise blob.damaged("sound", error) from error
                return
        else:
            refused = None
        try:
            container = stack.enter_context(open_stream(blob, "sound", check))
        except MediaError as error:
            raise error from refused
        yield _from_container(blob, container, start)


def _from_soundfile(blob: Blob, file: soundfile.SoundFile, start: float) -> Waves:
    rate = int(file.samplerate)
    known = file.frames / rate if rate > 0 and 0 <= file.frames < 1 << 62 else None
    waves = Waves(rate, iter(()), known)
    if file.channels > 1:
        waves.notes.append(f"{file.channels} channels mixed to one")
    if (missing := _missing_wav_bytes(blob)) > 0:
        waves.notes.append(f"the file breaks off: {missing:,} bytes of sound that its header promises are missing")
    if blob.media_type == "audio/ogg" and not _has_last_page(blob):
        waves.notes.append("the file breaks off: its last page is missing")
    waves.blocks = _read_blocks(file, waves, round(start * rate))
    return waves


def _read_blocks(file: soundfile.SoundFile, waves: Waves, first: int) -> Iterator[NDArray[np.float32]]:
    at = file.seek(first) if first and first < file.frames else 0
    if first >= max(file.frames, 1):
        waves.ended, waves.seconds_total = True, file.frames / waves.rate
        return
    size = max(_BLOCK // max(file.channels, 1), 256)
    while len(block := file.read(size, dtype="float32", always_2d=True)):
        at += len(block)
        yield block
    waves.ended, waves.seconds_total = True, at / waves.rate
    if waves.known and waves.known - waves.seconds_total > _GAP:
        waves.notes.append(f"the sound ends at {waves.seconds_total:.2f} s of the {waves.known:.2f} s that its header promises")


def _missing_wav_bytes(blob: Blob) -> int:
    if blob.media_type != "audio/wav":
        return 0
    with blob.open() as file:
        order = "big" if (head := file.read(12))[:4] == b"RIFX" else "little"
        if head[:4] == b"RF64":
            return 0
        while len(chunk := file.read(8)) == 8:
            size = int.from_bytes(chunk[4:], "big" if order == "big" else "little")
            if chunk[:4] == b"data":
                return 0 if size >= 0xFFFFFF00 else size - (blob.size - file.tell())
            file.seek(size + (size & 1), 1)
    return 0


def _has_last_page(blob: Blob) -> bool:
    """Whether the last page of an Ogg file is marked as the last (RFC 3533, section 6)."""
    with blob.open() as file:
        file.seek(max(blob.size - _PAGE, 0))
        tail = file.read(_PAGE)
    at = tail.rfind(b"OggS")
    return 0 <= at < len(tail) - 6 and bool(tail[at + 5] & 4)


def _from_container(blob: Blob, container: InputContainer, start: float) -> Waves:
    if not container.streams.audio:
        raise MediaError(blob.name, "holds no sound", "Give a recording, or a video with sound")
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise MediaError(blob.name, "holds sound in an unknown coding", "Convert it to WAV, FLAC or MP3")
    known = container.duration / av.time_base if container.duration and container.duration > 0 else None
    waves = Waves(int(stream.rate or 0), iter(()), known)
    if stream.channels > 1:
        waves.notes.append(f"{stream.channels} channels mixed to one")
    if len(container.streams.audio) > 1:
        waves.notes.append(f"the first of {len(container.streams.audio)} sound tracks was read")
    waves.blocks = _decode_blocks(blob, container, waves, start)
    return waves


def _decode_blocks(blob: Blob, container: InputContainer, waves: Waves, start: float) -> Iterator[NDArray[np.float32]]:
    origin = (container.start_time or 0) / av.time_base
    if start > 2 * _ROLL:
        container.seek(int((start - _ROLL + origin) * av.time_base))
    at: float | None = None if start > 2 * _ROLL else 0.0
    filled, damaged = 0.0, [0]
    for frame in _frames(container, damaged):
        if int(frame.sample_rate) != waves.rate:
            problem = f"changes from {waves.rate} to {frame.sample_rate} samples a second"
            raise MediaError(blob.name, problem, "Convert it to WAV first")
        time = None if frame.time is None else frame.time - origin
        at = (time or 0.0) if at is None else at
        gap = (time - at) if time is not None else 0.0
        if gap > _GAP and (waves.known is None or time is None or time <= waves.known):
            filled += gap
            yield from _silence(gap, at, start, waves.rate)
            at += gap
        block = _samples(frame)
        skip = round((start - at) * waves.rate)
        at += len(block) / waves.rate
        if skip < len(block):
            yield block[max(skip, 0) :]
    waves.ended, waves.seconds_total = True, at or 0.0
    if filled:
        waves.notes.append(f"{filled:.2f} s without sound in the file read as silence")
    if damaged[0]:
        waves.notes.append(f"{damaged[0]} damaged packets of sound were passed over")
    if waves.known and waves.known - waves.seconds_total > max(0.5, 0.02 * waves.known) and not container.streams.video:
        waves.notes.append(f"the sound ends at {waves.seconds_total:.2f} s of the {waves.known:.2f} s that its header promises")


def _frames(container: InputContainer, damaged: list[int]) -> Iterator[AudioFrame]:
    decoded = 0
    for packet in container.demux(container.streams.audio[0]):
        try:
            frames = packet.decode()
        except AV_ERRORS:
            damaged[0] += 1
            if damaged[0] > 100 + decoded:
                raise
            continue
        for frame in frames:
            if isinstance(frame, AudioFrame):
                decoded += 1
                yield frame


def _silence(gap: float, at: float, start: float, rate: int) -> Iterator[NDArray[np.float32]]:
    left = round((at + gap - max(start, at)) * rate)
    while left > 0:
        size = min(left, rate)
        yield np.zeros((size, 1), np.float32)
        left -= size


def _samples(frame: AudioFrame) -> NDArray[np.float32]:
    array: NDArray[Any] = frame.to_ndarray()
    channels = max(frame.layout.nb_channels, 1)
    array_TC = (array.T if frame.format.is_planar else array.reshape(-1, channels)).astype(np.float32)
    middle, largest = _SCALES.get(array.dtype.name, (0.0, 1.0))
    return np.ascontiguousarray((array_TC - np.float32(middle)) / np.float32(largest))
