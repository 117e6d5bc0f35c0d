"""Short answers: ANLS against its package, relaxed accuracy, likelihoods, and letters that are read or not."""

from __future__ import annotations

import random

import pytest
from anls import anls_score

from sensorium.errors import RequestError
from sensorium.evaluation.metrics.answers import (
    anls,
    byte_lengths,
    exact_match,
    letter_of,
    likeliest,
    relaxed_accuracy,
    yes_or_no,
)

CHOICES = ["a red ball", "a blue box", "two dogs", "a dog"]


def test_exact_match_is_blind_to_case_spaces_and_the_final_mark() -> None:
    assert exact_match(" Two  Dogs. ", ["two dogs"]) == 1.0
    assert exact_match("two dog", ["two dogs", "2 dogs"]) == 0.0
    assert exact_match("2 dogs", ["two dogs", "2 dogs"]) == 1.0
    assert exact_match("Two", ["two"], normal=str) == 0.0
    assert exact_match("", [""]) == 1.0
    assert exact_match("СОБАКА!", ["собака"]) == 1.0


def test_anls_is_that_of_its_package() -> None:
    dice = random.Random(0)
    texts = ["", " ", "a", "Total: 5", "犬が走る", "犬", "total 5", "TOTAL:  5"]
    texts += ["".join(dice.choice("abC 1.") for _ in range(dice.randrange(0, 12))) for _ in range(60)]
    for _ in range(600):
        answer, right = dice.choice(texts), dice.sample(texts, dice.randrange(1, 4))
        assert anls(answer, right) == pytest.approx(anls_score(answer, right), abs=1e-12), (answer, right)


def test_anls_by_hand() -> None:
    assert anls("hello", ["hallo"]) == pytest.approx(0.8)
    assert anls("ab", ["ac"]) == 0.0  # half is too far
    assert anls("ab", ["ac"], threshold=0.6) == 0.5


@pytest.mark.parametrize(
    ("answer", "right", "wanted"),
    [
        ("105", "100", 1.0),
        ("105.1", "100", 0.0),
        ("-95", "-100", 1.0),
        ("0.52", "50%", 1.0),
        ("52%", "50%", 1.0),
        ("0", "0", 1.0),
        ("0.0", "0", 0.0),
        ("Blue", "blue", 1.0),
        ("blue.", "blue", 0.0),
        ("", "5", 0.0),
        ("12", "twelve", 0.0),
        ("nan", "5", 0.0),
    ],
)
def test_relaxed_accuracy(answer: str, right: str, wanted: float) -> None:
    assert relaxed_accuracy(answer, [right]) == wanted
    assert relaxed_accuracy(answer, ["nothing like it", right]) == wanted


def test_a_choice_is_likeliest_by_answer_token_or_byte() -> None:
    logprobs, tokens = [-4.0, -6.0, -7.0], [1, 2, 10]
    assert likeliest(logprobs) == 0
    assert likeliest(logprobs, per="token", lengths=tokens) == 2
    assert likeliest([-4.0, -5.0], per="byte", lengths=byte_lengths(["no", "не так"])) == 1
    assert likeliest([-1.0, -1.0]) == 0
    assert likeliest([float("-inf"), -900.0]) == 1
    assert byte_lengths(["", "犬", "dog"]) == [1, 3, 3]


def test_likelihoods_that_do_not_fit_are_refused() -> None:
    with pytest.raises(RequestError, match="choices: have the log-probabilities"):
        likeliest([])
    with pytest.raises(RequestError, match="nan"):
        likeliest([-1.0, float("nan")])
    with pytest.raises(RequestError, match="Give the length of each in tokens, at least 1"):
        likeliest([-1.0, -2.0], per="token", lengths=[3, 0])
    with pytest.raises(RequestError, match="have 2 log-probabilities and the lengths None"):
        likeliest([-1.0, -2.0], per="byte")


@pytest.mark.parametrize(
    ("reply", "wanted"),
    [
        ("B", 1),
        ("b", 1),
        ("(C)", 2),
        ("c)", 2),
        ("B.", 1),
        ("B. a blue box", 1),
        ("D: because it barks", 3),
        ("**A**", 0),
        ("**A)** a red ball", 0),
        ("The answer is (B).", 1),
        ("Answer: C", 2),
        ("answer is **D**, a dog", 3),
        ("The correct answer is option B", 1),
        ("a blue box", 1),
        ("Two dogs.", 2),
        ("I think it is (A), surely.", 0),
        ("A dog is running", None),
        ("It is A or B", None),
        ("(A) or (B)", None),
        ("The answer is A. No, the answer is B.", None),
        ("The answer is a blue thing", None),
        ("E", None),
        ("", None),
        ("no idea", None),
        ("Below", None),
        ("A) a red ball B) a blue box", None),
        ("A. a red ball\nB. a blue box", None),
        ("B. It has vitamin A.", 1),
        ("(b) a blue box", 1),
        ("a", 0),
    ],
)
def test_a_letter_is_read_or_nothing_is(reply: str, wanted: int | None) -> None:
    assert letter_of(reply, CHOICES) == wanted


def test_a_choice_told_twice_names_neither() -> None:
    assert letter_of("dog", ["Dog", "dog."]) is None
    assert letter_of("A", []) is None


@pytest.mark.parametrize(
    ("reply", "wanted"),
    [
        ("Yes", True),
        ("no.", False),
        ("Yes, there is no doubt", True),
        ("There is no dog", False),
        ("I would say yes", True),
        ("yes or no", True),
        ("It is yes and no", None),
        ("A dog", None),
        ("nothing", None),
        ("", None),
    ],
)
def test_yes_and_no(reply: str, wanted: bool | None) -> None:
    assert yes_or_no(reply) is wanted


@pytest.mark.parametrize("score", [exact_match, anls, relaxed_accuracy])
def test_a_right_answer_is_needed(score: object) -> None:
    assert callable(score)
    with pytest.raises(RequestError, match=r"answer: is compared with no right answer\. Give at least 1"):
        score("a", [])
