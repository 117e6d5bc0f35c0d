"""Things that are named but not there: in descriptions (CHAIR), and in answers to `Is there a ...?` (POPE)."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np

from sensorium.audit.exam import Exam, plain, share
from sensorium.errors import RequestError
from sensorium.estimate import Estimate, Rows, estimate
from sensorium.evaluation.kept import Kept
from sensorium.evaluation.metrics.objects import chair_i, chair_rows, things_named, things_possible
from sensorium.evaluation.result import Finding
from sensorium.media.objects import things_of

CHECK = "hallucination"
MENTIONS, ASKED = 50, 15
"""Things named, and questions for things that are there and for things that are not, from which on a model is judged."""
LEAN = 0.1
"""How much oftener an absent thing may be affirmed than a present one denied."""
_IS_THERE = re.compile(
    r"\b(?:is|are) there (.+?)(?: (?:in|on) (?:the|this) (?:image|picture|photo|photos|scene|video)\b.*)?[?.]", re.IGNORECASE
)


class Described(NamedTuple):
    """What descriptions name.

    Args:
        absent: share of the things named that are not there. elsewhere: that share if each description stood beside every other
            picture. spared: by how much fewer are absent than that. words: the absent things named, commonest first, each with
            how often it is absent and how often named. evidence: `id: thing`.
    """

    absent: Estimate
    elsewhere: float
    spared: Estimate
    words: tuple[tuple[str, int, int], ...]
    evidence: tuple[str, ...]


class Affirmed(NamedTuple):
    """Answers to questions whether something is there.

    Args:
        wrongly: share of yes for what is not there. lean: how much more that is than the share of no for what is there; honest
            mistakes go both ways. words, evidence: as in `Described`, of the things asked for.
    """

    wrongly: Estimate
    lean: Estimate
    words: tuple[tuple[str, int, int], ...]
    evidence: tuple[str, ...]


def described(exam: Exam) -> Described | None:
    """Of items that list their objects in `meta["objects"]`, or whose gold holds people's `captions`; None where none do, or
    where fewer than two pictures are described."""
    seen = _by_objects(exam) or _by_captions(exam)
    if seen is None or len({exam.clusters[place] for place in seen.places}) < 2:
        return None
    rows = chair_rows(seen.named, seen.there)
    triples = np.column_stack([rows, _elsewhere(exam, seen)])
    clusters = [exam.clusters[place] for place in seen.places]
    if not rows[:, 0].any():
        return None
    names = Counter(name for named in seen.named for name in named)
    false = [
        (exam.items[place].sample.id, name)
        for place, named, there in zip(seen.places, seen.named, seen.there, strict=True)
        for name in named
        if name not in there
    ]
    return Described(
        estimate(rows, chair_i, clusters=clusters)._replace(n=int(rows[:, 0].sum())),
        float(triples[:, 2].sum() / triples[:, 0].sum()),
        estimate(triples, _spared, clusters=clusters),
        _words([name for _, name in false], names),
        tuple(f"{identity}: {name}" for identity, name in false[:10]),
    )


def affirmed(exam: Exam) -> Affirmed | None:
    """Of the yes-or-no questions that ask whether something is there; None where too few ask for what is not."""
    asked = [(place, match.group(1)) for place, text in enumerate(exam.questions) if (match := _IS_THERE.search(text))]
    rows = [(place, thing, _yes(exam.plain[place]), plain(exam.right[place] or "")) for place, thing in asked]
    absent, present = ([row for row in rows if row[3] == right] for right in ("no", "yes"))
    if min(len(absent), len(present)) < ASKED or len({exam.clusters[place] for place, *_ in absent}) < 2:
        return None
    false = [(place, thing) for place, thing, yes, _ in absent if yes]
    both = [*absent, *present]
    counts = [(yes * there, there, yes * (1 - there), 1 - there) for *_, yes, right in both for there in [right == "yes"]]
    return Affirmed(
        share([float(yes) for _, _, yes, _ in absent], [exam.clusters[place] for place, *_ in absent]),
        estimate(np.array(counts, dtype=np.float64), _lean, clusters=[exam.clusters[place] for place, *_ in both]),
        _words([thing for _, thing in false], Counter(thing for _, thing, _, _ in absent)),
        tuple(f"{exam.items[place].sample.id}: {thing}" for place, thing in false[:10]),
    )


def check(exam: Exam) -> list[Finding]:
    """One finding for descriptions, and one for questions whether something is there, where the task has such."""
    findings = []
    if (told := described(exam)) is not None and told.absent.n >= MENTIONS:
        passed = told.spared.low > 0
        claim = (
            f"{told.absent.value:.0%} of {told.absent.n} things named are not there; beside any other picture it would be "
            f"{told.elsewhere:.0%}{_list(told.words)}."
        )
        claim = claim if passed else f"The model makes up what it describes: {claim}"
        findings.append(Finding(CHECK, exam.task.name, claim, passed, told.absent, told.evidence))
    if (said := affirmed(exam)) is not None:
        passed = said.lean.low <= LEAN
        claim = (
            f"{said.wrongly.value:.0%} of {said.wrongly.n} things that are not there are said to be, against "
            f"{said.wrongly.value - said.lean.value:.0%} of those there that are denied{_list(said.words)}."
        )
        claim = claim if passed else f"The model sees things that are not there: {claim}"
        findings.append(Finding(CHECK, exam.task.name, claim, passed, said.wrongly, said.evidence))
    return findings


class _Seen(NamedTuple):
    """Things named in the answers at some places, and the things there."""

    places: Sequence[int]
    named: Sequence[Sequence[str]]
    there: Sequence[Collection[str]]


def _by_objects(exam: Exam) -> _Seen | None:
    there: dict[int, frozenset[str]] = {}
    for place, item in enumerate(exam.items):
        if item.sample.meta.get("objects"):
            try:
                there[place] = frozenset(plain(thing.name) for thing in things_of(item.sample))
            except RequestError:  # of another form, which the task's own score may read
                return None
    known = frozenset[str]().union(*there.values())
    finds: list[tuple[str, Callable[[str], object]]] = [
        (name, re.compile(rf"\b{re.escape(name)}(?:e?s)?\b").search) for name in sorted(known)
    ]
    named = [[name for name, find in finds if find(plain(exam.plain[place].reply.text))] for place in there]
    return _Seen(list(there), named, list(there.values())) if there else None


def _by_captions(exam: Exam) -> _Seen | None:
    there = {
        place: things_possible(item.gold["captions"])
        for place, item in enumerate(exam.items)
        if isinstance(item.gold.get("captions"), list | tuple)
    }
    named = [things_named(exam.plain[place].reply.text) for place in there]
    return _Seen(list(there), named, list(there.values())) if there else None


def _elsewhere(exam: Exam, seen: _Seen) -> list[float]:
    """How many of the things that each description names other pictures lack, on average."""
    count = Counter(name for there in seen.there for name in there)
    own, size = defaultdict[str, Counter[str]](Counter), Counter[str]()
    clusters = [exam.clusters[place] for place in seen.places]
    for cluster, there in zip(clusters, seen.there, strict=True):
        own[cluster].update(there)
        size[cluster] += 1
    total = len(clusters)
    return [
        sum(1 - (count[name] - own[cluster][name]) / (total - size[cluster]) for name in named)
        for cluster, named in zip(clusters, seen.named, strict=True)
    ]


def _lean(counts: Rows) -> float:
    hits, there, false, absent = counts.sum(axis=0)
    return float(false / absent - (1 - hits / there)) if there and absent else math.nan


def _spared(triples: Rows) -> float:
    named, absent, beside = triples.sum(0).tolist()
    return (beside - absent) / named if named else 0.0


def _yes(row: Kept) -> bool:
    return plain(row.reply.text).partition(" ")[0] in ("yes", "true")


def _words(false: Sequence[str], all_: Counter[str]) -> tuple[tuple[str, int, int], ...]:
    return tuple((name, count, all_[name]) for name, count in Counter(false).most_common(5))


def _list(words: Sequence[tuple[str, int, int]]) -> str:
    said = ", ".join(f"{name} ({count} of {total})" for name, count, total in words[:3])
    return f"; most often {said}" if said else ""
