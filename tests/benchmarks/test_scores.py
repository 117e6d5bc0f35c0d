"""The arithmetic of the measurements."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.estimate import estimate
from benchmarks.retrieval import recalls


def test_an_interval_holds_the_value_and_narrows_with_more_items() -> None:
    few, many = (estimate([0.0, 1.0] * count) for count in (10, 1000))
    assert few.value == many.value == 0.5
    assert few.low < 0.5 < few.high
    assert many.high - many.low < 0.2 * (few.high - few.low)
    assert str(many).endswith("n=2000")


def test_any_measure_of_rows_can_be_estimated() -> None:
    rows = np.array([[1, 2], [3, 4]])
    assert estimate(rows, lambda x: float(x[:, 0].sum() / x[:, 1].sum())).value == pytest.approx(4 / 6)


def test_recall_counts_the_best_of_a_photos_captions() -> None:
    images_PD = torch.eye(3)
    texts_XD = torch.stack([images_PD[0], images_PD[1], images_PD[1], images_PD[2], images_PD[2], images_PD[0]])
    found = recalls(images_PD, texts_XD)
    assert found["text to photo R@1"].value == pytest.approx(0.5)
    assert found["photo to text R@1"].value == pytest.approx(1.0)
    assert found["text to photo R@1"].n == 3


def test_bleu_of_summed_counts_is_that_of_the_scorer() -> None:
    pytest.importorskip("pycocoevalcap")
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer

    from benchmarks.captions import _bleu, _closest

    scorer = BleuScorer(n=4)
    for said, right in (("a dog runs on the grass", ["a dog runs on grass", "the dog runs"]), ("a man", ["a man sits there"])):
        scorer += (said, right)
    value, _ = scorer.compute_score(option="closest", verbose=0)
    counts = np.array([[row["testlen"], _closest(row), *row["guess"], *row["correct"]] for row in scorer.ctest], dtype=float)
    assert _bleu(counts) == pytest.approx(value[3], rel=1e-4)
