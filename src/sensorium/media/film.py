"""The walk through one open video: decode on to a near moment, jump to the key frame before a far one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

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


def duration(container: InputContainer, stream: VideoStream, fps: float) -> float:
    """How long the pictures last; where no header says so, every packet is looked at, none decoded."""
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


class Film:
    """One open video being sampled; what a person should know is appended to `notes`."""

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
