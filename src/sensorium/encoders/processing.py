"""The one preprocessing of pictures, as data: what a vision encoder was trained to see; part of its checkpoint.

Equal to the Pillow processors of `transformers` for SigLIP, CLIP and BiT (DINOv2 uses it), and to EfficientNet-Lite's recipe.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from sensorium.errors import CheckpointError, LimitError
from sensorium.media.image import Extent, Picture, resize, tiles

Resample = Literal["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]

FILE = "preprocessor_config.json"
_MOST_PIXELS = 64_000_000
_RESAMPLES: tuple[Resample, ...] = get_args(Resample)  # in the order of Pillow's numbers
_SHORTEST_EDGE = ("CLIPImageProcessor", "BitImageProcessor")
_EXACT = ("SiglipImageProcessor", "ViTImageProcessor")
_HARMLESS = {"processor_class", "feature_extractor_type", "image_processor_type", "data_format", "do_convert_rgb"}


class View(NamedTuple):
    """What the encoder is shown: `pixels_CHW` float32, and the box `(y0, x0, y1, x1)` of the picture, 0..1, that it covers."""

    pixels_CHW: Tensor
    box: Extent


@dataclass(frozen=True, slots=True)
class ImageProcessing:
    """Resize, crop, rescale, normalise; and into how many tiles a large picture is cut.

    Args:
        size: `(height, width)` to stretch to, or the length that the shortest edge gets with the proportions kept.
        resample: the filter, as Pillow computes it.
        crop: `(height, width)` cut from the middle, after the resize; what lies outside is not seen, and the box says so.
        rescale: factor on the 0..255 values. mean, std: then `(value - mean) / std` for each channel.
        tiles: with more than 1, the whole picture and up to so many crops of it are shown.
    """

    size: int | tuple[int, int] = (224, 224)
    resample: Resample = "bicubic"
    crop: tuple[int, int] | None = None
    rescale: float = 1 / 255
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    tiles: int = 1

    def __post_init__(self) -> None:
        least = min(self.size) if isinstance(self.size, tuple) else self.size
        if least < 1 or self.tiles < 1 or not all(0 < number < inf for number in (self.rescale, *self.std)):
            raise _error("has a size, a number of tiles, a rescale factor or a std that is not positive", "Set each above 0")
        if not all(isfinite(number) for number in self.mean):
            raise _error(f"has the mean {self.mean}", "Give finite numbers")
        if self.resample not in _RESAMPLES:
            raise _error(f"has the resample filter {self.resample!r}", f"Use one of {', '.join(_RESAMPLES)}")
        if len(self.mean) != 3 or len(self.std) != 3:
            raise _error(f"has {len(self.mean)} means and {len(self.std)} stds for 3 channels", "Give three of each")
        if self.crop is None and isinstance(self.size, int):
            raise _error("resizes the shortest edge but does not crop, so that pictures differ in size", "Add a crop")
        if self.crop is not None and (max(self.crop) > least or min(self.crop) < 1):
            raise _error(f"crops {self.crop} from a picture resized to {self.size}", "Make the crop no larger than the size")
        if self.tiles > 1 and self.shape[0] != self.shape[1]:
            raise _error(f"cuts tiles of {self.shape}, which are not square", "Set tiles to 1 or use a square size")

    @property
    def shape(self) -> tuple[int, int]:
        """`(height, width)` of every view."""
        if self.crop is not None:
            return self.crop
        assert isinstance(self.size, tuple)
        return self.size

    def view(self, pixels_CHW: Tensor) -> View:
        """A whole picture, uint8 `(3, H, W)`, as the encoder sees it.

        Raises:
            LimitError: so long and narrow that resizing its shortest edge would make it huge.
        """
        height, width = self._resized(*pixels_CHW.shape[1:])
        if height * width > _MOST_PIXELS:
            thing = f"picture of {pixels_CHW.shape[1]} by {pixels_CHW.shape[2]} pixels"
            problem = f"would be resized to {height:,} by {width:,}, over the limit of {_MOST_PIXELS:,} pixels"
            raise LimitError(thing, problem, "Crop it to less extreme proportions")
        pixels_CHW = resize(pixels_CHW, height, width, _RESAMPLES.index(self.resample))
        rows, cols = self.shape
        top, left = (height - rows) // 2, (width - cols) // 2
        pixels_CHW = pixels_CHW[:, top : top + rows, left : left + cols]
        return View(self._normalise(pixels_CHW), (top / height, left / width, (top + rows) / height, (left + cols) / width))

    def views(self, picture: Picture) -> list[View]:
        """The whole picture, then its tiles if the policy cuts any."""
        whole = self.view(picture.pixels_CHW)
        if self.tiles == 1:
            return [whole]
        crops = tiles(picture, self.shape[0], self.tiles, _RESAMPLES.index(self.resample))[1:]
        return [whole, *(View(self._normalise(pixels_CHW), box) for pixels_CHW, box in crops)]

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        if isinstance(self.size, tuple):
            return self.size
        if height <= width:
            return self.size, int(self.size * width / height)
        return int(self.size * height / width), self.size

    def _normalise(self, pixels_CHW: Tensor) -> Tensor:
        scale = torch.tensor([self.rescale / std for std in self.std])
        shift = torch.tensor([mean / std for mean, std in zip(self.mean, self.std, strict=True)])
        return pixels_CHW.float().mul_(scale[:, None, None]).sub_(shift[:, None, None])

    @classmethod
    def from_hf(cls, mapping: Mapping[str, Any]) -> ImageProcessing:
        """From the content of a `preprocessor_config.json`.

        Raises:
            CheckpointError: another kind of processor, a step that we do not have, or a missing field.
        """
        kind = str(mapping.get("image_processor_type", mapping.get("feature_extractor_type", "")))
        kind = kind.removesuffix("Fast").removesuffix("Pil").replace("FeatureExtractor", "ImageProcessor")
        if kind not in _SHORTEST_EDGE + _EXACT:
            raise _error(f"is for {kind!r}", f"Use one for {', '.join(_SHORTEST_EDGE + _EXACT)}")
        left = {key for key, value in mapping.items() if value not in (None, False) and not key.startswith("_")}
        if unknown := sorted(left - _HARMLESS - _FIELDS):
            raise _error(f"has fields of unknown meaning: {', '.join(unknown)}", "Use a processor without these steps")
        if not mapping.get("do_resize", True):
            raise _error("does not resize", "Use a processor with a fixed size")
        if missing := [key for key in ("size", "image_mean", "image_std") if key not in mapping]:
            raise _error(f"lacks {', '.join(missing)}", "Copy the file again")
        normalise = mapping.get("do_normalize", True)
        cropped = mapping.get("do_center_crop", kind in _SHORTEST_EDGE)
        return cls(
            size=_size(mapping["size"], shortest=kind in _SHORTEST_EDGE),
            resample=_filter(mapping.get("resample", 3 if kind != "ViTImageProcessor" else 2)),
            crop=_pair(mapping.get("crop_size", mapping["size"])) if cropped else None,
            rescale=_numbers([mapping.get("rescale_factor", 1 / 255)])[0] if mapping.get("do_rescale", True) else 1.0,
            mean=_numbers(mapping["image_mean"]) if normalise else (0.0, 0.0, 0.0),
            std=_numbers(mapping["image_std"]) if normalise else (1.0, 1.0, 1.0),
            tiles=_whole(mapping.get("max_tiles", 1)),
        )

    def to_hf(self) -> dict[str, Any]:
        """The inverse, as `preprocessor_config.json` has it; `max_tiles` is our own addition."""
        kind = "CLIPImageProcessor" if self.crop is not None else "SiglipImageProcessor"
        size = {"shortest_edge": self.size} if isinstance(self.size, int) else _mapping(self.size)
        row: dict[str, Any] = {"image_processor_type": kind, "do_convert_rgb": True, "do_resize": True, "size": size}
        row |= {"resample": _RESAMPLES.index(self.resample), "do_center_crop": self.crop is not None}
        row |= {"crop_size": _mapping(self.crop)} if self.crop is not None else {}
        row |= {"do_rescale": True, "rescale_factor": self.rescale, "do_normalize": True}
        row |= {"image_mean": list(self.mean), "image_std": list(self.std)}
        return row | ({"max_tiles": self.tiles} if self.tiles > 1 else {})

    @classmethod
    def read(cls, folder: Path) -> ImageProcessing:
        """From `preprocessor_config.json` in a checkpoint's folder.

        Raises:
            CheckpointError: the file is missing, is not JSON, or says what we cannot do.
        """
        path = folder / FILE
        try:
            mapping = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(str(path), f"cannot be read ({error})", "Copy the whole checkpoint folder") from error
        if not isinstance(mapping, dict):
            raise _error("is not a JSON object", "Copy the file again")
        return cls.from_hf(mapping)

    def write(self, folder: Path) -> None:
        """The inverse of `read`."""
        (folder / FILE).write_text(json.dumps(self.to_hf(), indent=2) + "\n", "utf-8")


_FIELDS = {
    *("do_resize", "size", "resample", "do_center_crop", "crop_size", "do_rescale", "rescale_factor"),
    *("do_normalize", "image_mean", "image_std", "max_tiles"),
}

EFFICIENTNET_LITE = ImageProcessing(rescale=1.0, mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0))
"""EfficientNet-Lite's at 224 pixels: bicubic, `(x - 127) / 128`."""


def _size(size: Any, *, shortest: bool) -> int | tuple[int, int]:
    if isinstance(size, Mapping) and set(size) == {"shortest_edge"}:
        return _whole(size["shortest_edge"])
    return size if isinstance(size, int) and shortest else _pair(size)


def _pair(size: Any) -> tuple[int, int]:
    if isinstance(size, Mapping) and set(size) == {"height", "width"}:
        return _whole(size["height"]), _whole(size["width"])
    if isinstance(size, Mapping) and set(size) == {"shortest_edge"}:
        size = size["shortest_edge"]
    return _whole(size), _whole(size)


def _whole(number: Any) -> int:
    if not isinstance(number, int):
        raise _error(f"has {number!r} where a whole number or a size must be", "Give height and width, or shortest_edge")
    return number


def _filter(number: Any) -> Resample:
    if not isinstance(number, int) or not 0 <= number < len(_RESAMPLES):
        raise _error(f"has the resample filter {number!r}", f"Use a number from 0 to {len(_RESAMPLES) - 1}, as Pillow counts")
    return _RESAMPLES[number]


def _numbers(values: Any) -> tuple[float, ...]:
    if not isinstance(values, list | tuple) or not all(isinstance(value, int | float) for value in values):
        raise _error(f"has {values!r} where a list of numbers must be", "Give one number a channel")
    return tuple(float(value) for value in values)


def _mapping(size: tuple[int, int]) -> dict[str, int]:
    return {"height": size[0], "width": size[1]}


def _error(problem: str, remedy: str) -> CheckpointError:
    return CheckpointError(FILE, problem, remedy)
