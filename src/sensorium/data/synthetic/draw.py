"""Scenes to pixels: masks of shapes made once for each size, then painted with whole numbers only, so that pixels are exact."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sensorium.data.synthetic.dice import Dice
from sensorium.data.synthetic.thing import COLOURS, Thing

Pixels = NDArray[np.uint8]
Plane = NDArray[np.float64]
Inside = NDArray[np.bool_]

_FINE = 4
_GRAIN = 256


def paint(things: Sequence[Thing], size: int, group: str, dice: Dice) -> Pixels:
    """A picture uint8 `(size, size, 3)`; the background, its grain and the exact shade of each thing come from the dice."""
    shade, top, left = dice.between(18, 60), dice.below(_GRAIN - size), dice.below(_GRAIN - size)
    jitter = [dice.below(21) for _ in range(3)]
    ground = (_grain(group)[top : top + size, left : left + size] + shade).astype(np.uint8)
    picture = np.repeat(ground[..., None], 3, axis=2)
    for thing in things:
        y0, x0, y1, x1 = thing.cells(size)
        ink = _ink(thing, jitter)
        _lay(picture, mask(thing.shape, y1 - y0, x1 - x0), ink, y0, x0)
        if thing.text:
            _write(picture, thing.text, (y0 + y1) // 2, (x0 + x1) // 2)
    return picture


def png(picture: Pixels) -> bytes:
    """The picture as a PNG file."""
    target = io.BytesIO()
    Image.fromarray(picture).save(target, "PNG", compress_level=1)
    return target.getvalue()


@lru_cache(maxsize=4096)
def mask(shape: str, height: int, width: int) -> NDArray[np.uint16]:
    """How much of each pixel the shape covers, 0..255, `(height, width)`; it touches all four edges."""
    rows, columns = ((np.arange(count * _FINE) + 0.5) / (count * _FINE) for count in (height, width))
    inside = _INSIDE[shape](rows[:, None], columns[None, :])
    covered = np.broadcast_to(inside, (height * _FINE, width * _FINE)).reshape(height, _FINE, width, _FINE).sum((1, 3))
    cover: NDArray[np.uint16] = (covered * 255 // _FINE**2).astype(np.uint16)
    return cover


def _ink(thing: Thing, jitter: Sequence[int]) -> NDArray[np.uint16]:
    """Its colour, up to 10 off in each channel; what else is in the scene has no say in it."""
    turn = 7 * len(thing.shape) + 5 * len(thing.colour)
    shades = (value + (turn + offset) % 21 - 10 for value, offset in zip(COLOURS[thing.colour], jitter, strict=True))
    return np.array([min(255, max(0, shade)) for shade in shades], dtype=np.uint16)


def _lay(picture: Pixels, cover: NDArray[np.uint16], ink: NDArray[np.uint16], y: int, x: int) -> None:
    """Paint ink, one colour or one a pixel, through a mask; what falls outside the picture is cut."""
    top, left = max(0, -y), max(0, -x)
    bottom, right = min(cover.shape[0], picture.shape[0] - y), min(cover.shape[1], picture.shape[1] - x)
    if bottom <= top or right <= left:
        return
    part = picture[y + top : y + bottom, x + left : x + right]
    alpha = cover[top:bottom, left:right, None]
    ink = ink[top:bottom, left:right] if ink.ndim == 3 else ink
    part[...] = (part * (255 - alpha) + ink * alpha + 127) // 255


def _write(picture: Pixels, text: str, y: int, x: int) -> None:
    """Dark letters on a light plate, its middle at `(y, x)`."""
    letters = _letters(text)
    height, width = letters.shape[0] + 2, letters.shape[1] + 2
    plate = np.full((height, width), 235, dtype=np.uint16)
    plate[1:-1, 1:-1] -= letters * 225
    whole = np.full_like(plate, 255)
    _lay(picture, whole, np.repeat(plate[..., None], 3, axis=2), y - height // 2, x - width // 2)


@lru_cache(maxsize=256)
def _letters(text: str) -> NDArray[np.uint16]:
    """The text in Pillow's built-in bitmap font, 0 or 1, cut to its ink."""
    font = ImageFont.load_default_imagefont()
    canvas = Image.new("1", (8 * len(text) + 8, 16))
    ImageDraw.Draw(canvas).text((2, 2), text, font=font, fill=1)
    return np.asarray(canvas.crop(canvas.getbbox())).astype(np.uint16)


@lru_cache(maxsize=8)
def _grain(group: str) -> NDArray[np.int16]:
    """A background's texture around 0: grain of up to 4 either way, and the stripes of its group."""
    dice, steps = Dice("grain"), np.arange(_GRAIN)
    noise = np.array([dice.between(-4, 4) for _ in range(_GRAIN * _GRAIN)], dtype=np.int16).reshape(_GRAIN, _GRAIN)
    stripes = ((steps[:, None] + steps[None, :]) // 4 % 2 * 22 - 8) if group == "striped" else np.zeros((1, 1), np.int64)
    return noise + stripes.astype(np.int16)


def _polygon(*corners: tuple[float, float]) -> Callable[[Plane, Plane], Inside]:
    """Inside by the even-odd rule; corners `(x, y)`."""

    def inside(y: Plane, x: Plane) -> Inside:
        found = np.zeros(np.broadcast_shapes(y.shape, x.shape), dtype=np.bool_)
        for (x0, y0), (x1, y1) in zip(corners, (*corners[1:], corners[0]), strict=True):
            if y0 != y1:
                found ^= ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
        return found

    return inside


def _disc(y: Plane, x: Plane, middle: tuple[float, float], radius: float) -> Inside:
    inside: Inside = (x - middle[0]) ** 2 + (y - middle[1]) ** 2 <= radius**2
    return inside


_RIGHT = ((0.5, 0.0), (0.6391, 0.3515), (1.0, 0.382), (0.725, 0.6297), (0.809, 1.0))
_STAR = (*_RIGHT, (0.5, 0.8015), (0.191, 1.0), (0.275, 0.6297), (0.0, 0.382), (0.3609, 0.3515))
_POINT = _polygon((0.02, 0.36), (0.98, 0.36), (0.5, 1.0))
_HEAD = _polygon((0.45, 0.0), (1.0, 0.5), (0.45, 1.0))
_INSIDE: Mapping[str, Callable[[Plane, Plane], Inside]] = {
    "circle": lambda y, x: _disc(y, x, (0.5, 0.5), 0.5),
    "square": lambda y, x: (y >= 0) & (x >= 0),
    "triangle": _polygon((0.5, 0.0), (1.0, 1.0), (0.0, 1.0)),
    "star": _polygon(*_STAR),
    "diamond": lambda y, x: np.abs(x - 0.5) + np.abs(y - 0.5) <= 0.5,
    "cross": lambda y, x: (np.abs(x - 0.5) <= 0.17) | (np.abs(y - 0.5) <= 0.17),
    "ring": lambda y, x: _disc(y, x, (0.5, 0.5), 0.5) & ~_disc(y, x, (0.5, 0.5), 0.28),
    "heart": lambda y, x: _disc(y, x, (0.26, 0.26), 0.26) | _disc(y, x, (0.74, 0.26), 0.26) | _POINT(y, x),
    "moon": lambda y, x: _disc(y, 0.65 * x, (0.5, 0.5), 0.5) & ~_disc(y, 0.65 * x, (0.8, 0.5), 0.5),
    "arrow": lambda y, x: ((x <= 0.5) & (np.abs(y - 0.5) <= 0.17)) | _HEAD(y, x),
}
