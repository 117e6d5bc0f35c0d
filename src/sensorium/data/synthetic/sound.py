"""What a scene sounds like: one tone a thing, pitch from its colour, timbre from its shape, loudness from its size."""

from __future__ import annotations

import io
import math
import wave
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sensorium.data.synthetic.thing import COLOURS, SHAPES, Thing

Wave = NDArray[np.float32]

RATE = 16000
"""Samples a second."""
TONE, PAUSE = 4800, 1600
"""Samples of one tone, and of the silence after it: 0.3 s and 0.1 s."""
PITCH: Mapping[str, int] = dict(zip(COLOURS, (262, 294, 330, 392, 440, 523, 587, 659, 784, 880), strict=True))
"""Hertz of each colour: two octaves of a pentatonic scale, ascending in the order of `COLOURS`."""
TIMBRE: Mapping[str, tuple[int, ...]] = dict(
    zip(
        SHAPES,
        (
            (8,),
            (6, 0, 2, 0, 1),
            (4, 2, 1, 1),
            (2, 3, 3),
            (5, 3),
            (1, 0, 4, 3),
            (3, 0, 0, 5),
            (5, 0, 0, 0, 3),
            (2, 5, 1),
            (3, 1, 0, 0, 4),
        ),
        strict=True,
    )
)
"""Eighths of loudness of each shape's first partials."""
_STEPS = 4096


def tones(things: Sequence[Thing], pause: int = PAUSE) -> Wave:
    """The things' tones one after another, in the order of the scene: float32 in -1..1 at 16 kHz."""
    silence = np.zeros(pause, dtype=np.float32)
    return np.concatenate([part for thing in things for part in (tone(thing.colour, thing.shape, thing.size), silence)])


@lru_cache(maxsize=256)
def tone(colour: str, shape: str, size: str) -> Wave:
    """One tone of 0.3 s, faded in and out over 10 ms. Whole numbers all the way, so that it is the same everywhere."""
    table, steps = _sine(), np.arange(TONE)
    total = np.zeros(TONE, dtype=np.int64)
    for partial, eighths in enumerate(TIMBRE[shape], start=1):
        total += eighths * table[steps * PITCH[colour] * partial * _STEPS // RATE % _STEPS]
    fade = np.minimum(np.minimum(steps, TONE - 1 - steps), 160)
    loud = 3 if size == "large" else 1
    return (total * fade * loud // (8 * 160 * 5)).astype(np.float32) / np.float32(32768)


def wav(sound: Wave) -> bytes:
    """The sound as a WAV file of 16 bits."""
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.clip(np.rint(sound * 32768), -32768, 32767).astype("<i2").tobytes())
    return target.getvalue()


@lru_cache(maxsize=1)
def _sine() -> NDArray[np.int64]:
    return np.array([round(32767 * math.sin(2 * math.pi * step / _STEPS)) for step in range(_STEPS)], dtype=np.int64)
