"""Who is preferred, from votes between pairs of answers: Bradley-Terry strengths with intervals, and how far raters agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensorium.errors import DataError
from sensorium.estimate import Estimate, Rows, estimate
from sensorium.evaluation.agreement import interval as interval_distance
from sensorium.evaluation.agreement import krippendorff
from sensorium.evaluation.result import finite
from sensorium.evaluation.votes import Vote

Array = NDArray[np.float64]

_WORTH = {"left": 1.0, "tie": 0.5, "right": 0.0}
_STEPS, _CLOSE = 100, 1e-10


@dataclass(frozen=True, slots=True)
class Preference:
    """What the votes say.

    Args:
        strengths: log-strength by model, their mean 0; strongest first.
        wins: chance that the first of two models is preferred to the second, a tie counted as half; for each pair compared,
            the stronger first.
        left: share of the decided votes that went to the answer on the left; far from a half, the place has decided.
        agreement: Krippendorff's alpha over pairs that several people judged, a tie halfway between the two; None where
            nobody judged the same pair as somebody else.
        votes: counted. ties: of them. skipped: not counted.
    """

    strengths: Mapping[str, Estimate]
    wins: Mapping[tuple[str, str], Estimate]
    left: Estimate | None
    agreement: Estimate | None
    votes: int
    ties: int
    skipped: int
    raters: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "strengths": {name: finite(value) for name, value in self.strengths.items()},
            "wins": [{"model": one, "over": other} | finite(value) for (one, other), value in self.wins.items()],
            "left": None if self.left is None else finite(self.left),
            "agreement": None if self.agreement is None else finite(self.agreement),
            "votes": self.votes,
            "ties": self.ties,
            "skipped": self.skipped,
            "raters": list(self.raters),
        }


def prefer(votes: Sequence[Vote], rounds: int = 1000, seed: int = 0) -> Preference:
    """Bradley-Terry strengths (1952) by maximum likelihood, ties as half a win for each side.

    Each pair of models that met gets half a win either way on top, which for two models is the Jeffreys prior: without it a
    model that won every vote would be infinitely strong. Intervals are bootstrapped over items, so that several votes on one
    item count as what they are.

    Raises:
        DataError: no votes, or models that no chain of votes links, whose strengths have no common scale.
    """
    counted = [vote for vote in votes if vote.choice != "skip"]
    if not counted:
        raise DataError("votes", f"are {len(votes)}, none of them for an answer or a tie", "Rate some pairs first")
    models = sorted({name for vote in counted for name in (vote.left, vote.right)})
    rows, items = _rows(counted, models), [vote.item for vote in counted]
    prior_MM = _prior(rows, len(models))
    _check_linked(models, prior_MM)
    fits: dict[bytes, Array] = {}

    def strength(drawn: Rows) -> Array:
        wins_MM = _wins(drawn, len(models)) + prior_MM
        key = wins_MM.tobytes()  # every estimate below draws the same votes
        if key not in fits:
            fits[key] = fit(wins_MM)
        return fits[key]

    def strength_of(place: int) -> Estimate:
        took_part = int((rows[:, :2] == place).any(1).sum())
        found = estimate(rows, lambda drawn: float(strength(drawn)[place]), clusters=items, rounds=rounds, seed=seed)
        return found._replace(n=took_part)

    def win_of(first: int, second: int) -> Estimate:
        met = int((np.sort(rows[:, :2], 1) == sorted((first, second))).all(1).sum())

        def beats(drawn: Rows) -> float:
            strength_M = strength(drawn)
            return float(1 / (1 + np.exp(strength_M[second] - strength_M[first])))

        return estimate(rows, beats, clusters=items, rounds=rounds, seed=seed)._replace(n=met)

    strengths = sorted(((name, strength_of(place)) for place, name in enumerate(models)), key=lambda pair: -pair[1].value)
    order = [models.index(name) for name, _ in strengths]
    wins = {
        (models[first], models[second]): win_of(first, second)
        for rank, first in enumerate(order)
        for second in order[rank + 1 :]
        if prior_MM[first, second]
    }
    decided = [vote for vote in counted if vote.choice != "tie"]
    return Preference(
        dict(strengths),
        wins,
        _left(decided),
        agreement(counted, rounds, seed),
        len(counted),
        len(counted) - len(decided),
        len(votes) - len(counted),
        tuple(sorted({vote.rater for vote in votes})),
    )


def fit(wins_MM: Array) -> Array:
    """Log-strengths, mean 0, that make the wins likeliest; `wins_MM[i, j]` counts how often i was preferred to j.

    Newton's method on a concave function, the sum of strengths held at 0 by the added ones. Where a model has won or lost
    everything there is no maximum: add a prior.
    """
    met_MM = wins_MM + wins_MM.T
    strength_M = np.zeros(len(wins_MM))
    won_M = wins_MM.sum(1)
    for _ in range(_STEPS):
        chance_MM = 1 / (1 + np.exp(strength_M[None, :] - strength_M[:, None]))
        slope_M = won_M - (met_MM * chance_MM).sum(1)
        bend_MM = met_MM * chance_MM * (1 - chance_MM)
        step_M = np.linalg.solve(np.diag(bend_MM.sum(1)) - bend_MM + 1, slope_M)
        strength_M = strength_M + step_M * min(1.0, 1 / max(float(np.abs(step_M).max()), 1e-300))
        if float(np.abs(step_M).max()) < _CLOSE:
            break
    return np.asarray(strength_M - strength_M.mean())


def agreement(votes: Sequence[Vote], rounds: int = 1000, seed: int = 0) -> Estimate | None:
    """Krippendorff's alpha of the pairs of answers that at least two people judged, bootstrapped over those pairs."""
    units: dict[str, list[int]] = {}
    for vote in votes:
        if vote.choice == "skip":
            continue
        worth = _WORTH[vote.choice] if vote.left <= vote.right else 1 - _WORTH[vote.choice]
        units.setdefault(vote.pair, [0, 0, 0])[round(2 * worth)] += 1
    twice = [counts for counts in units.values() if sum(counts) >= 2]
    if not twice:
        return None
    distance_VV = interval_distance(np.array([0.0, 0.5, 1.0]))
    return estimate(np.array(twice, float), lambda drawn: krippendorff(drawn, distance_VV), rounds=rounds, seed=seed)


def _left(decided: Sequence[Vote]) -> Estimate | None:
    if not decided:
        return None
    return estimate([float(vote.choice == "left") for vote in decided], clusters=[vote.item for vote in decided])


def _rows(votes: Sequence[Vote], models: Sequence[str]) -> Rows:
    """Left model, right model, worth of the vote to the left one."""
    place = {name: number for number, name in enumerate(models)}
    return np.array([[place[vote.left], place[vote.right], _WORTH[vote.choice]] for vote in votes])


def _wins(rows: Rows, size: int) -> Array:
    left, right = rows[:, 0].astype(int), rows[:, 1].astype(int)
    flat = np.bincount(left * size + right, rows[:, 2], size**2) + np.bincount(right * size + left, 1 - rows[:, 2], size**2)
    return np.asarray(flat.reshape(size, size))


def _prior(rows: Rows, size: int) -> Array:
    """Half a win either way for models that met."""
    wins_MM = _wins(rows, size)
    return np.where(wins_MM + wins_MM.T > 0, 0.5, 0.0)


def _check_linked(models: Sequence[str], prior_MM: Array) -> None:
    reached, frontier = {0}, [0]
    while frontier:
        near = {int(place) for place in np.flatnonzero(prior_MM[frontier.pop()])} - reached
        reached |= near
        frontier += near
    if len(reached) < len(models):
        here = ", ".join(models[place] for place in sorted(reached))
        there = ", ".join(name for place, name in enumerate(models) if place not in reached)
        raise DataError("votes", f"never link {here} to {there}", "Rate pairs between them, or look at their votes apart")
