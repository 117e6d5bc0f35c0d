"""Short answers: exact match, ANLS, ChartQA's relaxed accuracy, and multiple choice by likelihood or by the letter named.

What cannot be read from a reply is None, never a guess: the caller counts it apart.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from string import ascii_uppercase
from typing import Literal

from sensorium.errors import RequestError
from sensorium.evaluation.metrics.edits import edits

Per = Literal["answer", "token", "byte"]


_TOLD = re.compile(r"(?i:answer(?: is|:| is:)?)\s*(?i:option |choice )?[\[(*]*([A-Z])[\])*]*(?=$|[\s.,;:!])(?! [a-z])")
_ALONE = re.compile(r"\A(?i:option |choice )?[\[(*]*([A-Za-z])[\])*]*[.:,]?\s*\Z")
_MARKED = re.compile(r"(?m:^)\W*([A-Z])[.:,)](?=\s)|\A\(([a-z])\)\s|[(\[]([A-Z])[)\]]|\*\*([A-Z])\W?\*\*|\b([A-Z])\)")


def plain(text: str) -> str:
    """Lower case, single spaces, no mark at the end."""
    return " ".join(text.lower().split()).rstrip(" .!?")


def exact_match(answer: str, right: Sequence[str], normal: Callable[[str], str] = plain) -> float:
    """1 when the answer is one of the right ones, in the form that `normal` gives both.

    Raises:
        RequestError: no right answer.
    """
    _some(right)
    return float(normal(answer) in {normal(text) for text in right})


def anls(answer: str, right: Sequence[str], threshold: float = 0.5) -> float:
    """Average normalised Levenshtein similarity (Biten et al. 2019, arXiv:1907.00490): one less the edits over the longer
    length, for the nearest right answer; 0 where they are half the length or more. Neither case nor repeated spaces count.

    Raises:
        RequestError: no right answer.
    """
    _some(right)
    return max(_similarity(" ".join(answer.lower().split()), " ".join(text.lower().split()), threshold) for text in right)


def _similarity(one: str, other: str, threshold: float) -> float:
    longest = max(len(one), len(other))
    far = edits(one, other) / longest if longest else 0.0
    return 1 - far if far < threshold else 0.0


def relaxed_accuracy(answer: str, right: Sequence[str], tolerance: float = 0.05) -> float:
    """1 when a number is within 5 % of the right one, or any other answer the same but for case (Masry et al. 2022,
    arXiv:2203.10244). As in Pix2Struct's code a per cent sign divides by a hundred, and a right answer of 0 is text.

    Raises:
        RequestError: no right answer.
    """
    _some(right)
    return max(_relaxed(answer, text, tolerance) for text in right)


def _relaxed(answer: str, right: str, tolerance: float) -> float:
    mine, theirs = _number(answer), _number(right)
    if mine is not None and theirs:
        return float(abs(mine - theirs) / abs(theirs) <= tolerance)
    return float(answer.lower() == right.lower())


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None


def likeliest(logprobs: Sequence[float], *, per: Per = "answer", lengths: Sequence[int] | None = None) -> int:
    """Which choice is likeliest by its log-probability, whole or shared among its tokens or bytes; the first of equals.

    Long answers are less likely for their length alone: per token or byte mends that, each in its own way: a score says which.

    Args:
        lengths: of each choice in that unit; `byte_lengths` counts bytes.

    Raises:
        RequestError: no choice, a value that is no number, or lengths that do not fit.
    """
    if not logprobs or any(math.isnan(value) for value in logprobs):
        raise RequestError("choices", f"have the log-probabilities {list(logprobs)}", "Give a number for each of at least 1")
    shares = list(logprobs)
    if per != "answer":
        if lengths is None or len(lengths) != len(logprobs) or min(lengths) < 1:
            problem = f"have {len(logprobs)} log-probabilities and the lengths {lengths}"
            raise RequestError("choices", problem, f"Give the length of each in {per}s, at least 1")
        shares = [value / length for value, length in zip(logprobs, lengths, strict=True)]
    return max(range(len(shares)), key=lambda place: shares[place])


def byte_lengths(choices: Sequence[str]) -> list[int]:
    """Of each choice in UTF-8; an empty one counts as 1."""
    return [max(1, len(choice.encode())) for choice in choices]


def letter_of(reply: str, choices: Sequence[str]) -> int | None:
    """Which choice a reply in words names, or None where it names none or several.

    Read in this order, the first that says anything decides: a letter after "answer is" or "answer:"; a letter that is the
    whole reply; the text of a choice as the whole reply; letters that open a line before a mark such as ")" or ".", or stand in
    brackets or asterisks.
    """
    letters = ascii_uppercase[: len(choices)]
    if not letters:
        return None
    text = reply.strip()
    for pattern in (_TOLD, _ALONE):
        if named := _named(pattern, text, letters):
            return named.pop() if len(named) == 1 else None
    whole = [place for place, choice in enumerate(choices) if plain(choice) and plain(choice) == plain(text)]
    named = set(whole) or _named(_MARKED, text, letters)
    return named.pop() if len(named) == 1 else None


def _named(pattern: re.Pattern[str], text: str, letters: str) -> set[int]:
    """The places of the letters found, as far as there are so many choices."""
    found = {next(group for group in match.groups() if group).upper() for match in pattern.finditer(text)}
    return {letters.index(letter) for letter in found if letter in letters}


def yes_or_no(reply: str) -> bool | None:
    """What the reply says: its first word if that is yes or no, else the one of the two in it; None for neither or both."""
    words: list[str] = re.findall(r"[a-z']+", reply.lower())
    if words and words[0] in ("yes", "no"):
        return words[0] == "yes"
    said = {word for word in words if word in ("yes", "no")}
    return "yes" in said if len(said) == 1 else None


def _some(right: Sequence[str]) -> None:
    if not right:
        raise RequestError("answer", "is compared with no right answer", "Give at least 1")
