"""Video as frames plus time: every frame through the image encoder, then pooled in space and marked with its time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.batch import Features, Modality, Piece
from sensorium.encoders.cnn import EfficientNetEncoder
from sensorium.encoders.vit import ViTEncoder
from sensorium.errors import RequestError
from sensorium.media.video import Clip
from sensorium.nn.trace import SILENT, Trace

ImageEncoder = EfficientNetEncoder | ViTEncoder


@dataclass(frozen=True, slots=True)
class VideoConfig:
    """How frames become a clip's features.

    Args:
        pool: side of the squares of features that are averaged; the last square of a row or column may be smaller.
        time: what is added to tell frames apart. "learned": one vector a frame number. "sinusoidal": fixed waves (Vaswani et
            al. 2017) of the frame number with a learned strength. Both start at nothing, so that at first a frame's features
            are those of the picture that it is. "none": nothing is added.
        frames: at most, for learned times.
        groups: neighbouring frames are averaged into so many grids, for a connector that has learnt pictures only; 0 keeps
            every frame.
    """

    pool: int = 1
    time: Literal["none", "learned", "sinusoidal"] = "none"
    frames: int = 64
    groups: int = 0

    def __post_init__(self) -> None:
        if self.groups and self.time != "none":
            problem = f"averages frames into {self.groups} groups and marks each frame's time"
            raise RequestError("video configuration", problem, "Set groups to 0 or time to none")
        if self.pool < 1 or self.frames < 1 or self.groups < 0:
            problem = f"pools {self.pool} features over {self.frames} frames"
            raise RequestError("video configuration", problem, "Set both to 1 or more")


class VideoEncoder(nn.Module):
    """Clips in, features on a grid of (frames, rows, cols) out.

    Args:
        image: encodes the frames. Its weights belong to the image tower: they are neither in this module's parameters nor in
            its state.
    """

    modality = Modality.VIDEO

    def __init__(self, image: ImageEncoder, config: VideoConfig | None = None) -> None:
        super().__init__()
        self._image = (image,)  # in a tuple, torch does not register it
        self.config = config or VideoConfig()
        self.dim = image.dim
        learned, waves = self.config.time == "learned", self.config.time == "sinusoidal"
        self.times = nn.Parameter(torch.zeros(self.config.frames, self.dim)) if learned else None
        self.strength = nn.Parameter(torch.zeros(())) if waves else None

    @property
    def image(self) -> ImageEncoder:
        """The encoder of the frames."""
        return self._image[0]

    def prepare(self, decoded: Clip) -> list[Piece]:
        """One piece: all frames, each prepared as a whole picture (tiles are not cut), over the stretch between frame edges."""
        views = [self.image.processing.view(frame_CHW) for frame_CHW in decoded.frames_FCHW]
        frames_FCHW = torch.stack([view.pixels_CHW for view in views])
        return [Piece(self.modality, _stretch(decoded), self.grid(frames_FCHW), tensor=frames_FCHW)]

    def grid(self, tensor: Tensor) -> tuple[int, ...]:
        """`(frames, rows, cols)` of a prepared clip `(F, 3, H, W)`."""
        rows, cols = self.image.grid(tensor)
        frames = min(len(tensor), self.config.groups) if self.config.groups else len(tensor)
        return frames, ceil(rows / self.config.pool), ceil(cols / self.config.pool)

    def forward(self, media: Sequence[Tensor], trace: Trace = SILENT) -> Features:
        """Prepared clips `(F, 3, H, W)` to `(P, F * rows * cols, D)`, padded on the right.

        Raises:
            RequestError: more frames than learned times, or intermediates of several clips are asked for.
        """
        traces = [Trace(trace.wanted) for _ in media]
        clips = [self._clip(frames_FCHW, kept) for frames_FCHW, kept in zip(media, traces, strict=True)]
        for name, tensor in traces[0].found.items():
            if len(media) > 1:
                raise RequestError(f"trace {name}", f"was asked of {len(media)} clips", "Ask for one clip at a time")
            trace(name, tensor)
        lengths_P = torch.tensor([len(clip_TD) for clip_TD in clips], device=clips[0].device)
        x_PTD = nn.utils.rnn.pad_sequence(clips, batch_first=True)
        return Features(x_PTD, torch.arange(x_PTD.shape[1], device=x_PTD.device) < lengths_P[:, None])

    def _clip(self, frames_FCHW: Tensor, trace: Trace) -> Tensor:
        rows, cols = self.image.grid(frames_FCHW)
        x_FTD = self.image(list(frames_FCHW), trace).x_BTD
        if self.config.groups:
            spans = x_FTD.tensor_split(min(len(x_FTD), self.config.groups))
            x_FTD = torch.stack([span_FTD.mean(0) for span_FTD in spans])
        if self.config.pool > 1:
            x_FDHW = x_FTD.transpose(1, 2).unflatten(2, (rows, cols))
            x_FTD = F.avg_pool2d(x_FDHW, self.config.pool, ceil_mode=True).flatten(2).transpose(1, 2)
        return self._timed(x_FTD).flatten(0, 1)

    def _timed(self, x_FTD: Tensor) -> Tensor:
        frames = len(x_FTD)
        if self.strength is not None:
            return x_FTD + self.strength * _waves(frames, self.dim).to(x_FTD)[:, None]
        if self.times is None:
            return x_FTD
        if frames > len(self.times):
            limit = f"has {frames} frames, over the {len(self.times)} whose times were learned"
            raise RequestError("clip", limit, "Sample fewer frames")
        return x_FTD + self.times[:frames, None]


def _waves(frames: int, dim: int) -> Tensor:
    half_D = torch.exp(torch.arange((dim + 1) // 2) * (-2 * log(10_000.0) / dim))
    angles_FD = torch.arange(frames)[:, None] * half_D
    return torch.stack([angles_FD.sin(), angles_FD.cos()], dim=-1).flatten(1)[:, :dim]


def _stretch(clip: Clip) -> tuple[float, float]:
    """From half a step before the first frame to half a step after the last, inside the file."""
    first, last = clip.times_F[0], clip.times_F[-1]
    half = (last - first) / (len(clip.times_F) - 1) / 2 if len(clip.times_F) > 1 else clip.seconds / 2
    return max(0.0, first - half), min(clip.seconds, last + half)
