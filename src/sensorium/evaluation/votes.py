"""Votes of people between two answers: JSON lines that are only ever appended to, each on disk before it counts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from sensorium.errors import DataError

Choice = Literal["left", "right", "tie", "skip"]
CHOICES: tuple[Choice, ...] = get_args(Choice)


class Vote(NamedTuple):
    """What one person said of one pair of answers.

    Args:
        pair: hash of what was shown: the item and both answers. item: the task and the item's id.
        left, right: the models' names, as they stood on the screen, where they were hidden.
    """

    rater: str
    pair: str
    item: str
    left: str
    right: str
    choice: Choice


def append_vote(path: Path, vote: Vote) -> None:
    """Write a vote at the end of the file and wait until it is on disk."""
    _append(path, {"vote": vote._asdict()})


def append_undo(path: Path, rater: str, pair: str) -> None:
    """Take back what a rater said of a pair; the vote stays in the file, and counts no more."""
    _append(path, {"undo": {"rater": rater, "pair": pair}})


def read_votes(path: Path) -> list[Vote]:
    """The votes that stand: the last of each rater on each pair, without those taken back, in the order they were given.

    Raises:
        DataError: not there, or a line that is no vote.
    """
    if not path.is_file():
        raise DataError(str(path), "is not there", "Name the file that `sensorium rate A B --votes FILE` wrote")
    text = path.read_text("utf-8")
    whole = text[: text.rfind("\n") + 1]  # a line cut short by a power failure was never counted
    standing: dict[tuple[str, str], Vote] = {}
    for number, line in enumerate(whole.splitlines(), 1):
        for rater, pair, vote in _events(path, number, line):
            standing.pop((rater, pair), None)
            if vote is not None:
                standing[rater, pair] = vote
    return list(standing.values())


def _events(path: Path, number: int, line: str) -> Iterable[tuple[str, str, Vote | None]]:
    try:
        row = json.loads(line)
        if "undo" in row:
            return [(row["undo"]["rater"], row["undo"]["pair"], None)]
        vote = Vote(**row["vote"])
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}, line {number}", "is no vote", "Remove the line, or name another file") from error
    if vote.choice not in CHOICES:
        raise DataError(f"{path}, line {number}", f"has the choice {vote.choice!r}", f"It is one of {', '.join(CHOICES)}")
    return [(vote.rater, vote.pair, vote)]


def _append(path: Path, row: dict[str, dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        data = path.read_bytes()
        os.truncate(path, data.rfind(b"\n") + 1)  # a half-written line would spoil the next one
    with path.open("ab") as file:
        file.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
        file.flush()
        os.fsync(file.fileno())
