"""Snow, frost and fog on a picture, with the published severities (Hendrycks & Dietterich 2019), made without a photograph."""

from __future__ import annotations

import math

import numpy as np

from sensorium.evaluation.stress.field import Dice, Pixels, Plane, convolve, plasma, scale_of, streak, zoomed

_GREY = np.array([0.299, 0.587, 0.114], np.float32)
_ICE = np.array([0.86, 0.93, 1.0])
_SNOW = (
    (0.1, 0.3, 3.0, 0.5, 10, 4, 0.8),
    (0.2, 0.3, 2.0, 0.5, 12, 4, 0.7),
    (0.55, 0.3, 4.0, 0.9, 12, 8, 0.7),
    (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
    (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
)
"""Mean and deviation of the flakes, their size, the least that counts, reach and deviation of their fall, share kept."""


def snow(pixels: Pixels, level: int, dice: Dice) -> Pixels:
    """Flakes that fall aslant before a picture made paler."""
    mean, deviation, size, least, radius, fall, share = _SNOW[level - 1]
    scale = scale_of(pixels)
    flakes = dice.normal(mean, deviation, pixels.shape[:2]).astype(np.float32)
    flakes = zoomed(flakes, max(size * scale, 1.0))
    flakes = np.where(flakes < least, 0, flakes).clip(0, 1).astype(np.float32)
    kernel = streak(radius * scale, fall * scale, dice.uniform(-135, -45))
    layer = convolve(flakes[..., None], kernel).clip(0, 1)
    pale = np.maximum(pixels, (pixels @ _GREY)[..., None] * 1.5 + 0.5)
    snowed: Pixels = (share * pixels + (1 - share) * pale + layer + layer[::-1, ::-1]).astype(np.float32)
    return snowed


def frost(pixels: Pixels, level: int, dice: Dice) -> Pixels:
    """Ice on a pane: crystals of six arms and clouded glass. The paper lays photographs of frost on the picture instead."""
    kept, laid = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))[level - 1]
    ice = _ice(pixels.shape[0], pixels.shape[1], scale_of(pixels), dice)
    frosted: Pixels = (kept * pixels + laid * ice[..., None] * _ICE).astype(np.float32)
    return frosted


def _ice(height: int, width: int, scale: float, dice: Dice) -> Plane:
    """How much ice lies where, in 0..1: most at seams between clouds, with crystals grown about them."""
    clouds, seams = plasma(height, width, 2.0, dice), plasma(height, width, 1.8, dice)
    ridges = (1 - np.abs(2 * seams - 1)) ** 4
    seeds = (dice.random((height, width)) < 0.006 / max(scale, 0.25) ** 2).astype(np.float32) * ridges.astype(np.float32)
    crystals = sum(
        convolve(seeds[..., None], _crystal(reach * scale, dice.uniform(0, 60)).astype(np.float64))[..., 0]
        for reach in (9.0, 18.0)
    )
    ice: Plane = (0.4 * clouds + 0.45 * ridges + 0.9 * crystals).clip(0, 1)
    return ice


def _crystal(reach: float, degrees: float) -> Plane:
    """A star of six thin arms that fade outwards, 1 in the middle."""
    size = max(math.ceil(reach), 2)
    y, x = np.mgrid[-size : size + 1, -size : size + 1].astype(np.float64)
    far, angle = np.hypot(y, x), np.arctan2(y, x) - math.radians(degrees)
    off = far * np.abs(np.sin((angle + math.pi / 6) % (math.pi / 3) - math.pi / 6))
    star: Plane = (1 - off / 0.8).clip(0, 1) * (1 - far / (size + 1)).clip(0, 1)
    return star


def fog(pixels: Pixels, level: int, dice: Dice) -> Pixels:
    """Clouds over the picture, then all scaled back so that its brightest place is as bright as it was."""
    thick, decay = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))[level - 1]
    brightest = float(pixels.max())
    clouds = plasma(pixels.shape[0], pixels.shape[1], decay, dice)[..., None]
    return ((pixels + thick * clouds) * (brightest / (brightest + thick))).astype(np.float32)
