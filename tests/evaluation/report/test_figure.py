"""Marks lie where their numbers say, inside the plot whatever the numbers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.estimate import Estimate
from sensorium.evaluation.report.figure import counts, curve, reliability, ticks, track
from sensorium.evaluation.report.view import Bin, Curve


def test_a_score_lies_on_its_axis() -> None:
    assert track(Estimate(0.5, 0.25, 0.75, 9), (0, 1)) == (50, 25, 75)
    assert track(Estimate(1.0, -1.0, 3.0, 9), (-1, 3)) == (50, 0, 100)
    assert [tick.text for tick in ticks((-0.5, 0.5))] == ["-0.5", "-0.25", "0", "0.25", "0.5"]


@given(st.lists(st.floats(), min_size=3, max_size=3))
def test_no_number_leaves_the_axis(values: list[float]) -> None:
    drawn = track(Estimate(*values, 1), (0, 1))
    assert all(0 <= value <= 100 for value in drawn)
    (mark,) = curve(Curve("blur", "severity", (("none", Estimate(*values, 1), ""),), None), (0, 1)).marks
    assert all(math.isfinite(value) and 0 <= value <= 210 for value in (mark.x, mark.y, mark.low, mark.high))


def test_a_higher_score_is_drawn_higher() -> None:
    points = tuple((str(level), Estimate(score, score - 0.1, score + 0.1, 9), "") for level, score in enumerate((0.8, 0.4)))
    drawn = curve(Curve("blur", "severity", points, Estimate(0.2, 0.1, 0.3, 9)), (0, 1))
    assert drawn.marks[0].y < drawn.marks[1].y < (drawn.rule or 0)
    assert drawn.marks[0].high < drawn.marks[0].y < drawn.marks[0].low
    assert drawn.line.count("L") == 1 and drawn.band.count("L") == 3 and "0.800 [0.700, 0.900] n=9" in drawn.label


def test_a_true_confidence_lies_on_the_diagonal() -> None:
    bins = [Bin(0.0, 0.1, 0.0, Estimate(0.0, 0, 0.3, 4)), Bin(0.9, 1.0, 1.0, Estimate(1.0, 0.7, 1, 16))]
    drawn = reliability(bins)
    ends = [tuple(map(float, point.split())) for point in drawn.diagonal[1:].split(" L")]
    assert [(mark.x, mark.y) for mark in drawn.marks] == [pytest.approx(end) for end in ends]
    assert drawn.marks[1].size > drawn.marks[0].size
    assert [bar.n for bar in counts(bins)] == [4, 16] and counts(bins)[1].height == 24
