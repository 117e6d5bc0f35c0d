"""Votes: strengths against closed form, a general optimiser and choix's values; agreement against the published example."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from sensorium.errors import DataError
from sensorium.evaluation.agreement import interval, krippendorff, nominal
from sensorium.evaluation.preference import agreement, fit, prefer
from sensorium.evaluation.votes import Choice, Vote, append_undo, append_vote, read_votes

WINS = np.array([[0, 7, 3.5], [3, 0, 5], [6.5, 2, 0]])


def vote(number: int, left: str, right: str, choice: Choice, rater: str = "anna") -> Vote:
    return Vote(rater, f"pair {number}", f"task/{number}", left, right, choice)


def duels(won: int, lost: int, tied: int = 0) -> list[Vote]:
    """Between a and b, on alternating sides."""
    said = ["a"] * won + ["b"] * lost + ["tie"] * tied
    votes = []
    for number, name in enumerate(said):
        left, right = ("a", "b") if number % 2 else ("b", "a")
        votes.append(vote(number, left, right, "tie" if name == "tie" else "left" if name == left else "right"))
    return votes


def test_strengths_are_those_of_a_general_optimiser() -> None:
    def unlikely(strength: np.ndarray) -> float:
        return float(sum(WINS[i, j] * np.log1p(np.exp(strength[j] - strength[i])) for i in range(3) for j in range(3)))

    best = minimize(unlikely, np.zeros(3), tol=1e-12).x
    assert fit(WINS) == pytest.approx(best - best.mean(), abs=1e-5)


def test_strengths_are_choixs() -> None:
    """Those of `choix.ilsr_pairwise` (0.4.1) on the same wins, each counted twice to make them whole."""
    assert fit(WINS) == pytest.approx([0.06675133, -0.07510245, 0.00835112], abs=1e-7)


def test_two_models_have_a_closed_form() -> None:
    found = prefer(duels(30, 10, 4), rounds=100)
    odds = (30 + 2 + 0.5) / (10 + 2 + 0.5)
    assert found.strengths["a"].value == pytest.approx(math.log(odds) / 2) and list(found.strengths) == ["a", "b"]
    win = found.wins["a", "b"]
    assert win.value == pytest.approx(odds / (1 + odds)) and win.low < win.value < win.high and win.n == 44
    assert (found.votes, found.ties, found.skipped) == (44, 4, 0)


def test_a_model_that_wins_always_is_finitely_strong() -> None:
    found = prefer(duels(12, 0), rounds=100)
    assert found.wins["a", "b"].value == pytest.approx(12.5 / 13) and math.isfinite(found.strengths["a"].high)


def test_a_side_that_decides_is_seen() -> None:
    found = prefer([vote(number, "a" if number % 2 else "b", "b" if number % 2 else "a", "left") for number in range(40)], 100)
    assert found.left is not None and found.left.low > 0.9
    assert found.wins["a", "b"].value == pytest.approx(0.5)


def test_votes_on_one_item_count_as_what_they_are() -> None:
    """Ten people on ten items know less than one hundred items tell."""
    apart = [Vote("anna", f"{n}", f"{n}", "a", "b", "left" if n % 10 < 7 else "right") for n in range(100)]
    together = [one._replace(rater=f"r{n // 10}", item=f"{n % 10}", pair=f"{n % 10}") for n, one in enumerate(apart)]
    wide, narrow = prefer(together, 400).wins["a", "b"], prefer(apart, 400).wins["a", "b"]
    assert wide.value == pytest.approx(narrow.value) and wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_models_that_never_meet_have_no_common_scale() -> None:
    with pytest.raises(DataError, match="never link a, b to c, d"):
        prefer([vote(1, "a", "b", "left"), vote(2, "c", "d", "right")])


def test_votes_without_any_choice_say_nothing() -> None:
    with pytest.raises(DataError, match="are 1, none of them for an answer or a tie"):
        prefer([vote(1, "a", "b", "skip")])


PUBLISHED = """
1 2 3 3 2 1 4 1 2 . . .
1 2 3 3 2 2 4 1 2 5 . 3
. 3 3 3 2 3 4 2 2 5 1 .
1 2 3 3 2 4 4 1 2 5 1 .
"""


def test_agreement_is_the_published_example() -> None:
    """Krippendorff 2011, section C, four observers and twelve units: nominal 0.743, interval 0.849."""
    table = [line.split() for line in PUBLISHED.strip().splitlines()]
    counts = np.array([[sum(row[unit] == str(value) for row in table) for value in range(1, 6)] for unit in range(12)], float)
    assert krippendorff(counts, nominal(5)) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff(counts, interval(np.arange(1.0, 6.0))) == pytest.approx(0.849, abs=5e-4)


def test_raters_agree_whatever_the_side() -> None:
    first = [vote(number, "a", "b", "left" if number % 2 else "right") for number in range(20)]
    second = [vote(number, "b", "a", "right" if number % 2 else "left", "ben") for number in range(20)]
    same = agreement(first + second, rounds=100)
    assert same is not None and same.value == pytest.approx(1) and same.n == 20
    against = agreement(first + [one._replace(choice="left") for one in second], rounds=100)
    assert against is not None and against.value < 0.2
    assert agreement(first) is None
    assert math.isnan(krippendorff(np.array([[2.0, 0.0], [3.0, 0.0]]), nominal(2)))


def test_the_file_of_votes_is_taken_up_again(tmp_path: Path) -> None:
    path = tmp_path / "votes" / "v.jsonl"
    first, second = vote(1, "a", "b", "left"), vote(2, "b", "a", "tie")
    append_vote(path, first)
    append_vote(path, second)
    append_undo(path, "anna", first.pair)
    append_vote(path, second._replace(choice="skip"))
    assert read_votes(path) == [second._replace(choice="skip")]
    assert len(path.read_text("utf-8").splitlines()) == 4


def test_a_line_cut_short_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    append_vote(path, vote(1, "a", "b", "left"))
    with path.open("a") as file:
        file.write('{"vote": {"rat')
    assert len(read_votes(path)) == 1
    append_vote(path, vote(2, "a", "b", "right"))
    assert [one.pair for one in read_votes(path)] == ["pair 1", "pair 2"]


@pytest.mark.parametrize("line", ["[]", "{}", '{"vote": {"rater": "anna"}}', "no"])
def test_a_line_that_is_no_vote_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "v.jsonl"
    path.write_text(f"{line}\n")
    with pytest.raises(DataError, match=r"v\.jsonl, line 1: is no vote"):
        read_votes(path)


def test_a_choice_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    append_vote(path, vote(1, "a", "b", "middle"))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="has the choice 'middle'. It is one of left, right, tie, skip"):
        read_votes(path)
    with pytest.raises(DataError, match=r"none\.jsonl: is not there"):
        read_votes(tmp_path / "none.jsonl")
