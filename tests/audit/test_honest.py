"""Honest models, noisy but sighted, pass: in under 5 % of simulated runs does any check of answers fail."""

from __future__ import annotations

import random

import pytest

from sensorium.audit import grounding
from sensorium.audit.checks import findings
from sensorium.audit.exam import Exam
from sensorium.evaluation.result import Finding
from tests.audit.subjects import KINDS, Sighted, drawn, sit


def honest(seed: int) -> Exam:
    """A run of 60, 120 or 250 items, of all kinds or of yes-or-no questions with 15, 50 or 85 % yes.

    The model errs in 10 to 50 % of its looks; then it guesses anew each time, or the same for the same question. It may be
    wordy, or say nothing at times.
    """
    chance = random.Random(seed)
    count, yes = chance.choice((60, 120, 250)), chance.choice((None, None, 0.15, 0.5, 0.85))
    model = Sighted(
        chance.choice((0.1, 0.3, 0.5)),
        seed,
        steady=chance.random() < 0.5,
        wordy=chance.choice(("{}", "{}.", "{}, I think.")),
        blots=chance.choice((0.0, 0.02)),
    )
    return sit(model, drawn(count, seed, KINDS if yes is None else ("existence",), yes))


def alarms(seeds: range) -> list[tuple[int, list[Finding]]]:
    runs = ((seed, [found for found in findings([honest(seed)]) if not found.passed]) for seed in seeds)
    return [(seed, found) for seed, found in runs if found]


def test_honest_runs_pass() -> None:
    assert alarms(range(4)) == []


@pytest.mark.slow
def test_fewer_than_one_honest_run_in_twenty_is_accused() -> None:
    assert len(alarms(range(1000, 1200))) <= 10


def test_a_right_share_of_yes_is_no_defect_however_skewed() -> None:
    exam = sit(Sighted(0.05), drawn(120, 3, ("existence",), yes=0.9))
    assert all(found.passed for found in findings([exam]))


def test_an_exam_whose_answers_are_all_but_alike_accuses_nobody() -> None:
    exam = sit(Sighted(0.05), drawn(100, 4, ("existence",), yes=0.98))
    assert all(found.passed for found in findings([exam]))


def test_too_few_items_accuse_nobody() -> None:
    exam = sit(Sighted(1.0, steady=True), drawn(15, 4))
    assert [found.check for found in findings([exam])] == ["template"]


def test_a_weak_model_is_not_said_to_ignore_what_it_is_shown_when_most_answers_change_with_it() -> None:
    runs = [sit(Sighted(0.95, seed), drawn(32, seed, ("colour",))) for seed in range(30)]
    claims = [found.claim for exam in runs for found in grounding.check(exam) if not found.passed]
    assert all(claim.startswith("What the model is shown is no help to it") for claim in claims)
    assert len(claims) <= 2
