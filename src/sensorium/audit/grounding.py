"""Whether answers rest on the media: how many survive when these are exchanged, blanked or removed, and what that costs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from sensorium.audit.exam import LOOKED_AT, Exam, plain, said, share
from sensorium.estimate import Estimate
from sensorium.evaluation.paired import Paired
from sensorium.evaluation.result import Finding

CHECK = "grounding"
FEWEST = 20
"""Items from which on a survival is judged."""
FEWEST_OF_A_KIND = 30
ALIKE = 5
"""Items with the same question from which on their right answers say how often one should stay."""
OPEN = 0.1
"""An exam can tell when at least this share of right answers is another for other media."""
DEAF, PART = 0.9, 0.1
"""A model is deaf to its media when this share of the answers that should change do not, or when surely less than this part of
what can be had by looking is lost without them."""


class Survival(NamedTuple):
    """What becomes of answers under a variant.

    Args:
        stayed: share of the answers that are the same. due: how often the right answer is the same for two of these questions
            about different media. excess: by how much more the answers stay than that, item by item.
        score: the main score as it is. gain: how much of it the variant costs, item by item. unchanged: ids of those that stay.
    """

    stayed: Estimate
    due: float
    excess: Estimate
    score: float
    gain: Estimate
    unchanged: tuple[str, ...]

    @property
    def stays(self) -> bool:
        """Whether nearly all answers are the same without the media."""
        return self.excess.low > 0 and self.excess.value >= DEAF * (1 - self.due)

    @property
    def deaf(self) -> bool:
        """Whether answers owe nothing to the media: taking these away costs nothing, and nearly all answers stay, or hardly
        anything that could be had by looking was had."""
        open_ = 1 - self.due
        idle = self.gain.high < PART * min(self.score, open_)
        return open_ >= OPEN and self.gain.low <= 0 and (self.stays or idle)


def survival(exam: Exam, variant: str, kind: str | None = None) -> Survival | None:
    """Of the answers to all items, or to those of one kind; None where fewer than two can be compared."""
    places = [place for place in exam.compared(variant) if kind is None or exam.kinds[place] == kind]
    if len({exam.clusters[place] for place in places}) < 2:
        return None
    before, after = exam.plain, exam.kept[variant]
    stayed = [float(said(before[place].reply) == said(after[place].reply)) for place in places]
    due = _due(exam, places)
    clusters = [exam.clusters[place] for place in places]
    score, gain = exam.gain(variant, places)
    return Survival(
        share(stayed, clusters),
        sum(due) / len(due),
        share([one - other for one, other in zip(stayed, due, strict=True)], clusters),
        score,
        gain,
        tuple(exam.items[place].sample.id for place, same in zip(places, stayed, strict=True) if same),
    )


def by_kind(exam: Exam, variant: str) -> dict[str, Survival]:
    """For each kind of question of which there are enough, the commonest first."""
    counts = Counter(exam.kinds[place] for place in exam.compared(variant))
    found = {kind: survival(exam, variant, kind) for kind, count in counts.most_common() if count >= FEWEST_OF_A_KIND}
    return {kind: row for kind, row in found.items() if row is not None}


def check(exam: Exam) -> list[Finding]:
    """One finding for each variant that takes the media away; and one for each kind of question answered without them."""
    findings = []
    for variant in (name for name in LOOKED_AT if name in exam.kept):
        if (row := survival(exam, variant)) is None or row.stayed.n < FEWEST:
            continue
        test = exam.test(variant, exam.compared(variant))
        findings.append(
            Finding(CHECK, exam.task.name, _claim(row, variant, test), not row.deaf, row.stayed, row.unchanged[:10])
        )
    first = next((name for name in LOOKED_AT if name in exam.kept), None)
    if first is None or not all(finding.passed for finding in findings):
        return findings
    kinds = by_kind(exam, first)
    if len(kinds) > 1:
        findings += [
            Finding(CHECK, exam.task.name, f"On questions of the kind '{kind}': {_claim(row, first)}", False, row.stayed,
                    row.unchanged[:10])
            for kind, row in kinds.items() if row.deaf
        ]  # fmt: skip
    return findings


_UNDER = {
    "shuffled": "with the media of another item",
    "blanked": "with the media blanked",
    "blind": "with the media removed",
}


def _claim(row: Survival, variant: str, test: Paired | None = None) -> str:
    how = _UNDER[variant]
    stay = f"{row.stayed.value:.0%} of {row.stayed.n} answers stay the same {how}"
    due = f"; right answers would for {row.due:.0%}" if row.due else ""
    cost = f", and the score of {row.score:.3g} falls by {row.gain.value:.3g} [{row.gain.low:.3g}, {row.gain.high:.3g}]"
    if test is not None:
        cost += f" (p {'< .001' if test.p < 0.001 else f'= {test.p:.3f}'}, {test.test})"
    if row.deaf:
        verdict = "The model ignores what it is shown" if row.stays else "What the model is shown is no help to it"
        return f"{verdict}: {stay}{due}{cost}."
    if row.gain.low > 0:
        return f"Answers rest on what is shown: {stay}{due}{cost}."
    return f"The score does not tell what the answers owe to what is shown: {stay}{due}{cost}."


def _due(exam: Exam, places: Sequence[int]) -> list[float]:
    """For each item how often items of other clusters have its right answer: those with its question where there are enough
    of them, else those of its kind, else all; 0 where no words are right."""
    groups = [[plain(question) for question in exam.questions], exam.kinds, [""] * len(exam.items)]
    polls = [_Poll(exam, group, places) for group in groups]
    due = []
    for place in places:
        enough = (poll for poll, least in zip(polls, (ALIKE, 1, 0), strict=True) if poll.others(place) >= least)
        due.append(next(enough).agreeing(place))
    return due


class _Poll:
    """Right answers, counted by group, and by group and cluster."""

    def __init__(self, exam: Exam, group: Sequence[str], places: Sequence[int]) -> None:
        self.right = [None if right is None else plain(right) for right in exam.right]
        self.keys = list(zip(group, exam.clusters, strict=True))
        self.all = defaultdict[str, Counter[str | None]](Counter)
        self.own = defaultdict[tuple[str, str], Counter[str | None]](Counter)
        for place in places:
            self.all[group[place]][self.right[place]] += 1
            self.own[self.keys[place]][self.right[place]] += 1

    def others(self, place: int) -> int:
        """Items of the group in other clusters."""
        return self.all[self.keys[place][0]].total() - self.own[self.keys[place]].total()

    def agreeing(self, place: int) -> float:
        """The share of them with the same right answer."""
        right = self.right[place]
        if right is None or not (others := self.others(place)):
            return 0.0
        return (self.all[self.keys[place][0]][right] - self.own[self.keys[place]][right]) / others
