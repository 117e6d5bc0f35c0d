"""Which pair of answers a person sees next, which side each answer is on, and what has been said so far."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sensorium.errors import RequestError
from sensorium.evaluation.aligned import aligned
from sensorium.evaluation.kept import Kept, read_results
from sensorium.evaluation.report.album import Album, roots
from sensorium.evaluation.report.sample import Sample, sample_of
from sensorium.evaluation.votes import Choice, Vote, append_undo, append_vote, read_votes

_BYTES, _SIDE, _SECONDS = 64_000_000, 768, 120.0


class Duel(NamedTuple):
    """Two answers to one item; `pair` is the hash of what is judged, `item` names the task and the item."""

    pair: str
    item: str
    a: Kept
    b: Kept


class Ballot:
    """Pairs of two runs, and the file of votes on them.

    Args:
        a, b: run folders. votes: the file; votes in it count as given. tasks: all that both have when none is named.
        limit: pairs at most, drawn by chance; 0 is all. seed: of that draw, of the order and of the sides.
        data: folders in which media named by relative paths lie.

    Attributes:
        names: of the two models. duels: what is judged. same: items left out because both answers are the same words.

    Raises:
        RequestError: no task in common, items that are not the same, or no answers that differ. DataError: see `compare`.
    """

    def __init__(
        self,
        a: Path,
        b: Path,
        votes: Path,
        tasks: Sequence[str] = (),
        limit: int = 0,
        seed: int = 0,
        data: Sequence[Path] = (),
    ) -> None:
        first, second = read_results(a), read_results(b)
        own, other = ({row.task: row for row in result.tasks} for result in (first, second))
        chosen = tuple(tasks) or tuple(name for name in own if name in other)
        for name in chosen:
            if name not in own or name not in other:
                raise RequestError(f"task {name}", "is not in both runs", f"Both have {', '.join(set(own) & set(other))}")
        self.names = _names(a, b, str(first.model.get("name", "A")), str(second.model.get("name", "B")))
        self._roots, self._seed, self._file = (*roots(a), *roots(b), *data), seed, votes
        self._lock = threading.Lock()
        every = [
            Duel(_hash(self.names, one, two), f"{name}/{one.id}", one, two)
            for name in chosen
            for one, two in zip(*aligned(a, b, own[name], other[name]), strict=True)
        ]
        apart = [duel for duel in every if duel.a.reply.text.strip() != duel.b.reply.text.strip()]
        self.same = len(every) - len(apart)
        if not apart:
            raise RequestError(f"{a} and {b}", f"give no differing answers to {len(every)} items", "Compare other runs")
        self.duels = random.Random(seed).sample(apart, min(limit or len(apart), len(apart)))
        self._standing = read_votes(votes) if votes.exists() else []

    def next(self, rater: str) -> Duel | None:
        """The first pair in this person's order on which he has not voted; None at the end."""
        done = {vote.pair for vote in self._standing if vote.rater == rater}
        order = sorted(self.duels, key=lambda duel: hashlib.sha256(f"{self._seed}\0{rater}\0{duel.pair}".encode()).digest())
        return next((duel for duel in order if duel.pair not in done), None)

    def swapped(self, rater: str, duel: Duel) -> bool:
        """Whether the second run's answer stands on the left: a coin's toss for each person and pair, the same each time."""
        return hashlib.sha256(f"side\0{self._seed}\0{rater}\0{duel.pair}".encode()).digest()[0] % 2 == 1

    def show(self, duel: Duel) -> Sample:
        """What was asked, with its media."""
        return sample_of(duel.a, "", Album(self._roots, _BYTES, _SIDE, _SECONDS), {}, "scored")

    def vote(self, rater: str, pair: str, choice: Choice) -> None:
        """Keep what was said, on disk before this returns.

        Raises:
            RequestError: a pair that is not asked here.
        """
        duel = next((duel for duel in self.duels if duel.pair == pair), None)
        if duel is None:
            raise RequestError(f"pair {pair[:12]}", "is not on this ballot", "Load the page again")
        left, right = reversed(self.names) if self.swapped(rater, duel) else self.names
        vote = Vote(rater, pair, duel.item, left, right, choice)
        with self._lock:
            append_vote(self._file, vote)
            self._standing = [old for old in self._standing if (old.rater, old.pair) != (rater, pair)] + [vote]

    def undo(self, rater: str) -> bool:
        """Take back this person's last vote on this ballot; False where there is none."""
        asked = {duel.pair for duel in self.duels}
        with self._lock:
            last = next((vote for vote in reversed(self._standing) if vote.rater == rater and vote.pair in asked), None)
            if last is None:
                return False
            append_undo(self._file, rater, last.pair)
            self._standing.remove(last)
        return True

    def done(self, rater: str) -> int:
        """Pairs of this ballot on which a person has voted, skipped ones too."""
        asked = {duel.pair for duel in self.duels}
        return sum(vote.rater == rater and vote.pair in asked for vote in self._standing)


def _names(a: Path, b: Path, first: str, second: str) -> tuple[str, str]:
    """The models' names; with their folders where the names are the same."""
    if first != second:
        return first, second
    pair = (f"{first} ({a.name})", f"{second} ({b.name})")
    return pair if pair[0] != pair[1] else (f"{first} ({a})", f"{second} ({b})")


def _hash(names: tuple[str, str], one: Kept, two: Kept) -> str:
    """The same for A and B as for B and A, so that a rater is not asked twice."""
    sides = sorted(zip(names, (one.key, two.key), (one.reply.text, two.reply.text), strict=True))
    return hashlib.sha256(repr((one.id, sides)).encode()).hexdigest()[:32]
