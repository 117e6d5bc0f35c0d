"""Whether a model gives one answer to everything: `yes` to every question, the first choice every time, one sentence."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sensorium.audit.exam import Exam, plain, share
from sensorium.estimate import Estimate, Rows, estimate
from sensorium.evaluation.result import Finding
from sensorium.evaluation.task import Item

CHECK = "one-sided"
FEWEST, OTHERS = 20, 10
"""Items, and items among them whose right answer is another one, from which on a group is judged."""
ALWAYS = 0.9
YES_NO = frozenset({"yes", "no", "ja", "nein", "oui", "non", "si", "sí", "true", "false"})


class Side(NamedTuple):
    """The commonest answer of a group of items.

    Args:
        answer: what it is. given: share of the answers that it is. due: share of the right answers. wrongly: its share among
            items whose right answer is another one; told: by how much more often it is given where it is right.
        bits, bits_due: entropy of the answers and of the right ones. balanced: mean over the right answers of the share met.
        evidence: ids of items that got it wrongly.
    """

    answer: str
    given: Estimate
    due: float
    wrongly: Estimate
    told: Estimate
    bits: float
    bits_due: float
    balanced: float
    evidence: tuple[str, ...]

    @property
    def always(self) -> bool:
        """Whether it is given nearly always, and no oftener where it is right."""
        return self.wrongly.value >= ALWAYS and not self.told.low > 0


def side(exam: Exam, places: Sequence[int]) -> Side | None:
    """Of these items; None where too few have a right answer other than the commonest one given."""
    rows = [(_answer(exam, place), _right(exam, place), place) for place in places]
    known = [(given, right, place) for given, right, place in rows if right is not None]
    if len(known) < FEWEST:
        return None
    answer = Counter(given for given, _, _ in known).most_common(1)[0][0]
    others = [(given == answer, place) for given, right, place in known if right != answer]
    if len(others) < OTHERS or len({exam.clusters[place] for _, place in others}) < 2:
        return None
    clusters = [exam.clusters[place] for _, _, place in known]
    pairs = np.array([(given == answer, right == answer) for given, right, _ in known], dtype=np.float64)
    given_bits, right_bits = _entropy([given for given, _, _ in known]), _entropy([right for _, right, _ in known])
    ids = (exam.items[place].sample.id for hit, place in others if hit)
    return Side(
        answer,
        share(pairs[:, 0], clusters),
        float(pairs[:, 1].mean()),
        share([float(hit) for hit, _ in others], [exam.clusters[place] for _, place in others]),
        _told(pairs, clusters),
        given_bits,
        right_bits,
        _balanced([(given, right) for given, right, _ in known]),
        tuple(ids)[:10],
    )


def check(exam: Exam) -> list[Finding]:
    """One finding for the whole task, one for its yes-or-no questions, and one for each other kind that gets one answer."""
    everything = range(len(exam.items))
    yes_no = [place for place in everything if _right(exam, place) in YES_NO]
    findings = [_finding(exam, "all questions", everything, say=True)]
    if len(yes_no) < len(exam.items):
        findings.append(_finding(exam, "yes-or-no questions", yes_no, say=True))
    if all(finding is None or finding.passed for finding in findings):
        kinds = dict.fromkeys(exam.kinds)
        for kind in kinds if len(kinds) > 1 else ():
            places = [place for place in everything if exam.kinds[place] == kind]
            findings.append(_finding(exam, f"questions of the kind '{kind}'", places, say=False))
    return [finding for finding in findings if finding is not None]


def _finding(exam: Exam, group: str, places: Sequence[int], say: bool) -> Finding | None:
    row = side(exam, places)
    if row is None or not (say or row.always):
        return None
    shares = f"{row.given.value:.0%} of {row.given.n}, where it is right for {row.due:.0%}"
    tail = f"entropy {row.bits:.2f} bits against {row.bits_due:.2f}; balanced accuracy {row.balanced:.3f}"
    if row.always:
        claim = f"The model answers '{row.answer}' to {group} nearly always: {shares} ({tail})."
    else:
        claim = f"Answers to {group} are not one and the same: the commonest, '{row.answer}', is given to {shares} ({tail})."
    return Finding(CHECK, exam.task.name, claim, not row.always, row.given, row.evidence if row.always else ())


def _told(pairs: Rows, clusters: Sequence[str]) -> Estimate:
    """How much oftener it is given where it is right than where it is not; below 0 where it never is right."""
    given, right = pairs.T
    if not right.any():
        return share(-given, clusters)
    _, place = np.unique(np.asarray(clusters), return_inverse=True)
    columns = (given * right, right, given * (1 - right), 1 - right)
    sums = np.stack([np.bincount(place, weights=column) for column in columns], axis=1)
    return estimate(sums, _youden)._replace(n=len(pairs))


def _youden(sums: Rows) -> float:
    hits, right, false, wrong = sums.sum(axis=0)
    return float(hits / right - false / wrong) if right and wrong else math.nan


def _answer(exam: Exam, place: int) -> str:
    """In its words; yes or no where it begins so; among differing choices, its place."""
    text = exam.plain[place].reply.text
    words = plain(text)
    first = words.partition(" ")[0]
    return _place(exam, exam.items[place], text) or (first if first in YES_NO else words or text.strip())


def _right(exam: Exam, place: int) -> str | None:
    right = exam.right[place]
    if right is None:
        return None
    return _place(exam, exam.items[place], right) or plain(right) or right.strip()


def _place(exam: Exam, item: Item, text: str) -> str | None:
    return f"choice {item.choices.index(text) + 1}" if exam.differing and text in item.choices else None


def _entropy(labels: Sequence[str]) -> float:
    counts = Counter(labels)
    return sum(-count / len(labels) * math.log2(count / len(labels)) for count in counts.values()) + 0.0


def _balanced(rows: Sequence[tuple[str, str]]) -> float:
    met: dict[str, list[bool]] = {}
    for given, right in rows:
        met.setdefault(right, []).append(given == right)
    return sum(sum(hits) / len(hits) for hits in met.values()) / len(met)
