"""Scenes as film: each thing slides in at its own moment, and its tone sounds then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sensorium.data.synthetic.dice import Dice
from sensorium.data.synthetic.draw import Pixels, paint
from sensorium.data.synthetic.sound import RATE, Wave, tone
from sensorium.data.synthetic.thing import Thing
from sensorium.media.matroska import encode_mkv

FPS = 8
"""Pictures a second."""
_EVERY, _TAIL = 5, 3
_WAYS = {"right": (0, -1), "left": (0, 1), "down": (-1, 0), "up": (1, 0)}


class Event(NamedTuple):
    """The thing at `place` in the scene's order appears, at `seconds`, moving `right`, `left`, `down` or `up` to its place."""

    place: int
    seconds: float
    way: str


class Moving(NamedTuple):
    """A film of a scene: uint8 `(frames, size, size, 3)` at `FPS`, its sound at 16 kHz, and what happens when."""

    frames: NDArray[np.uint8]
    sound: Wave
    events: tuple[Event, ...]


def film(things: Sequence[Thing], size: int, group: str, key: tuple[object, ...]) -> Moving:
    """The things appear one after another in the order of the scene; the last picture shows all of them in place."""
    dice = Dice(*key, "film")
    events = tuple(Event(index, index * _EVERY / FPS, dice.pick(tuple(_WAYS))) for index in range(len(things)))
    count = _EVERY * (len(things) - 1) + _TAIL + 2
    frames = np.stack([_frame(things, events, at, size, group, key) for at in range(count)])
    sound = np.zeros(count * RATE // FPS, dtype=np.float32)
    for thing, event in zip(things, events, strict=True):
        part, start = tone(thing.colour, thing.shape, thing.size), round(event.seconds * RATE)
        sound[start : start + len(part)] += part[: len(sound) - start]
    return Moving(frames, sound, events)


def mkv(moving: Moving) -> bytes:
    """The film as a Matroska file, without loss."""
    return encode_mkv(moving.frames, FPS, moving.sound, RATE)


def _frame(things: Sequence[Thing], events: Sequence[Event], at: int, size: int, group: str, key: tuple[object, ...]) -> Pixels:
    """One picture: a thing is drawn from its event on, and slides a third of the picture in `_TAIL` pictures."""
    shown = []
    for thing, event in zip(things, events, strict=True):
        left = _TAIL - (at - event.place * _EVERY)
        if left <= _TAIL:
            y, x = (step * max(0, left) * (size // 12) / size for step in _WAYS[event.way])
            y0, x0, y1, x1 = thing.box
            shown.append(thing._replace(box=(y0 + y, x0 + x, y1 + y, x1 + x)))
    return paint(shown, size, group, Dice(*key, "paint"))
