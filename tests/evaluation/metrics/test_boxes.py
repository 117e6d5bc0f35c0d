"""Boxes against pycocotools."""

from __future__ import annotations

import contextlib
import io
import math

import numpy as np
import pytest
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sensorium.estimate import estimate
from sensorium.evaluation.metrics.boxes import (
    THRESHOLDS,
    Box,
    Found,
    Right,
    average_precision_50,
    detection_rows,
    hit,
    mean_average_precision,
    overlap,
)

Scene = tuple[list[list[Found]], list[list[Right]]]


def made(seed: int, pictures: int = 12, *, crowds: bool = False, ties: bool = False) -> Scene:
    """Right boxes, and found ones that are near them, doubled, missing or elsewhere."""
    chance = np.random.default_rng(seed)
    names = ["dog", "cat", "ball"]

    def box() -> Box:
        x, y, w, h = chance.integers(0, 60), chance.integers(0, 60), chance.integers(4, 40), chance.integers(4, 40)
        return float(y), float(x), float(y + h), float(x + w)

    def near(one: Box) -> Box:
        y0, x0, y1, x1 = one
        dy, dx, dh, dw = chance.integers(-3, 4, 4)
        return float(y0 + dy), float(x0 + dx), float(max(y1 + dh, y0 + dy + 1)), float(max(x1 + dw, x0 + dx + 1))

    found, right = [], []
    for _ in range(pictures):
        true = [
            Right(str(chance.choice(names)), box(), bool(crowds and chance.random() < 0.3))
            for _ in range(chance.integers(0, 6))
        ]
        given = [
            Found(one.name, near(one.box), 0.0) for one in true if chance.random() < 0.8 for _ in range(chance.integers(1, 3))
        ]
        given += [Found(str(chance.choice([*names, "bird"])), box(), 0.0) for _ in range(chance.integers(0, 4))]
        scores = chance.integers(0, 4, len(given)) / 4 if ties else chance.random(len(given))
        found.append([one._replace(score=float(score)) for one, score in zip(given, scores, strict=True)])
        right.append(true)
    return found, right


def theirs(found: list[list[Found]], right: list[list[Right]]) -> tuple[float, float]:
    """AP and AP50 of pycocotools."""
    names = sorted({one.name for boxes in [*found, *right] for one in boxes})

    def row(number: int, one: Found | Right) -> dict[str, object]:
        y0, x0, y1, x1 = one.box
        sides = [x0, y0, x1 - x0, y1 - y0]
        return {"image_id": number, "category_id": names.index(one.name), "bbox": sides, "area": sides[2] * sides[3]}

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        rows = [row(number, one) | {"iscrowd": int(one.crowd)} for number, boxes in enumerate(right) for one in boxes]
        truth.dataset = {
            "images": [{"id": number} for number in range(len(right))],
            "categories": [{"id": number} for number in range(len(names))],
            "annotations": [one | {"id": place + 1} for place, one in enumerate(rows)],
        }
        truth.createIndex()
        given = truth.loadRes([row(number, one) | {"score": one.score} for number, boxes in enumerate(found) for one in boxes])
        judge = COCOeval(truth, given, "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return float(judge.stats[0]), float(judge.stats[1])


@pytest.mark.parametrize("crowds", [False, True])
@pytest.mark.parametrize("ties", [False, True])
def test_average_precision_is_cocos(crowds: bool, ties: bool) -> None:
    for seed in range(6):
        found, right = made(seed, crowds=crowds, ties=ties)
        rows = detection_rows(found, right)
        wanted = theirs(found, right)
        assert mean_average_precision(rows) == pytest.approx(wanted[0], abs=1e-9)
        assert average_precision_50(rows) == pytest.approx(wanted[1], abs=1e-9)
        assert 0 < wanted[0] < wanted[1] < 1


def test_pictures_drawn_anew_are_pictures_given_again() -> None:
    found, right = made(3)
    rows, drawn = detection_rows(found, right), np.random.default_rng(0).integers(0, 12, 12)
    again = detection_rows([found[place] for place in drawn], [right[place] for place in drawn])
    assert mean_average_precision(rows[drawn]) == pytest.approx(mean_average_precision(again), abs=1e-12)
    value = estimate(rows, mean_average_precision, rounds=100)
    assert value.low < value.value < value.high


def test_only_the_hundred_surest_of_a_name_count() -> None:
    right = [[Right("dog", (0.0, 0.0, 10.0, 10.0))]]
    crowd = [Found("dog", (50.0, 50.0, 60.0, 60.0), 0.9)] * 100
    late = [Found("dog", (0.0, 0.0, 10.0, 10.0), 0.1)]
    assert mean_average_precision(detection_rows([crowd + late], right)) == 0.0
    assert mean_average_precision(detection_rows([crowd[1:] + late], right)) == pytest.approx(0.01)


def test_perfect_and_empty() -> None:
    box = (0.0, 0.0, 4.0, 4.0)
    assert mean_average_precision(detection_rows([[Found("a", box, 0.3)]], [[Right("a", box)]])) == 1.0
    assert mean_average_precision(detection_rows([[]], [[Right("a", box)]])) == 0.0
    assert math.isnan(mean_average_precision(detection_rows([[Found("a", box, 0.3)]], [[]])))
    assert math.isnan(mean_average_precision(detection_rows([], [])))
    assert len(THRESHOLDS) == 10


def test_overlap_is_pycocotools() -> None:
    chance = np.random.default_rng(0)
    for _ in range(200):
        corners = np.sort(chance.integers(0, 12, (2, 2, 2)).astype(float), axis=1)
        one, other = (tuple(float(edge) for edge in box.reshape(-1)) for box in corners)
        sides = [np.array([[box[1], box[0], box[3] - box[1], box[2] - box[0]]]) for box in (one, other)]
        for crowd in (False, True):
            with np.errstate(all="ignore"):
                wanted = float(np.nan_to_num(mask.iou(sides[0], sides[1], [crowd])[0, 0]))
            assert overlap(one, other, crowd=crowd) == pytest.approx(wanted, abs=1e-12)  # type: ignore[arg-type]
            turned = [(box[1], box[0], box[3], box[2]) for box in (one, other)]
            assert overlap(turned[0], turned[1], crowd=crowd) == pytest.approx(wanted, abs=1e-12)


def test_a_hit_needs_a_box_and_half_an_overlap() -> None:
    right = (0.0, 0.0, 2.0, 2.0)
    assert hit((0.0, 0.0, 2.0, 1.0), right) == 1.0
    assert hit((0.0, 0.0, 2.0, 0.9), right) == 0.0
    assert hit(None, right) == 0.0
    assert hit((2.0, 2.0, 0.0, 0.0), right) == 0.0  # corners the wrong way round
    assert hit((0.0, 0.0, 2.0, 1.5), right, 0.75) == 1.0
