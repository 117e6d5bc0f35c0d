"""A video or an animated picture to a few frames with their times, and its sound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from av.container import InputContainer
from av.video.stream import VideoStream
from torch import Tensor

from sensorium.errors import LimitError, MediaError, RequestError
from sensorium.media import audio
from sensorium.media.audio import Sound, check_seconds, check_stretch
from sensorium.media.colour import to_rgb
from sensorium.media.film import Film, timing
from sensorium.media.image import PILLOW_ERRORS, frames_of, open_picture, resize, to_tensor
from sensorium.media.source import Access, Blob, Limits, load
from sensorium.media.stream import moving, open_stream
from sensorium.parts import Source

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
    with open_stream(blob, "video", check) as container:
        clock = timing(container, _pictures(blob, container, stretch, limits))
    check_seconds(blob.name, stretch.start, stretch.stop, clock.seconds, limits)
    with open_stream(blob, "video", check) as container:
        film = Film(blob, container, _pictures(blob, container, stretch, limits), limits, clock.step)
        times, kept = film.sample(stretch.targets(clock.seconds))
        heard = bool(container.streams.audio)
    if not kept:
        raise blob.damaged("video", "no frame of the stretch can be decoded")
    notes = [*blob.notes, *film.notes, *_fewer(stretch, len(kept))]
    sound = _sound(blob, stretch, limits, clock.seconds, notes) if heard and stretch.sound else None
    if stretch.sound and not heard:
        notes.append("the video has no sound")
    return Clip(_stack(kept, notes), times, sound, clock.seconds, clock.frames, clock.fps, blob.name, tuple(notes))


def _pictures(blob: Blob, container: InputContainer, stretch: _Stretch, limits: Limits) -> VideoStream:
    index = moving(container)
    if index is None:
        raise MediaError(blob.name, "holds no moving pictures", "Give it as a recording of sound")
    stream = container.streams.video[index]
    if stream.codec_context is None:
        raise MediaError(blob.name, "holds pictures in an unknown coding", "Convert it to MP4 (H.264)")
    limits.check_pixels(blob.name, stream.codec_context.width, stream.codec_context.height)
    _check_memory(blob.name, stretch.frames, stream.codec_context.width, stream.codec_context.height, limits)
    return stream


def _sound(blob: Blob, stretch: _Stretch, limits: Limits, seconds: float, notes: list[str]) -> Sound | None:
    try:
        sound = audio.decode(blob, stretch.start, stretch.stop, limits)
    except LimitError:
        raise
    except MediaError as error:
        notes.append(f"its sound was not read: it {error.problem}")
        return None
    end = seconds if stretch.stop is None else min(stretch.stop, seconds)
    if end - sound.stop > _LATE:
        notes.append(f"its sound ends at {sound.stop:.2f} s")
    return sound


def _check_memory(name: str, frames: int, width: int, height: int, limits: Limits) -> None:
    pixels, limit = frames * width * height, _MEMORY * limits.pixels
    if pixels > limit:
        problem = f"was to give {frames} frames of {width} x {height}, {pixels:,} pixels, over the limit of {limit:,}"
        raise LimitError(name, problem, "Ask for fewer frames, or raise Limits.pixels")


def _fewer(stretch: _Stretch, count: int) -> list[str]:
    return [f"{count} different frames are there, of the {stretch.frames} asked for"] if count < stretch.frames else []


def _stack(kept: Sequence[Tensor], notes: list[str]) -> Tensor:
    shape = kept[0].shape
    if any(frame_CHW.shape != shape for frame_CHW in kept):
        notes.append(f"frames of other sizes were brought to the first's, {shape[2]} x {shape[1]}")
    return torch.stack([resize(frame_CHW, shape[1], shape[2]) for frame_CHW in kept])
