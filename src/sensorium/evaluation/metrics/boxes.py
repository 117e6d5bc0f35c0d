"""Boxes: overlap, accuracy at an overlap, and COCO's mean average precision, equal to pycocotools 2.0.

A box is two opposite corners, `(y0, x0, y1, x1)` as elsewhere here or `(x0, y0, x1, y1)`: every measure is the same for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sensorium.estimate import Rows

Box = tuple[float, float, float, float]

THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""COCO's ten overlaps from 0.5 to 0.95."""
_RECALLS = np.linspace(0, 1, 101)
_MOST = 100


class Found(NamedTuple):
    """A box that a model gives, with what it shows and how sure that is."""

    name: str
    box: Box
    score: float


class Right(NamedTuple):
    """A box that is right. A `crowd` may be found any number of times, or not at all."""

    name: str
    box: Box
    crowd: bool = False


def overlap(one: Box, other: Box, *, crowd: bool = False) -> float:
    """Intersection over union, 0..1; over the area of `one` when `other` is a crowd. Without area nothing overlaps."""
    height, width = (min(one[2 + axis], other[2 + axis]) - max(one[axis], other[axis]) for axis in (0, 1))
    shared = max(height, 0.0) * max(width, 0.0)
    whole = _area(one) if crowd else _area(one) + _area(other) - shared
    return shared / whole if shared > 0 else 0.0


def hit(found: Box | None, right: Box, threshold: float = 0.5) -> float:
    """1 when the overlap is at least the threshold, as RefCOCO counts it; no box is a miss."""
    return float(found is not None and overlap(found, right) >= threshold)


def detection_rows(found: Sequence[Sequence[Found]], right: Sequence[Sequence[Right]]) -> Rows:
    """Of each picture what COCO's average precision needs: its matches, made once, so that pictures can be drawn anew.

    A row holds how many boxes the fullest picture was given, then for each of these the name's number, the score, a bit for
    each overlap at which it meets a right box and one for each at which it does not count; then for each name how many
    right boxes the picture has. Unused places are nan.
    """
    assert len(found) == len(right), "one list each for a picture"
    names = sorted({box.name for boxes in right for box in boxes} | {box.name for boxes in found for box in boxes})
    numbers = {name: number for number, name in enumerate(names)}
    matched = [
        [(numbers[name], *row) for name in names for row in _matches(own, true, name)]
        for own, true in zip(found, right, strict=True)
    ]
    most = max((len(rows) for rows in matched), default=0)
    table = np.full((len(found), 1 + 4 * most + len(names)), np.nan)
    table[:, 0] = most
    for place, rows in enumerate(matched):
        table[place, 1 : 1 + 4 * len(rows)] = np.array(rows, dtype=np.float64).reshape(-1)
        table[place, 1 + 4 * most :] = [sum(box.name == name and not box.crowd for box in right[place]) for name in names]
    return table


def mean_average_precision(rows: Rows) -> float:
    """COCO's AP: precision at 101 recalls, averaged over ten overlaps and all names that have a right box; nan without any."""
    return _average_precision(rows, range(len(THRESHOLDS)))


def average_precision_50(rows: Rows) -> float:
    """The same at an overlap of 0.5 alone."""
    return _average_precision(rows, range(1))


def _average_precision(rows: Rows, overlaps: range) -> float:
    if not len(rows):
        return float("nan")
    most = int(rows[0, 0])
    boxes = rows[:, 1 : 1 + 4 * most].reshape(-1, 4)
    boxes = boxes[~np.isnan(boxes[:, 0])]
    boxes = boxes[np.argsort(-boxes[:, 1], kind="stable")]
    wanted = rows[:, 1 + 4 * most :].sum(0)
    names, bits = boxes[:, 0].astype(np.int64), boxes[:, 2:].astype(np.int64)
    scores = [
        _at(bits[names == name] >> number & 1, float(wanted[name]))
        for name in range(len(wanted))
        if wanted[name]
        for number in overlaps
    ]
    return float(np.mean(scores)) if scores else float("nan")


def _at(bits: NDArray[np.int64], wanted: float) -> float:
    """One name at one overlap: `bits` of the boxes in order of score, whether they match and whether they do not count."""
    counted = bits[bits[:, 1] == 0, 0]
    right = np.cumsum(counted)
    precision = right / np.arange(1, len(counted) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(right / wanted, _RECALLS, side="left")
    return float(np.append(best, 0.0)[places].mean())


def _matches(found: Sequence[Found], right: Sequence[Right], name: str) -> list[tuple[float, int, int]]:
    """Of the hundred surest boxes of one name in one picture: score, bits that match, bits that do not count."""
    boxes = sorted((box for box in found if box.name == name), key=lambda box: -box.score)[:_MOST]
    true = sorted((box for box in right if box.name == name), key=lambda box: box.crowd)
    table = [[overlap(box.box, other.box, crowd=other.crowd) for other in true] for box in boxes]
    match, ignored = [0] * len(boxes), [0] * len(boxes)
    for number, threshold in enumerate(THRESHOLDS):
        taken: set[int] = set()
        for place, near in enumerate(table):
            other = _partner(near, true, taken, threshold)
            if other is not None:
                taken.add(other)
                match[place] |= 1 << number
                ignored[place] |= true[other].crowd << number
    return [(box.score, one, two) for box, one, two in zip(boxes, match, ignored, strict=True)]


def _partner(near: Sequence[float], true: Sequence[Right], taken: set[int], threshold: float) -> int | None:
    """The free right box of the greatest overlap, the last of equals; a crowd only where there is none."""
    best, partner = min(threshold, 1 - 1e-10), None
    for place, box in enumerate(true):
        if partner is not None and box.crowd and not true[partner].crowd:
            break
        if (box.crowd or place not in taken) and near[place] >= best:
            best, partner = near[place], place
    return partner


def _area(box: Box) -> float:
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)
