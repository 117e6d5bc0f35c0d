"""Clips for foreign models where torchvision, which the library's video processors need, is absent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensorium.errors import CheckpointError


class NoVideo:
    """Stands where a processor wants a video processor; it is never asked, since `Senses` leaves video out."""

    num_frames = fps = None


class QwenVideo:
    """Clips for the Qwen2-VL and Qwen2.5-VL families by their own Pillow image processor, frame by frame.

    To these models a picture is a clip of `temporal_patch_size` equal frames. So the patches of two frames are those of the
    first frame's picture with every second slice of time taken from the second's (transformers 5.23, `Qwen2VLVideoProcessor`).

    Args:
        images: the folder's `Qwen2VLImageProcessorPil`. settings: of its video processor; the pixel limits may differ there.
    """

    def __init__(self, images: Any, settings: Mapping[str, Any]) -> None:
        self.images, self.size = images, dict(images.size)
        edges = dict(settings.get("size") or {})
        for name, old in (("shortest_edge", "min_pixels"), ("longest_edge", "max_pixels")):
            self.size[name] = settings.get(old) or edges.get(name) or self.size[name]
        self.patch_size, self.merge_size = images.patch_size, images.merge_size
        self.temporal_patch_size = images.temporal_patch_size

    def __call__(self, videos: Sequence[Any], **options: Any) -> dict[str, Any]:
        """Patches of all clips, one after the other, each clip's `(time, rows, cols)`, and its frames a second."""
        clips = [clip for row in videos for clip in (row if isinstance(row, list) else [row])]
        made = [self._clip(clip) for clip in clips]
        told = [SimpleNamespace(sampled_fps=item["fps"]) for item in options["video_metadata"]]
        patches = np.concatenate([patches for patches, _ in made])
        grids = np.array([grid for _, grid in made], dtype=np.int64)
        return {"pixel_values_videos": patches, "video_grid_thw": grids, "video_metadata": told}

    def _clip(self, frames_FHWC: NDArray[np.uint8]) -> tuple[NDArray[np.float32], tuple[int, int, int]]:
        depth = self.temporal_patch_size
        short = -len(frames_FHWC) % depth
        frames_FHWC = np.concatenate([frames_FHWC, frames_FHWC[-1:].repeat(short, 0)])
        pictures = [self.images(frame, size=self.size, return_tensors="np") for frame in frames_FHWC]
        (_, rows, cols), channels = pictures[0]["image_grid_thw"][0].tolist(), 3
        slices = [item["pixel_values"].reshape(rows * cols, channels, depth, -1) for item in pictures]
        steps = [
            np.stack([slices[begin + place][:, :, place] for place in range(depth)], axis=2).reshape(rows * cols, -1)
            for begin in range(0, len(slices), depth)
        ]
        return np.concatenate(steps), (len(steps), rows, cols)


def video_processor(folder: Path, kind: str, images: Any) -> QwenVideo | NoVideo:
    """What takes the place of a processor's video part.

    Args:
        kind: name of the processor's class. images: its image processor.

    Raises:
        CheckpointError: the folder's video settings are not JSON.
    """
    if kind not in ("Qwen2VLProcessor", "Qwen2_5_VLProcessor"):
        return NoVideo()
    file = folder / "video_preprocessor_config.json"
    try:
        settings = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    except ValueError as error:
        raise CheckpointError(str(file), f"is not JSON ({error})", "Fetch the folder again") from error
    return QwenVideo(images, settings)
