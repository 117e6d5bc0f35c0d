"""Paired comparison: hand-made tables, scipy's permutation test, honest intervals, and every refusal."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from sensorium.errors import RequestError
from sensorium.estimate import Estimate, Rows, estimate, mcnemar
from sensorium.evaluation.compare import compare
from sensorium.evaluation.comparison import to_json
from sensorium.evaluation.kept import Kept, read_results, write_answers, write_results
from sensorium.evaluation.paired import corpus_difference, difference, effect, holm, sign_flips
from sensorium.evaluation.report.compared import markdown, page, write_comparison
from sensorium.evaluation.result import Outcome, Result, TaskResult
from sensorium.evaluation.task import Corpus, Item, Reply
from tests.evaluation.report.maker import make_run
from tests.evaluation.report.test_report import Seen

ABOUT = {"version": "1", "split": "test", "data_sha256": "d" * 64, "prompts_sha256": "p" * 64}


def write(
    folder: Path,
    scores: Sequence[float | None],
    clusters: Sequence[str] = (),
    main: str = "hit",
    found: float | None = None,
    **about: str,
) -> Path:
    """A run of one task with these scores; `found` is its main score where that is not their mean."""
    names = clusters or [""] * len(scores)
    rows = [
        Kept(
            f"item {number}",
            names[number],
            f"{folder.name} {number}",
            ({"role": "user", "content": [{"type": "text", "text": f"Is it {number}?"}]},),
            {"answer": "yes", "kind": "even" if number % 2 == 0 else "odd"},
            Reply(f"said {score}"),
            None if score is None else {"hit": score},
        )
        for number, score in enumerate(scores)
    ]
    value = estimate([score or 0.0 for score in scores], rounds=50)
    outcome = Outcome({"hit": value, main: value if found is None else Estimate(found, found, found, len(scores))}, len(scores))
    write_answers(folder, "task", "as it is", rows)
    task = TaskResult("task", main, ABOUT | about, {"as it is": outcome})
    write_results(folder, Result({"name": folder.name}, {"version": "1"}, 0, (task,)))
    return folder


A = [1.0] * 30 + [0.0] * 10 + [1.0] * 12 + [0.0] * 8
B = [1.0] * 30 + [0.0] * 10 + [0.0] * 12 + [1.0] * 8


def test_a_table_of_two_by_two(tmp_path: Path) -> None:
    (row,) = compare(write(tmp_path / "a", A), write(tmp_path / "b", B)).tasks
    assert row.difference.value == pytest.approx(4 / 60) and row.difference.n == 60
    assert (row.only_a, row.only_b) == (12, 8)
    assert row.test == "McNemar's test, exact"
    assert row.p == row.mcnemar == mcnemar([x > 0 for x in A], [x > 0 for x in B])
    assert row.p == pytest.approx(stats.binomtest(8, 20).pvalue)
    assert row.effect_name == "Cohen's g" and row.effect is not None
    assert row.effect.value == pytest.approx(12 / 20 - 0.5) and row.effect.n == 20
    assert {pair.a.id for pair in row.pairs} == {f"item {number}" for number in range(40, 60)}
    assert {kind.kind: (kind.only_a, kind.only_b) for kind in row.kinds} == {"even": (6, 4), "odd": (6, 4)}


def test_shared_pictures_are_drawn_and_flipped_together(tmp_path: Path) -> None:
    clusters = [f"picture {number // 10}" for number in range(60)]
    (row,) = compare(write(tmp_path / "a", A, clusters), write(tmp_path / "b", B, clusters)).tasks
    assert row.test == "sign flips by cluster" and row.mcnemar is not None and row.p > row.mcnemar


def test_an_answer_that_cannot_be_read_counts_as_the_run_counted_it(tmp_path: Path) -> None:
    (row,) = compare(write(tmp_path / "a", [1.0, 1.0, 1.0, None]), write(tmp_path / "b", [1.0, 0.0, 1.0, 1.0])).tasks
    assert row.difference.value == 0 and (row.only_a, row.only_b) == (1, 1)


def test_several_tasks_are_corrected(tmp_path: Path) -> None:
    a, b = make_run(tmp_path / "a", 0.9, "one", 24), make_run(tmp_path / "b", 0.3, "two", 24, seed=5)
    found = compare(a, b)
    assert [row.p_holm for row in found.tasks] == holm([row.p for row in found.tasks])
    (alone,) = compare(a, b, ["world_sound"]).tasks
    assert alone.p_holm == alone.p == found.tasks[1].p
    assert json.loads(json.dumps(to_json(found)))["tasks"][0]["difference"]["n"] == 24


def test_the_pages_show_where_they_differ(tmp_path: Path) -> None:
    a, b = make_run(tmp_path / "a", 0.9, "one", 24, hostile=True), make_run(tmp_path / "b", 0.3, "<b>two", 24, seed=5)
    found = compare(a, b)
    paths = write_comparison(found, tmp_path / "out", (a, b, tmp_path / "data"), samples=8)
    assert [path.name for path in paths] == ["compare.md", "compare.json", "compare.html"]
    seen = Seen(paths[2].read_text("utf-8"))
    tags = [tag for tag, _ in seen.tags]
    shown = sum(min(8, len(row.pairs)) for row in found.tasks)
    assert tags.count("article") == shown and tags.count("img") + tags.count("audio") == shown and "b" not in tags
    assert "| kind of question |" in markdown(found)
    assert page(found, (a, b), samples=2).count("is not kept with the run") == 2


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data_sha256": "e" * 64}, "data_sha256 is dddddddddddddddd in A and eeeeeeeeeeeeeeee in B"),
        ({"prompts_sha256": "q" * 64}, "prompts_sha256 is pppppppppppppppp in A and qqqqqqqqqqqqqqqq in B"),
        ({"split": "dev"}, "split is test in A and dev in B"),
    ],
)
def test_what_was_not_asked_alike_is_not_compared(tmp_path: Path, changed: dict[str, str], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        compare(write(tmp_path / "a", A), write(tmp_path / "b", B, **changed))


def test_other_items_are_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="task task: has 2 items in one run only: item 58, item 59"):
        compare(write(tmp_path / "a", A), write(tmp_path / "b", B[:58]))


def test_another_prompt_of_an_item_is_named(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", A), write(tmp_path / "b", B)
    path = b / "answers" / "task" / "as-it-is.jsonl"
    path.write_text(path.read_text("utf-8").replace("Is it 7?", "Is it seven?"), "utf-8")
    with pytest.raises(RequestError, match="item 7: has another prompt in B than in A"):
        compare(a, b)


def test_tasks_that_are_not_in_both_are_named(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", A), write(tmp_path / "b", B)
    with pytest.raises(RequestError, match=r"task other: is not in .*a\. It has task"):
        compare(a, b, ["other"])
    result = read_results(b)
    write_results(b, replace(result, tasks=(replace(result.tasks[0], task="else"),)))
    with pytest.raises(RequestError, match="have no task in common"):
        compare(a, b)


def test_other_settings_of_the_model_are_said(tmp_path: Path) -> None:
    (row,) = compare(write(tmp_path / "a", A), write(tmp_path / "b", B, template_sha256="x")).tasks
    assert row.notes == ("template_sha256 is not the same in A and B",)


def share(rows: Rows) -> float:
    """A score that is no mean: hits over tries."""
    return float(rows[:, 0].sum() / rows[:, 1].sum())


def test_a_score_that_is_no_mean_is_compared_where_it_can_be_measured(tmp_path: Path) -> None:
    def rows(items: Sequence[Item], replies: Sequence[Reply]) -> Rows:
        return np.array(
            [
                [float(reply.text == "said 1.0"), 1.0 + len(item.sample.id) % 2]
                for item, reply in zip(items, replies, strict=True)
            ]
        )

    tries = sum(1.0 + len(f"item {number}") % 2 for number in range(60))
    a, b = (write(tmp_path / name, hits, main="share", found=sum(hits) / tries) for name, hits in (("a", A), ("b", B)))
    (told,) = compare(a, b).tasks
    assert told.score == "hit" and "share is no mean over items" in told.notes[0]
    (row,) = compare(a, b, corpora={"task": {"share": Corpus(rows, share)}}).tasks
    assert row.notes == ("effect, kinds of question and items are by hit",)
    assert row.score == "share" and row.difference.value == pytest.approx(4 / tries) and row.test == "approximate randomisation"
    assert row.difference.low < row.difference.value < row.difference.high and row.p > 0.2
    (other,) = compare(a, b, corpora={"task": {"share": Corpus(rows, lambda some: share(some) / 2)}}).tasks
    assert other.score == "hit" and other.notes[0].startswith("share of these answers is not what the runs found")


def test_holm_step_by_step() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == [] and holm([0.7, 0.9]) == [1.0, 1.0]


def test_sign_flips_are_scipys_permutation_test() -> None:
    few = np.random.default_rng(0).normal(0.4, 1, 10)

    def statistic(x: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.abs(x.sum(axis))

    exact = stats.permutation_test((few,), statistic, permutation_type="samples", n_resamples=np.inf, alternative="greater")
    assert sign_flips(few.tolist(), [str(number) for number in range(10)]) == pytest.approx(exact.pvalue)
    many = np.random.default_rng(1).normal(0.15, 1, 200)
    about = stats.ttest_1samp(many, 0).pvalue
    assert sign_flips(many.tolist(), [str(number) for number in range(200)]) == pytest.approx(about, abs=0.02)


def test_no_difference_at_all_still_has_an_interval() -> None:
    names = [str(number) for number in range(50)]
    found = difference([0.0] * 50, names)
    assert found.value == 0 and found.low == pytest.approx(-found.high) and 0.03 < found.high < 0.06
    won = difference([1.0] * 5 + [0.0] * 45, names)
    assert 0 < won.value < won.high and won.low < won.value and won.low > -0.01
    assert effect([0.0] * 50, names, binary=True) is None


def test_cohens_d() -> None:
    values = np.random.default_rng(2).normal(0.5, 1, 100)
    found = effect(values.tolist(), [str(number) for number in range(100)], binary=False)
    assert found is not None and found.value == pytest.approx(values.mean() / values.std(ddof=1))
    assert found.low < found.value < found.high


@pytest.mark.slow
def test_the_interval_of_a_difference_holds_the_truth() -> None:
    """Two models of 80 and 70 % that share most of their luck, 40 items: of 200 intervals 95 % should hold 0.1."""
    dice, names, held = np.random.default_rng(3), [str(number) for number in range(40)], 0
    for _ in range(200):
        luck = dice.random(40)
        values = (luck < 0.8).astype(float) - ((luck < 0.6) | (luck > 0.9)).astype(float)
        found = difference(values.tolist(), names)
        held += found.low <= 0.1 <= found.high
    assert 184 <= held <= 198


def test_a_corpus_difference_of_means_is_the_paired_one() -> None:
    dice = np.random.default_rng(4)
    one, two = dice.normal(0.3, 1, (80, 1)), dice.normal(0, 1, (80, 1))
    names = [str(number) for number in range(80)]
    found = corpus_difference(one, two, names, lambda rows: float(rows.mean()))
    plain = difference((one - two)[:, 0].tolist(), names)
    assert found.difference.value == pytest.approx(plain.value) and math.isclose(found.difference.low, plain.low, abs_tol=0.01)
    assert found.p == pytest.approx(sign_flips((one - two)[:, 0].tolist(), names), abs=0.03)


def test_bounds_that_are_nowhere_are_null_in_json(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", [0.3, 0.7], ["one", "one"]), write(tmp_path / "b", [0.1, 0.2], ["one", "one"])
    row = json.loads(json.dumps(to_json(compare(a, b)), allow_nan=False))["tasks"][0]
    assert row["difference"] == {"value": pytest.approx(0.35), "low": None, "high": None, "n": 2}
