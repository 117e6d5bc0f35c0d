"""Where the marks of a plot lie; the templates draw them as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from sensorium.estimate import Estimate
from sensorium.evaluation.report.view import Bin, Curve, said

WIDTH, HEIGHT = 320, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, 310.0, 12.0, 166.0


class Track(NamedTuple):
    """One score on a horizontal axis, in hundredths of its length."""

    at: float
    low: float
    high: float


class Tick(NamedTuple):
    """A place on an axis and what stands there."""

    at: float
    text: str


class Mark(NamedTuple):
    """A point with its interval and what it says in words; `size` is its radius."""

    x: float
    y: float
    low: float
    high: float
    text: str
    size: float = 3.5


class Chart(NamedTuple):
    """A plot in a field of `WIDTH` by `HEIGHT`.

    Args:
        band, line: SVG paths, empty where points are not joined. rule: height of a horizontal line, None without one.
        label: the whole plot in words, for those who do not see it.
    """

    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    marks: tuple[Mark, ...]
    band: str
    line: str
    rule: float | None
    diagonal: str
    across_label: str
    label: str


def track(estimate: Estimate, span: tuple[float, float]) -> Track:
    """On an axis with these ends; what lies beyond is drawn at the end."""
    low, high = span

    def place(value: float) -> float:
        if math.isnan(value):
            return 0.0
        return round(100 * min(max((value - low) / (high - low), 0.0), 1.0), 2)

    return Track(place(estimate.value), place(estimate.low), place(estimate.high))


def ticks(span: tuple[float, float], count: int = 4) -> tuple[Tick, ...]:
    """Evenly over the axis, in hundredths of its length."""
    low, high = span
    return tuple(Tick(100 * step / count, f"{low + (high - low) * step / count:g}") for step in range(count + 1))


def curve(drawn: Curve, span: tuple[float, float]) -> Chart:
    """Scores over levels, with the band of their intervals and the floor as a line."""
    count = len(drawn.points)
    xs = [_LEFT + 12 + (_RIGHT - _LEFT - 24) * (place / max(count - 1, 1)) for place in range(count)]
    marks = tuple(
        Mark(x, _y(value.value, span), _y(value.low, span), _y(value.high, span), _point(label, value, amount))
        for x, (label, value, amount) in zip(xs, drawn.points, strict=True)
    )
    back = [f"{mark.x:.1f} {mark.low:.1f}" for mark in reversed(marks)]
    return Chart(
        tuple(Tick(x, label) for x, (label, _, _) in zip(xs, drawn.points, strict=True)),
        _up(span),
        marks,
        f"M{' L'.join([f'{mark.x:.1f} {mark.high:.1f}' for mark in marks] + back)} Z",
        f"M{' L'.join(f'{mark.x:.1f} {mark.y:.1f}' for mark in marks)}",
        None if drawn.floor is None else _y(drawn.floor.value, span),
        "",
        drawn.across,
        f"{drawn.name}, score by {drawn.across}: " + "; ".join(mark.text for mark in marks),
    )


def reliability(bins: Sequence[Bin]) -> Chart:
    """The share right over the mean confidence, on the diagonal where confidence is true; larger points are more answers."""
    most = max(item.right.n for item in bins)
    marks = tuple(
        Mark(
            _x(item.sure),
            _y(item.right.value, (0, 1)),
            _y(item.right.low, (0, 1)),
            _y(item.right.high, (0, 1)),
            f"confidence {item.low:.1f} to {item.high:.1f}: right {said(item.right)} n={item.right.n}",
            2.5 + 4 * math.sqrt(item.right.n / most),
        )
        for item in bins
    )
    across = tuple(Tick(_x(step / 4), f"{step / 4:g}") for step in range(5))
    diagonal = f"M{_x(0):.1f} {_y(0, (0, 1)):.1f} L{_x(1):.1f} {_y(1, (0, 1)):.1f}"
    words = "Share right by confidence: " + "; ".join(mark.text for mark in marks)
    return Chart(across, _up((0.0, 1.0)), marks, "", "", None, diagonal, "mean confidence", words)


class Bar(NamedTuple):
    """How many answers a bin holds: where it begins, how wide and how high, and the count."""

    x: float
    width: float
    height: float
    n: int


def counts(bins: Sequence[Bin]) -> tuple[Bar, ...]:
    """The answers in each bin, the fullest 24 high."""
    most = max(item.right.n for item in bins)
    return tuple(
        Bar(_x(item.low) + 0.5, _x(item.high) - _x(item.low) - 1, 24 * item.right.n / most, item.right.n) for item in bins
    )


def _point(label: str, value: Estimate, amount: str) -> str:
    return f"{label}{f' ({amount})' if amount else ''}: {said(value)} n={value.n}"


def _x(value: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * value


def _y(value: float, span: tuple[float, float]) -> float:
    low, high = span
    if math.isnan(value):
        return _BOTTOM
    return round(_BOTTOM - (_BOTTOM - _TOP) * min(max((value - low) / (high - low), 0.0), 1.0), 2)


def _up(span: tuple[float, float]) -> tuple[Tick, ...]:
    return tuple(Tick(_y(float(tick.text), span), tick.text) for tick in ticks(span))
