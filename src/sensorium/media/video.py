"""A video or an animated picture to a few frames with their times, and its sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
import torch
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from torch import Tensor

from sensorium.errors import LimitError, MediaError, RequestError
from sensorium.media import audio
from sensorium.media.audio import Sound, check_seconds, check_stretch
from sensorium.media.colour import to_rgb
from sensorium.media.image import PILLOW_ERRORS, frames_of, open_picture, resize, to_tensor
from sensorium.media.source import Access, Blob, Limits, load
from sensorium.media.stream import AV_ERRORS, moving, open_stream
from sensorium.parts import Source

_JUMP = 8.0
_LATE = 0.5
_MEMORY = 8


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """Frames of a stretch of video, upright, RGB, and its sound.

    Args:
        frames_FCHW: uint8 `(F, 3, H, W)`.
        times_F: when each is shown, in seconds of the file.
        sound: of the same stretch; None where the file has none or none was asked for.
        seconds, frames_total, fps: of the whole file; frames_total is reckoned from the other two where the file does not say.
        notes: what was done to the video that a person should know.
    """

    frames_FCHW: Tensor
    times_F: tuple[float, ...]
    sound: Sound | None
    seconds: float
    frames_total: int
    fps: float
    name: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Stretch:
    """The wanted stretch and how many frames of it; `sound` says whether it is heard too."""

    start: float
    stop: float | None
    frames: int
    sound: bool

    def targets(self, seconds: float) -> list[float]:
        """The middles of `frames` equal slices."""
        stop = seconds if self.stop is None else min(self.stop, seconds)
        return [self.start + (index + 0.5) * (stop - self.start) / self.frames for index in range(self.frames)]


def decode(
    source: Source | Blob,
    start: float = 0.0,
    stop: float | None = None,
    frames: int = 8,
    limits: Limits | None = None,
    access: Access | None = None,
    sound: bool = True,
) -> Clip:
    """Read MP4, WebM, MOV, MKV, or an animated GIF, WebP or PNG: the frame on show at the middle of each of `frames` slices.

    Never more than the sampled frames is held. A stretch with fewer frames gives fewer, each once. Rotation is obeyed.

    Raises:
        MediaError: no moving pictures, damaged, or it ends before `start`. LimitError: over a limit.
        RequestError: times or frames out of range. AccessError: see `source.load`.
    """
    limits = limits or Limits()
    check_stretch(start, stop)
    if frames < 1:
        raise RequestError(f"{frames} frames", "are not a number of frames", "Ask for at least one")
    blob = load(source, limits, access)
    if frames > limits.frames:
        problem = f"was to give {frames} frames, over the limit of {limits.frames}"
        raise LimitError(blob.name, problem, "Ask for fewer, or raise Limits.frames")
    stretch = _Stretch(start, stop, frames, sound)
    if blob.media_type.startswith("image/"):
        return _animated(blob, stretch, limits)
    return _film(blob, stretch, limits, limits.deadline(blob.name))


def _animated(blob: Blob, stretch: _Stretch, limits: Limits) -> Clip:
    check, promised, notes = limits.deadline(blob.name), frames_of(blob), list(blob.notes)
    if len(promised.durations) < 2:
        raise MediaError(blob.name, "is a still picture, not a video", "Give it as an image")
    seconds = promised.seconds
    check_seconds(blob.name, stretch.start, stretch.stop, seconds, limits)
    starts = np.concatenate([[0.0], np.cumsum(promised.durations)[:-1]])
    wanted = sorted({int(np.searchsorted(starts, target, "right")) - 1 for target in stretch.targets(seconds)})
    _check_memory(blob.name, len(wanted), promised.width, promised.height, limits)
    kept: list[Tensor] = []
    try:
        with blob.open() as stream:
            file = open_picture(blob, limits, stream)
            for index in range(promised.skip + wanted[-1] + 1):
                check()
                file.seek(index)
                if index - promised.skip in wanted:
                    kept.append(to_tensor(to_rgb(file.copy(), notes)))
    except EOFError:
        notes.append(f"the file breaks off before frame {wanted[len(kept)] + 1} of {len(starts)}")
    except PILLOW_ERRORS as error:
        raise blob.damaged("an animation", error) from error
    if not kept:
        raise blob.damaged("an animation", "no frame of the stretch is there")
    times = tuple(float(starts[index]) for index in wanted[: len(kept)])
    notes = [
        *dict.fromkeys(notes),
        *_fewer(stretch, len(kept)),
        *(["an animated picture has no sound"] if stretch.sound else []),
    ]
    fps = len(starts) / seconds
    return Clip(_stack(kept, notes), times, None, seconds, len(starts), fps, blob.name, tuple(notes))


def _film(blob: Blob, stretch: _Stretch, limits: Limits, check: Callable[[], None]) -> Clip:
    notes = list(blob.notes)
    with open_stream(blob, "video", check) as container:
        index = moving(container)
        if index is None:
            raise MediaError(blob.name, "holds no moving pictures", "Give it as a recording of sound")
        stream = container.streams.video[index]
        limits.check_pixels(blob.name, stream.codec_context.width, stream.codec_context.height)
        _check_memory(blob.name, stretch.frames, stream.codec_context.width, stream.codec_context.height, limits)
        fps = float(stream.average_rate or stream.guessed_rate or 0)
        seconds = _duration(container, stream, fps)
        check_seconds(blob.name, stretch.start, stretch.stop, seconds, limits)
        film = _Film(blob, container, stream, limits, notes)
        times, kept = film.sample(stretch.targets(seconds))
        total = stream.frames or round(seconds * fps)
        heard = bool(container.streams.audio)
    if not kept:
        raise blob.damaged("video", "no frame of the stretch can be decoded")
    notes += _fewer(stretch, len(kept))
    heard_sound = _sound(blob, stretch, limits, heard, notes)
    return Clip(_stack(kept, notes), times, heard_sound, seconds, total, fps, blob.name, tuple(notes))


def _duration(container: InputContainer, stream: VideoStream, fps: float) -> float:
    if stream.duration and stream.time_base and stream.duration > 0:
        return float(stream.duration * stream.time_base)
    if container.duration and container.duration > 0:
        return float(container.duration / av.time_base)
    first, last = None, 0.0
    for packet in container.demux(stream):
        if packet.pts is not None and packet.time_base is not None:
            time = float(packet.pts * packet.time_base)
            first = time if first is None else min(first, time)
            last = max(last, time)
    container.seek(0)
    return last - (first or 0.0) + (1 / fps if fps > 0 else 0.04)


class _Film:
    """The walk through one open video: decode on to a near target, jump to the key frame before a far one."""

    def __init__(self, blob: Blob, container: InputContainer, stream: VideoStream, limits: Limits, notes: list[str]) -> None:
        self._blob, self._container, self._stream, self._limits, self._notes = blob, container, stream, limits, notes
        self._origin = (container.start_time or 0) / av.time_base
        self._damaged = 0
        stream.thread_type = "SLICE"

    def sample(self, targets: Sequence[float]) -> tuple[tuple[float, ...], list[Tensor]]:
        """The frame on show at each target, each frame once, with the time it came on."""
        times: list[float] = []
        kept: list[Tensor] = []
        reach, jumped = 0.0, 0
        frames = self._frames()
        shown, coming = None, next(frames, None)
        for target in targets:
            if target - reach > _JUMP:
                self._container.seek(max(int((target + self._origin) * av.time_base), 0))
                frames, jumped = self._frames(), jumped + 1
                shown, coming = None, next(frames, None)
            while coming is not None and (shown is None or self._time(coming) <= target):
                shown, coming = coming, next(frames, None)
            if shown is None:
                break
            time = self._time(shown)
            reach = max(reach, time)
            if not times or time > times[-1]:
                times.append(time)
                kept.append(self._upright(shown))
            if coming is None and target - time > _LATE:
                self._notes.append(f"the pictures end at {time:.2f} s, before the end that the header promises")
                break
        if self._damaged:
            self._notes.append(f"{self._damaged} damaged packets of video were passed over")
        return tuple(times), kept

    def _frames(self) -> Iterator[VideoFrame]:
        decoded = 0
        for packet in self._container.demux(self._stream):
            try:
                frames = packet.decode()
            except AV_ERRORS:
                self._damaged += 1
                if self._damaged > 100 + decoded:
                    raise
                continue
            for frame in frames:
                if isinstance(frame, VideoFrame) and frame.time is not None:
                    decoded += 1
                    yield frame

    def _time(self, frame: VideoFrame) -> float:
        return float(max((frame.time or 0.0) - self._origin, 0.0))

    def _upright(self, frame: VideoFrame) -> Tensor:
        self._limits.check_pixels(self._blob.name, frame.width, frame.height)
        if frame.is_corrupt:
            self._notes.append(f"the frame at {self._time(frame):.2f} s is damaged")
        aspect = self._stream.sample_aspect_ratio or Fraction(1)
        width = frame.width
        if aspect != 1 and Fraction(1, 4) < aspect < 4 and frame.width * aspect * frame.height <= self._limits.pixels:
            width = max(round(frame.width * aspect), 1)
        array = frame.to_ndarray(format="rgb24", width=width, height=frame.height)
        turns = round(frame.rotation / 90) % 4
        return torch.from_numpy(np.rot90(array, turns).copy()).permute(2, 0, 1).contiguous()


def _sound(blob: Blob, stretch: _Stretch, limits: Limits, heard: bool, notes: list[str]) -> Sound | None:
    if not stretch.sound:
        return None
    if not heard:
        notes.append("the video has no sound")
        return None
    try:
        return audio.decode(blob, stretch.start, stretch.stop, limits)
    except LimitError:
        raise
    except MediaError as error:
        notes.append(f"its sound was not read: it {error.problem}")
        return None


def _check_memory(name: str, frames: int, width: int, height: int, limits: Limits) -> None:
    pixels, limit = frames * width * height, _MEMORY * limits.pixels
    if pixels > limit:
        problem = f"was to give {frames} frames of {width} x {height}, {pixels:,} pixels, over the limit of {limit:,}"
        raise LimitError(name, problem, "Ask for fewer frames, or raise Limits.pixels")


def _fewer(stretch: _Stretch, count: int) -> list[str]:
    return (
        [f"{count} of the {stretch.frames} frames asked for were read: the stretch has no more"]
        if count < stretch.frames
        else []
    )


def _stack(kept: Sequence[Tensor], notes: list[str]) -> Tensor:
    shape = kept[0].shape
    if any(frame_CHW.shape != shape for frame_CHW in kept):
        notes.append(f"frames of other sizes were brought to the first's, {shape[2]} x {shape[1]}")
    return torch.stack([resize(frame_CHW, shape[1], shape[2]) for frame_CHW in kept])
