"""Which scenes of the synthetic world a measurement is judged by: those that settings are chosen by, or untouched ones."""

from __future__ import annotations

from typing import Literal, NamedTuple

from sensorium.data.synthetic import Split, World

On = Literal["dev", "test"]
"""`dev`: to choose settings by. `test`: to report on, of a world that nothing was chosen by."""


class Judged(NamedTuple):
    """A world, and which of its scenes."""

    world: World
    split: Split


def judged(on: On, size: int = 64, seed: int = 0) -> Judged:
    """What a model is judged by that was trained on the training scenes of world `seed`, `size` pixels wide.

    The validation scenes of the same world are `dev`; the test scenes of the next one are `test`. Both are drawn alike.
    """
    return Judged(World(seed, size), "validation") if on == "dev" else Judged(World(seed + 1, size), "test")
