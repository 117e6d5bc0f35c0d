"""Curves and corruption errors: by hand on small tables, paired, and refused where they would mean nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from sensorium.errors import DataError, RequestError
from sensorium.estimate import Estimate, NotMeasured
from sensorium.evaluation.kept import Kept, write_answers, write_results
from sensorium.evaluation.result import Outcome, Result, TaskResult
from sensorium.evaluation.stress.against import against, rows, table
from sensorium.evaluation.stress.curve import Marks, corruption_error, curve, marks_of, read_marks
from sensorium.evaluation.task import Reply
from sensorium.evaluation.variant import PLAIN

CURVES = {"fog": ("fog-1", "fog-2"), "jpeg": ("jpeg-1", "jpeg-2")}
SHARES = {PLAIN.name: 0.9, "fog-1": 0.8, "fog-2": 0.5, "jpeg-1": 0.9, "jpeg-2": 0.7}
BASE = {PLAIN.name: 0.8, "fog-1": 0.6, "fog-2": 0.3, "jpeg-1": 0.75, "jpeg-2": 0.55}


def kept(shares: Mapping[str, float], n: int = 200, seed: int = 0, score: str = "right") -> dict[str, list[Kept]]:
    """Answers of which exactly that share is right, in another order for each variant."""
    dice = np.random.default_rng(seed)
    table = {}
    for name, share in shares.items():
        right = dice.permutation(n) < round(share * n)
        table[name] = [
            Kept(str(at), f"picture {at // 2}", "", _asked(name, at), {}, Reply("x"), {score: float(hit)})
            for at, hit in enumerate(right)
        ]
    return table


def _asked(name: str, at: int) -> tuple[dict[str, str], ...]:
    """Every second item is changed by a variant."""
    return ({"content": name if at % 2 else "the same"},)


def marks(shares: Mapping[str, float], seed: int = 0) -> Marks:
    return marks_of(kept(shares, seed=seed), CURVES, "right")


def test_a_curve_gives_scores_and_paired_falls_in_order_of_level() -> None:
    first, second = curve(marks(SHARES), "fog")
    assert (first.variant, second.variant) == CURVES["fog"]
    assert (first.score.value, second.score.value) == (0.8, 0.5)
    assert second.fall.value == pytest.approx(0.4) and second.fall.low < 0.4 < second.fall.high and second.fall.n == 200
    assert first.touched == 0.5


def test_the_mean_corruption_error_is_the_mean_over_kinds_of_ratios_of_sums() -> None:
    found = corruption_error(marks(SHARES), marks(BASE, seed=1))
    fog, jpeg = (0.2 + 0.5) / (0.4 + 0.7), (0.1 + 0.3) / (0.25 + 0.45)
    assert found.kinds["fog"].value == pytest.approx(fog) and found.kinds["jpeg"].value == pytest.approx(jpeg)
    assert found.mean.value == pytest.approx((fog + jpeg) / 2)
    assert found.mean.low < found.mean.value < found.mean.high and found.mean.n == 200
    relative = ((0.7 - 0.2) / (1.1 - 0.4) + (0.4 - 0.2) / (0.7 - 0.4)) / 2
    assert isinstance(found.relative, Estimate) and found.relative.value == pytest.approx(relative)


def test_only_the_kinds_named_count() -> None:
    found = corruption_error(marks(SHARES), marks(BASE), kinds=("jpeg",))
    assert set(found.kinds) == {"jpeg"} and found.mean.value == found.kinds["jpeg"].value


def test_against_itself_it_is_one_without_doubt_for_the_same_items_are_drawn() -> None:
    found = corruption_error(marks(SHARES), marks(SHARES))
    assert found.mean[:3] == pytest.approx((1.0, 1.0, 1.0))


def test_without_a_baseline_the_clean_error_stands_in() -> None:
    found = corruption_error(marks(SHARES))
    assert found.mean.value == pytest.approx(((0.7 / 0.2) + (0.4 / 0.2)) / 2)
    assert isinstance(found.relative, NotMeasured)


def test_a_score_that_is_an_error_is_summed_as_it_is() -> None:
    wrong, base = (marks_of(kept(shares), CURVES, "right", missed=1.0) for shares in (SHARES, BASE))
    assert corruption_error(wrong, base).kinds["fog"].value == pytest.approx((0.8 + 0.5) / (0.6 + 0.3))


def test_words_and_floors_do_not_count_unless_named() -> None:
    curves = CURVES | {"removed": ("blind",), "typos": ("typos-1",)}
    table = kept(SHARES | {"blind": 0.1, "typos-1": 0.5})
    one = marks_of(table, curves, "right")
    assert set(corruption_error(one).kinds) == {"fog", "jpeg"}
    assert set(corruption_error(one, kinds=("typos",)).kinds) == {"typos"}


def test_what_would_mean_nothing_is_refused() -> None:
    large = {name: [row._replace(scores={"right": 3.0}) for row in rows] for name, rows in kept(SHARES).items()}
    with pytest.raises(RequestError, match="is 3 of one item, and an error is 1 less a score of 0..1"):
        corruption_error(marks_of(large, CURVES, "right"))
    with pytest.raises(RequestError, match="stress snow: is not in both runs"):
        corruption_error(marks(SHARES), marks(BASE), kinds=("snow",))
    with pytest.raises(DataError, match="asked 100 items, which are not the 200"):
        corruption_error(marks(SHARES), marks_of(kept(BASE, n=100), CURVES, "right"))
    with pytest.raises(DataError, match="score bleu: is of no single item of as it is"):
        marks_of(kept(SHARES), CURVES, "bleu")
    mixed = kept(SHARES) | {"fog-2": kept(SHARES, n=50)["fog-2"]}
    with pytest.raises(DataError, match="variant fog-2: has 50 items that are not the 200"):
        marks_of(mixed, CURVES, "right")


def test_an_unread_answer_counts_as_missed() -> None:
    table = kept(SHARES)
    table["fog-1"] = [row._replace(scores=None) for row in table["fog-1"]]
    assert curve(marks_of(table, CURVES, "right"), "fog")[0].score.value == 0
    assert curve(marks_of(table, CURVES, "right", missed=1.0), "fog")[0].score.value == 1


def run(folder: Path, said: Mapping[str, list[Kept]], main: str = "right") -> Path:
    outcomes = {name: Outcome({}, len(some)) for name, some in said.items()}
    task = TaskResult("colours", main, {"missed": {"wrong": 1.0}}, outcomes, {}, CURVES | {"removed": ("as it is",)})
    write_results(folder, Result({}, {}, 0, (task,)))
    for name, some in said.items():
        write_answers(folder, "colours", name, some)
    return folder


def test_two_runs_are_set_against_each_other_in_a_table_and_in_json(tmp_path: Path) -> None:
    a, b = run(tmp_path / "a", kept(SHARES)), run(tmp_path / "b", kept(BASE, seed=1))
    found = against(a, b)
    assert found["colours"] == corruption_error(marks(SHARES), marks(BASE, seed=1))
    text = table(found)
    assert "| colours | 0.604 [" in text and "| 200 | fog 0.636 [" in text and ", jpeg 0.571 [" in text
    row = json.loads(json.dumps(rows(found)))["colours"]
    assert row["mean"]["n"] == 200 and set(row["kinds"]) == {"fog", "jpeg"} and row["relative"]["low"] is not None
    assert against(a, b, ("shapes",)) == {} and table({}) == ""


def test_a_task_without_shares_is_named_as_not_measured(tmp_path: Path) -> None:
    large = {name: [row._replace(scores={"right": 3.0}) for row in some] for name, some in kept(SHARES).items()}
    found = against(run(tmp_path / "a", large), run(tmp_path / "b", large))
    assert "not measured: score right: is 3 of one item" in table(found)
    assert "is 3 of one item" in rows(found)["colours"]["reason"]


def test_marks_are_read_from_a_run_folder(tmp_path: Path) -> None:
    table = kept(SHARES, n=20)
    run(tmp_path, table)
    read = read_marks(tmp_path, "colours", ("fog",))
    assert read.curves == {"fog": CURVES["fog"]}
    assert all((read.columns[name] == marks_of(table, CURVES, "right").columns[name]).all() for name in CURVES["fog"])
    assert not read.lower
    wrong = {name: [row._replace(scores={"wrong": 1.0}) for row in some] for name, some in table.items()}
    assert read_marks(run(tmp_path / "wrong", wrong, "wrong"), "colours", ("fog",)).lower, "its missed items count 1"
    with pytest.raises(DataError, match="holds no task shapes"):
        read_marks(tmp_path, "shapes")
    with pytest.raises(DataError, match="holds no snow of colours. Run it with --stress snow"):
        read_marks(tmp_path, "colours", ("snow",))


@pytest.mark.slow
def test_intervals_of_the_mean_corruption_error_hold_the_truth_as_often_as_they_say() -> None:
    """300 simulated pairs of runs on 150 items, some of which are harder for both models."""
    truth = np.mean([(0.2 + 0.5) / (0.4 + 0.7), (0.1 + 0.3) / (0.25 + 0.45)])
    held = 0
    for seed in range(300):
        dice = np.random.default_rng(seed)
        hard = dice.choice([0.5, 1.5], 150)
        own, other = (
            {name: (dice.random(150) >= (1 - share) * hard).astype(np.float64) for name, share in shares.items()}
            for shares in (SHARES, BASE)
        )
        ids = tuple(map(str, range(150)))
        runs = [Marks("right", ids, ids, CURVES, columns, {}) for columns in (own, other)]
        found = corruption_error(runs[0], runs[1], seed=seed, rounds=300).mean
        held += found.low <= truth <= found.high
    assert 0.92 <= held / 300 <= 0.98
