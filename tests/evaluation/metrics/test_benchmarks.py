"""The two measurements of the metrics themselves, at toy size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import coverage, metric_parity
from benchmarks.coverage import Kind, covered, covered_by_percentile
from sensorium.estimate import Estimate
from sensorium.evaluation.metrics import speech


def kind() -> Kind:
    """Few clusters of many items that are much alike."""
    chance = np.random.default_rng(0)
    clusters = np.repeat(np.arange(2000), chance.integers(1, 9, 2000))
    return Kind(np.round(chance.beta(2, 2, 2000)[clusters], 2), 10, clusters=clusters)


def test_our_intervals_of_few_clusters_hold_the_truth_as_often_as_they_say() -> None:
    held = covered(kind(), 200, 1)
    assert 0.9 < np.mean(held) < 0.99
    assert sum(covered_by_percentile(kind(), 10, 1)) <= sum(held[:10])


def test_an_interval_of_a_ratio_holds_the_truth() -> None:
    chance = np.random.default_rng(1)
    said = chance.poisson(10, 3000) + 1
    rows = np.stack([chance.binomial(said, 0.2), said], 1).astype(float)
    assert 0.88 < np.mean(covered(Kind(rows, 30, speech.error_rate), 60, 2)) <= 1


def test_an_interval_that_misses_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "estimate", lambda *_, **__: Estimate(0.95, 0.9, 1.0, 1))
    assert covered(kind(), 5, 0) == [False] * 5


def photos(folder: Path) -> Path:
    lines = [
        {
            "image": f"{number}.jpg",
            "split": "test",
            "captions": [f"a {colour} dog runs .", f"the {colour} dog", f"{colour} animal on grass ."],
        }
        for number, colour in enumerate(["red", "black", "white", "brown"])
    ]
    (folder / "flickr8k").mkdir()
    (folder / "flickr8k" / "captions.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    return folder


def test_the_parity_command_says_that_all_is_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "parity.json"
    monkeypatch.setattr("sys.argv", ["metric_parity", "--data", str(photos(tmp_path)), "--no-java", "--out", str(out)])
    with pytest.raises(SystemExit) as end:
        metric_parity.main()
    assert end.value.code == 0, capsys.readouterr().out
    assert "all equal" in capsys.readouterr().out
    assert json.loads(out.read_text())["4 photos: CIDEr-D"]["n"] == 4


def test_a_difference_ends_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    report = metric_parity.Report()
    report.add("a metric", [0.5, 0.5], [0.5, 0.500002], "items")
    assert not report.equal
    assert "DIFFERS" in capsys.readouterr().out
