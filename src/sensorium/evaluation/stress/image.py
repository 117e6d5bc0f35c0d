"""Pictures with noise, blur and digital damage at five severities, after Hendrycks & Dietterich 2019 (ImageNet-C).

The severities are the published ones (arXiv:1903.12261 and the code named there, github.com/hendrycks/robustness, for pictures
of 224 pixels). Lengths grow and shrink with the picture's shorter side, so that a small picture is not harmed more. The weather
is in `weather.py`; occlusion and rotation are not of that paper.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor

from sensorium.evaluation.stress import weather
from sensorium.evaluation.stress.field import Dice, Pixels, Plane, blurred, convolve, gaussian, scale_of, streak, zoomed
from sensorium.evaluation.stress.kind import Kind, on_media
from sensorium.evaluation.variant import Change
from sensorium.media.image import decode, encode_png, to_pillow
from sensorium.parts import Image

_JPEG = (25, 18, 15, 10, 7)
_ZOOMS = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))
_GREY = 0.5


class Harm(NamedTuple):
    """`apply(pixels, level, dice)`, float32 `(H, W, 3)` in 0..1, to the same; and each level's strength in words."""

    apply: Callable[[Pixels, int, Dice], Pixels]
    amounts: tuple[str, ...]


def corrupt(pixels_CHW: Tensor, kind: str, level: int, seed: int) -> Tensor:
    """A picture harmed: uint8 `(3, H, W)` to the same shape.

    Args:
        kind: of `HARMS`. level: 1..5.
    """
    pixels = (pixels_CHW.permute(1, 2, 0).numpy() / np.float32(255)).astype(np.float32)
    harmed = HARMS[kind].apply(pixels, level, np.random.default_rng(seed))
    whole = np.rint(harmed.clip(0, 1) * 255).astype(np.uint8)
    return torch.from_numpy(np.ascontiguousarray(whole)).permute(2, 0, 1)


def _gaussian_noise(pixels: Pixels, level: int, dice: Dice) -> Pixels:
    return pixels + (0.08, 0.12, 0.18, 0.26, 0.38)[level - 1] * dice.standard_normal(pixels.shape, np.float32)


def _shot_noise(pixels: Pixels, level: int, dice: Dice) -> Pixels:
    photons = (60, 25, 12, 5, 3)[level - 1]
    return (dice.poisson(pixels * photons) / photons).astype(np.float32)


def _impulse_noise(pixels: Pixels, level: int, dice: Dice) -> Pixels:
    """Salt and pepper in equal parts."""
    drawn = dice.random(pixels.shape, np.float32)
    half = (0.03, 0.06, 0.09, 0.17, 0.27)[level - 1] / 2
    return np.where(drawn < half, np.float32(0), np.where(drawn > 1 - half, np.float32(1), pixels))


def _gaussian_blur(pixels: Pixels, level: int, _: Dice) -> Pixels:
    return convolve(pixels, gaussian((1, 2, 3, 4, 6)[level - 1] * scale_of(pixels)))


def _defocus_blur(pixels: Pixels, level: int, _: Dice) -> Pixels:
    """A disc with a soft edge, which stands for the paper's disc and the little blur on it."""
    radius = (3, 4, 6, 8, 10)[level - 1] * scale_of(pixels)
    reach = np.arange(-math.ceil(radius + 0.5), math.ceil(radius + 0.5) + 1)
    disc = (radius + 0.5 - np.hypot(reach[:, None], reach)).clip(0, 1)
    return convolve(pixels, disc / disc.sum())


def _motion_blur(pixels: Pixels, level: int, dice: Dice) -> Pixels:
    radius, sigma = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))[level - 1]
    scale = scale_of(pixels)
    return convolve(pixels, streak(radius * scale, sigma * scale, dice.uniform(-45, 45)))


def _zoom_blur(pixels: Pixels, level: int, _: Dice) -> Pixels:
    end, step = _ZOOMS[level - 1]
    factors = np.arange(1, end, step)
    total = pixels + sum(zoomed(pixels, factor) for factor in factors)
    return (total / (len(factors) + 1)).astype(np.float32)


def _brightness(pixels: Pixels, level: int, _: Dice) -> Pixels:
    """The value of HSV raised; hue and saturation stay."""
    value: Pixels = pixels.max(2, keepdims=True)
    raised = np.minimum(value + np.float32(0.1 * level), np.float32(1))
    bright: Pixels = np.where(value > 0, pixels / np.maximum(value, np.float32(1e-6)) * raised, raised)
    return bright


def _contrast(pixels: Pixels, level: int, _: Dice) -> Pixels:
    middle: Pixels = pixels.mean((0, 1), keepdims=True)
    return (pixels - middle) * np.float32((0.4, 0.3, 0.2, 0.1, 0.05)[level - 1]) + middle


def _saturate(pixels: Pixels, level: int, _: Dice) -> Pixels:
    """The saturation of HSV made less, then more. A grey counts as red of saturation 0, as it does in the paper's code."""
    factor, plus = ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2))[level - 1]
    value, least = pixels.max(2, keepdims=True), pixels.min(2, keepdims=True)
    away = (value - pixels) / np.maximum(value - least, 1e-6)
    away = np.where(value > least, away, np.array([0, 1, 1], np.float32))
    saturation = (value - least) / np.maximum(value, 1e-6)
    rich: Pixels = (value * (1 - away * (saturation * factor + plus).clip(0, 1))).astype(np.float32)
    return rich


def _elastic(pixels: Pixels, level: int, dice: Dice) -> Pixels:
    """A random slant of the whole, and a smooth random displacement of each pixel (Simard et al. 2003)."""
    far, smooth, slant = ((488, 170.8, 24.4), (488, 19.52, 48.8), (12.2, 2.44, 4.88), (17.08, 2.44, 4.88), (29.28, 2.44, 4.88))[
        level - 1
    ]
    height, width = pixels.shape[:2]
    scale, third = scale_of(pixels), min(height, width) // 3
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    corners = np.array([[1, 1], [1, -1], [-1, -1]]) * third
    moved = corners + dice.uniform(-slant, slant, (3, 2)) * scale
    turn = np.linalg.solve(np.c_[moved, np.ones(3)], np.c_[corners, np.ones(3)])
    y, x = rows - height / 2, columns - width / 2
    noise = [blurred(dice.uniform(-1, 1, (height, width)), smooth * scale) * far * scale for _ in range(2)]
    from_y = y * turn[0, 0] + x * turn[1, 0] + turn[2, 0] + height / 2 + noise[0]
    from_x = y * turn[0, 1] + x * turn[1, 1] + turn[2, 1] + width / 2 + noise[1]
    return _taken(pixels, from_y, from_x)


def _taken(pixels: Pixels, rows: Plane, columns: Plane) -> Pixels:
    """The picture at broken places, linearly between its pixels, mirrored at its edges."""
    height, width = pixels.shape[:2]
    places = np.stack([columns / max(width - 1, 1) * 2 - 1, rows / max(height - 1, 1) * 2 - 1], -1).astype(np.float32)
    whole = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    found = torch.nn.functional.grid_sample(whole, torch.from_numpy(places)[None], "bilinear", "reflection", True)
    return found[0].permute(1, 2, 0).numpy()


def _pixelate(pixels: Pixels, level: int, _: Dice) -> Pixels:
    share, image = (0.6, 0.5, 0.4, 0.3, 0.25)[level - 1], _pillow(pixels)
    small = image.resize((max(int(image.width * share), 1), max(int(image.height * share), 1)), Pillow.Resampling.BOX)
    return _pixels(small.resize(image.size, Pillow.Resampling.BOX))


def _jpeg(pixels: Pixels, level: int, _: Dice) -> Pixels:
    return _pixels(Pillow.open(io.BytesIO(_jpeg_file(_pillow(pixels), level)), formats=["JPEG"]))


def _jpeg_file(image: Pillow.Image, level: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_JPEG[level - 1])
    return file.getvalue()


def _occlusion(pixels: Pixels, level: int, dice: Dice) -> Pixels:
    """A grey square somewhere; where the picture is too narrow for a square of that area, a rectangle."""
    height, width = pixels.shape[:2]
    area = level / 10 * height * width
    side = math.sqrt(area)
    tall = min(side, height) if side <= width else area / width
    rows, columns = round(tall), round(min(area / tall, width))
    top, left = (int(dice.integers(0, room + 1)) for room in (height - rows, width - columns))
    hidden = pixels.copy()
    hidden[top : top + rows, left : left + columns] = _GREY
    return hidden


def _rotation(pixels: Pixels, level: int, dice: Dice) -> Pixels:
    """To the left or to the right, on grey; the size stays."""
    degrees = (5, 10, 20, 45, 90)[level - 1] * (1 if dice.random() < 0.5 else -1)
    return _pixels(_pillow(pixels).rotate(degrees, Pillow.Resampling.BICUBIC, fillcolor=(128, 128, 128)))


def _pillow(pixels: Pixels) -> Pillow.Image:
    return Pillow.fromarray(np.rint(pixels.clip(0, 1) * 255).astype(np.uint8))


def _pixels(image: Pillow.Image) -> Pixels:
    return np.asarray(image, np.float32) / np.float32(255)


def _said(form: str, values: Sequence[object]) -> tuple[str, ...]:
    return tuple(form.format(value) for value in values)


HARMS: Mapping[str, Harm] = {
    "gaussian-noise": Harm(_gaussian_noise, _said("standard deviation {}", (0.08, 0.12, 0.18, 0.26, 0.38))),
    "shot-noise": Harm(_shot_noise, _said("{} photons at white", (60, 25, 12, 5, 3))),
    "impulse-noise": Harm(_impulse_noise, _said("{} % of the values", (3, 6, 9, 17, 27))),
    "defocus-blur": Harm(_defocus_blur, _said("radius {} px of 224", (3, 4, 6, 8, 10))),
    "motion-blur": Harm(_motion_blur, _said("deviation {} px of 224", (3, 5, 8, 12, 15))),
    "zoom-blur": Harm(_zoom_blur, _said("up to {} x", (1.1, 1.15, 1.2, 1.24, 1.3))),
    "gaussian-blur": Harm(_gaussian_blur, _said("deviation {} px of 224", (1, 2, 3, 4, 6))),
    "snow": Harm(weather.snow, _said("severity {}", range(1, 6))),
    "frost": Harm(weather.frost, _said("severity {}", range(1, 6))),
    "fog": Harm(weather.fog, _said("thickness {}", (1.5, 2, 2.5, 2.5, 3))),
    "brightness": Harm(_brightness, _said("value + {}", (0.1, 0.2, 0.3, 0.4, 0.5))),
    "contrast": Harm(_contrast, _said("{} of the contrast", (0.4, 0.3, 0.2, 0.1, 0.05))),
    "saturate": Harm(_saturate, _said("saturation x {}", (0.3, 0.1, 2, 5, 20))),
    "elastic": Harm(_elastic, _said("severity {}", range(1, 6))),
    "pixelate": Harm(_pixelate, _said("{} of the resolution", (0.6, 0.5, 0.4, 0.3, 0.25))),
    "jpeg": Harm(_jpeg, _said("quality {}", _JPEG)),
    "occlusion": Harm(_occlusion, _said("{} % of the area", (10, 20, 30, 40, 50))),
    "rotation": Harm(_rotation, _said("{} degrees", (5, 10, 20, 45, 90))),
}


def _remake(kind: str, level: int, part: Image, seed: int) -> Image:
    pixels_CHW = decode(part.source).pixels_CHW
    if kind == "jpeg":
        return Image(_jpeg_file(to_pillow(pixels_CHW), level))
    return Image(encode_png(corrupt(pixels_CHW, kind, level, seed), effort=1))


def _at(kind: str, level: int) -> Change:
    return on_media(Image, kind, partial(_remake, kind, level))


KINDS: tuple[Kind, ...] = tuple(Kind(name, "image", harm.amounts, partial(_at, name)) for name, harm in HARMS.items())
