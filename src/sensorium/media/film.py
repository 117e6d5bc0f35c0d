"""The walk through one open video: decode on to a near moment, jump to the key frame before a far one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain, islice
from math import inf
from typing import NamedTuple

import av
import numpy as np
import torch
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from torch import Tensor

from sensorium.media.source import Blob, Limits
from sensorium.media.stream import AV_ERRORS

_JUMP = 8.0
_LATE = 0.5
_FASTEST = 1000.0


class Timing(NamedTuple):
    """What the pictures of a video say of their time.

    Args:
        seconds, frames, fps: of the whole video; `frames` is reckoned from the other two where the file does not say.
        step: 0 where the file's own times are used; otherwise they stand still, and a frame comes every `step` seconds.
    """

    seconds: float
    frames: int
    fps: float
    step: float = 0.0


def timing(container: InputContainer, stream: VideoStream) -> Timing:
    """Read the timing of a video. Packets are looked at, none is decoded; the container is not rewound."""
    fps = float(stream.average_rate or stream.guessed_rate or 0)
    packets = (packet for packet in container.demux(stream) if packet.size)
    first = list(islice(packets, 16))
    if len(first) > 1 and (len({packet.pts for packet in first}) == 1 or fps > _FASTEST):
        frames = stream.frames or len(first) + sum(1 for _ in packets)
        fps = _likely_rate(container, stream, frames)
        return Timing(frames / fps, frames, fps, 1 / fps)
    if stream.duration and stream.time_base and stream.duration > 0:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration and container.duration > 0:
        seconds = float(container.duration / av.time_base)
    else:
        seconds = _span(chain(first, packets)) + (1 / fps if fps > 0 else 0.04)
    return Timing(seconds, stream.frames or round(seconds * fps), fps)


def _likely_rate(container: InputContainer, stream: VideoStream, frames: int) -> float:
    """For pictures whose clock stands still: the coding's own rate, the one that fits the sound's length, or 25."""
    rates = [float(stream.guessed_rate or 0)]
    if container.streams.audio and container.duration:
        rates.append(frames * av.time_base / container.duration)
    return next((rate for rate in rates if 1 <= rate <= _FASTEST), 25.0)


def _span(packets: Iterable[av.Packet]) -> float:
    low, high = inf, 0.0
    for packet in packets:
        if packet.pts is not None and packet.time_base is not None:
            time = float(packet.pts * packet.time_base)
            low, high = min(low, time), max(high, time)
    return high - low if high > low else 0.0


class Film:
    """One open video being sampled; what a person should know is appended to `notes`."""

    def __init__(self, blob: Blob, container: InputContainer, stream: VideoStream, limits: Limits, step: float) -> None:
        self._blob, self._container, self._stream, self._limits, self._step = blob, container, stream, limits, step
        self._origin = 0.0 if step else (container.start_time or 0) / av.time_base
        self._jump = inf if step else _JUMP
        self._damaged = 0
        self.notes: list[str] = []
        if step:
            self.notes.append(f"its pictures carry no times; reckoned at {1 / step:g} a second")
        stream.thread_type = "SLICE"

    def sample(self, targets: Sequence[float]) -> tuple[tuple[float, ...], list[Tensor]]:
        """The frame on show at each target, each frame once, with the time it came on."""
        times: list[float] = []
        kept: list[Tensor] = []
        frames = self._frames()
        shown, coming = None, next(frames, None)
        for target in targets:
            reached = shown[0] if shown else 0.0
            if target - reached > self._jump and self._seek(target):
                frames = self._frames()
                shown, coming = None, next(frames, None)
                if coming is not None and coming[0] < reached:
                    self._jump = inf
            while coming is not None and (shown is None or coming[0] <= target):
                shown, coming = coming, next(frames, None)
            if shown is None:
                break
            time, frame = shown
            if not times or time > times[-1]:
                times.append(time)
                kept.append(self._upright(frame, time))
            if coming is None and target - time > _LATE:
                self.notes.append(f"the pictures end at {time:.2f} s, before the end that the header promises")
                break
        if self._damaged:
            self.notes.append(f"{self._damaged} damaged packets of video were passed over")
        return tuple(times), kept

    def _seek(self, target: float) -> bool:
        try:
            self._container.seek(max(int((target + self._origin) * av.time_base), 0))
        except AV_ERRORS:
            self._jump = inf
            return False
        return True

    def _frames(self) -> Iterator[tuple[float, VideoFrame]]:
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
                if isinstance(frame, VideoFrame) and (self._step or frame.time is not None):
                    yield self._step * decoded or max((frame.time or 0.0) - self._origin, 0.0), frame
                    decoded += 1

    def _upright(self, frame: VideoFrame, time: float) -> Tensor:
        self._limits.check_pixels(self._blob.name, frame.width, frame.height)
        if frame.is_corrupt:
            self.notes.append(f"the frame at {time:.2f} s is damaged")
        aspect = self._stream.sample_aspect_ratio or Fraction(1)
        width = frame.width
        if aspect != 1 and Fraction(1, 4) < aspect < 4 and frame.width * aspect * frame.height <= self._limits.pixels:
            width = max(round(frame.width * aspect), 1)
        array = frame.to_ndarray(format="rgb24", width=width, height=frame.height)
        turns = round(frame.rotation / 90) % 4
        return torch.from_numpy(np.rot90(array, turns).copy()).permute(2, 0, 1).contiguous()
