"""What the synthetic world is made of: shapes, colours, the pairs that training never shows, and the thing itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Box = tuple[float, float, float, float]
"""`(y0, x0, y1, x1)` in 0..1."""

SHAPES = ("circle", "square", "triangle", "star", "diamond", "cross", "ring", "heart", "moon", "arrow")
COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (45, 80, 220),
    "yellow": (240, 215, 40),
    "white": (245, 245, 245),
    "orange": (245, 140, 30),
    "purple": (140, 60, 180),
    "pink": (245, 150, 190),
    "cyan": (60, 205, 215),
    "brown": (125, 75, 35),
}
"""Red, green and blue of each, before a jitter of up to 10 either way."""

CLASSES = tuple((colour, shape) for shape in SHAPES[:4] for colour in tuple(COLOURS)[:4])
"""The 16 pairs (colour, shape) of zero-shot naming."""

HELD_OUT = (
    ("purple", "circle"),
    ("white", "triangle"),
    ("cyan", "star"),
    ("green", "heart"),
    ("red", "moon"),
    ("orange", "ring"),
    ("blue", "cross"),
    ("pink", "arrow"),
)
"""Pairs (colour, shape) that only the split `novel` shows; every colour and shape is seen in others."""

GROUPS = ("plain", "striped")
"""The synthetic sensitive attribute: what the background looks like, which no answer depends on."""

WORDS = ("cat", "dog", "sun", "cup", "key", "map", "pen", "hat", "bus", "toy")
DIGITS = tuple("0123456789")
"""What may be written on a thing."""


class Thing(NamedTuple):
    """One thing of a scene.

    Args:
        size: `small` or `large`. box: tight around its visible pixels. text: what is written on it, or nothing.
    """

    shape: str
    colour: str
    size: str
    box: Box
    text: str = ""

    @property
    def pair(self) -> tuple[str, str]:
        """Colour and shape, which no other thing of its scene shares."""
        return self.colour, self.shape

    @property
    def centre(self) -> tuple[float, float]:
        """`(y, x)` in 0..1."""
        y0, x0, y1, x1 = self.box
        return (y0 + y1) / 2, (x0 + x1) / 2

    def cells(self, size: int) -> tuple[int, int, int, int]:
        """The box in whole pixels `(top, left, bottom, right)` of a picture `size` pixels wide."""
        top, left, bottom, right = (round(edge * size) for edge in self.box)
        return top, left, bottom, right


def around(things: Sequence[Thing]) -> Box:
    """The smallest box that holds them all."""
    boxes = [thing.box for thing in things]
    return min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes)


RELATIONS = ("left", "right", "above", "below")
CLEAR = 0.12
"""How far apart two centres lie for a relation to hold, in widths of the picture."""


def related(thing: Thing, relation: str, other: Thing) -> bool:
    """Whether `thing` lies left of, right of, above or below `other`, by their centres and clearly so."""
    (y, x), (v, u) = thing.centre, other.centre
    return {"left": u - x, "right": x - u, "above": v - y, "below": y - v}[relation] >= CLEAR


def graph(things: Sequence[Thing]) -> dict[str, Any]:
    """The scene graph as plain JSON: nodes with their attributes and boxes, and edges `(from, relation, to)` by index."""
    nodes = [
        {"shape": thing.shape, "colour": thing.colour, "size": thing.size, "box": list(thing.box), "text": thing.text}
        for thing in things
    ]
    edges = [
        [first, relation, second]
        for first, thing in enumerate(things)
        for second, other in enumerate(things)
        for relation in RELATIONS
        if first != second and related(thing, relation, other)
    ]
    return {"things": nodes, "relations": edges}
