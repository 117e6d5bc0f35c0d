"""What harms of pictures are made of: convolution, random fields, streaks, an enlarged middle."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

Pixels = NDArray[np.float32]
"""`(H, W, 3)` in 0..1."""
Plane = NDArray[np.float64]
Dice = np.random.Generator
_PUBLISHED = 224
_WIBBLE = 100.0


def scale_of(pixels: Pixels) -> float:
    """The shorter side in units of the 224 pixels for which the severities were published."""
    return float(min(pixels.shape[:2])) / _PUBLISHED


def convolve(pixels: Pixels, kernel: Plane) -> Pixels:
    """`(H, W, C)` with a kernel of odd sides, by Fourier transform; the picture is mirrored at its edges."""
    height, width = pixels.shape[:2]
    tall, wide = kernel.shape
    around = np.pad(pixels, ((tall // 2,) * 2, (wide // 2,) * 2, (0, 0)), mode="symmetric")
    size = tuple(_smooth(length) for length in around.shape[:2])
    spectrum = np.fft.rfft2(around, size, axes=(0, 1)) * np.fft.rfft2(kernel.astype(np.float32), size)[..., None]
    whole = np.fft.irfft2(spectrum, size, axes=(0, 1))
    return whole[tall - 1 : tall - 1 + height, wide - 1 : wide - 1 + width].astype(np.float32)


def gaussian(sigma: float) -> Plane:
    """A kernel of four deviations to each side, which sums to 1."""
    reach = np.arange(-math.ceil(4 * sigma), math.ceil(4 * sigma) + 1)
    line = np.exp(-(reach**2) / (2 * sigma**2))
    kernel: Plane = np.outer(line, line) / line.sum() ** 2
    return kernel


def streak(radius: float, sigma: float, degrees: float) -> Plane:
    """A kernel that smears one way: half a bell along a line of twice the radius, which sums to 1."""
    length = max(math.ceil(2 * radius), 1)
    steps = np.arange(length + 1)
    weights = np.exp(-(steps**2) / (2 * max(sigma, 1e-3) ** 2))
    y, x = (length + 1 + steps * turn for turn in (math.sin(math.radians(degrees)), math.cos(math.radians(degrees))))
    kernel = np.zeros((2 * length + 3, 2 * length + 3))  # the middle and, each way, the length and the next pixel
    row, column = np.floor(y).astype(int), np.floor(x).astype(int)
    for down in (0, 1):
        for right in (0, 1):
            near = np.abs(1 - down - (y - row)) * np.abs(1 - right - (x - column))
            np.add.at(kernel, (row + down, column + right), weights * near)
    kernel /= kernel.sum()
    return kernel


def blurred(plane: Plane, sigma: float) -> Plane:
    """A random field, which may be taken as periodic, under a bell of any width."""
    height, width = plane.shape
    y, x = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    return np.fft.irfft2(np.fft.rfft2(plane) * np.exp(-2 * (math.pi * sigma) ** 2 * (y**2 + x**2)), plane.shape)


def zoomed(pixels: Pixels, factor: float) -> Pixels:
    """The middle of a picture `(H, W, C)`, or of a plane `(H, W)`, enlarged to its whole size."""
    height, width = pixels.shape[:2]
    top, left = (height - height / factor) / 2, (width - width / factor) / 2
    box = (left, top, width - left, height - top)
    planes = [pixels] if pixels.ndim == 2 else [pixels[..., channel] for channel in range(pixels.shape[2])]
    grown = [
        np.asarray(Pillow.fromarray(np.ascontiguousarray(plane)).resize((width, height), Pillow.Resampling.BILINEAR, box))
        for plane in planes
    ]
    return grown[0] if pixels.ndim == 2 else np.stack(grown, -1)


def plasma(height: int, width: int, decay: float, dice: Dice) -> Plane:
    """Clouds in 0..1 by midpoint displacement (Fournier, Fussell & Carpenter 1982): each halving of the step divides the
    displacement's root by `decay`."""
    size = 1 << max(math.ceil(math.log2(max(height, width))), 1)
    field = np.zeros((size, size))
    step, wibble = size, _WIBBLE
    while step >= 2:
        half = step // 2
        corners = field[::step, ::step]
        sides = corners + np.roll(corners, -1, 0)
        field[half::step, half::step] = _displaced(sides + np.roll(sides, -1, 1), wibble, dice)
        middles = field[half::step, half::step]
        across = middles + np.roll(middles, 1, 0) + corners + np.roll(corners, -1, 1)
        along = middles + np.roll(middles, 1, 1) + corners + np.roll(corners, -1, 0)
        field[::step, half::step] = _displaced(across, wibble, dice)
        field[half::step, ::step] = _displaced(along, wibble, dice)
        step, wibble = half, wibble / decay
    clouds: Plane = (field[:height, :width] - field.min()) / (field.max() - field.min())
    return clouds


def _displaced(four: Plane, wibble: float, dice: Dice) -> Plane:
    return four / 4 + wibble * dice.uniform(-wibble, wibble, four.shape)


def _smooth(length: int) -> int:
    """The next length whose only prime factors are 2, 3 and 5, for which the transform is fast."""
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 1
