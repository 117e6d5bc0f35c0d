"""How a model stands harm: which kind costs it most, whether wording matters, whether it follows a lie, whether it says that a
medium is gone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from sensorium.audit.exam import Exam, plain, said
from sensorium.estimate import Estimate, estimate
from sensorium.evaluation.kept import Kept
from sensorium.evaluation.result import Finding
from sensorium.evaluation.stress.conflict import lie_of
from sensorium.evaluation.stress.suite import amounts, known_kinds

CHECK = "robustness"
FEWEST = 20
"""Items from which on anything is judged."""
HALF = 0.5
"""Of its score a model may lose this part at the middle level of a kind of harm to its media."""
WORDS = 0.1
"""And this much of the score by other words for the same question; and it may follow so many lies that it told not alone."""
SILENT = 0.1
"""And answer so many questions about a medium that is gone without a word on that."""
_MEDIA = ("image", "audio", "video")
_SAYS = re.compile(
    r"could not be used|none was given|(?:can(?:no|')t|could not|unable to|do(?:es)? not|don't|no longer) "
    r"(?:see|hear|view|read|open|access|find|have)|\b(?:no|missing|without an?y?|not (?:given|provided|attached)) "
    r"(?:image|picture|photo|audio|recording|sound|video|clip|document|page|medium|media|file)",
    re.IGNORECASE,
)


class Worst(NamedTuple):
    """The variant that costs most of a score: how much it was, and by how much it falls."""

    variant: str
    score: float
    fall: Estimate


def check(exam: Exam) -> list[Finding]:
    """One finding for each of the four questions that the run's variants can answer."""
    return [found for found in (_harm(exam), _wording(exam), _lie(exam), *_silence(exam)) if found is not None]


def worst(exam: Exam, names: Sequence[str]) -> Worst | None:
    """Among variants that changed enough items; of their items as they are and changed."""
    found = []
    for name in names:
        places = exam.compared(name) if name in exam.kept else []
        if len(places) >= FEWEST:
            score, fall = exam.gain(name, places)
            found.append(Worst(name, score, fall))
    return max(found, key=lambda row: row.fall.value / max(abs(row.score), 1e-9), default=None)


def follows(exam: Exam, variant: str) -> Estimate | None:
    """By how much more often the claimed answer is given when a caption claims it."""
    rows, places = [], [place for place in exam.compared(variant) if lie_of(exam.items, place, exam.task) is not None]
    if len(places) < FEWEST:
        return None
    for place in places:
        lie, right = plain(lie_of(exam.items, place, exam.task) or ""), plain(exam.right[place] or "")
        told, alone = (_tells(kept[place], lie, right) for kept in (exam.kept[variant], exam.plain))
        rows.append(float(told) - float(alone))
    return estimate(rows, clusters=[exam.clusters[place] for place in places])


def silent(exam: Exam, variant: str) -> Estimate | None:
    """Share of the items, of those that the variant took something from, that are answered without a word on it."""
    pairs = enumerate(zip(exam.plain, exam.kept[variant], strict=True))
    places = [place for place, (one, other) in pairs if one.key != other.key]
    if len(places) < FEWEST:
        return None
    rows = [float(not _says(exam.kept[variant][place])) for place in places]
    return estimate(rows, clusters=[exam.clusters[place] for place in places])


def _harm(exam: Exam) -> Finding | None:
    kinds = [kind for group in _MEDIA for kind in known_kinds(exam.task)[group]]
    found = worst(exam, [kind.variants()[len(kind.amounts) // 2].name for kind in kinds])
    if found is None:
        return None
    passed = not found.fall.low > HALF * abs(found.score)
    lead = "No harm of middling strength costs more than" if passed else "Too much is lost to"
    claim = f"{lead} {_named(found)}."
    return Finding(CHECK, exam.task.name, claim, passed, found.fall, _lost(exam, found.variant))


def _wording(exam: Exam) -> Finding | None:
    """Slips count at their mildest; every casing, dialect and paraphrase counts."""
    kinds = [kind for kind in known_kinds(exam.task)["text"] if kind.name != "distractor"]
    names = [variant.name for kind in kinds for variant in kind.variants()[: 1 if kind.name == "typos" else None]]
    found = worst(exam, names)
    if found is None:
        return None
    passed = not found.fall.low > WORDS
    lead = "The question may be put otherwise; most is lost to" if passed else "The score hangs on the wording: see"
    return Finding(CHECK, exam.task.name, f"{lead} {_named(found)}.", passed, found.fall, _lost(exam, found.variant))


def _lie(exam: Exam) -> Finding | None:
    variant = "lying-caption-1"
    more = follows(exam, variant) if variant in exam.kept else None
    if more is None:
        return None
    passed = not more.low > WORDS
    how = "hardly follows" if passed else "follows"
    claim = f"The model {how} a caption that lies: the claimed answer comes {more.value:+.0%} more often with it."
    return Finding(CHECK, exam.task.name, claim, passed, more, _lost(exam, variant))


def _silence(exam: Exam) -> list[Finding | None]:
    """Of the variants that were asked for; the floor that is blind on purpose is not one of them."""
    findings: list[Finding | None] = []
    for variant in (name for name in (*(f"no-{name}" for name in exam.task.needs), "truncated-3") if name in exam.kept):
        share = silent(exam, variant)
        if share is None:
            continue
        gone = "that breaks off" if variant.startswith("truncated") else "that is not there"
        claim = f"{share.value:.0%} of {share.n} questions about a medium {gone} are answered without a word on that."
        findings.append(Finding(CHECK, exam.task.name, claim, not share.low > SILENT, share))
    return findings


def _named(found: Worst) -> str:
    fall, amount = found.fall, amounts().get(found.variant, "")
    loss = f"falls by {fall.value:.3g} [{fall.low:.3g}, {fall.high:.3g}] on {fall.n} items"
    return f"{found.variant} ({amount}): the score of {found.score:.3g} {loss}"


def _lost(exam: Exam, variant: str) -> tuple[str, ...]:
    """Ids of items that were scored otherwise, the first ten."""
    pairs = zip(exam.plain, exam.kept[variant], strict=True)
    return tuple(one.id for one, other in pairs if one.scores != other.scores)[:10]


def _tells(kept: Kept, lie: str, right: str) -> bool:
    """Whether an answer is the lie, or holds it and not what is right."""
    words = f" {said(kept.reply)} "
    return words.strip() == lie or (bool(lie) and f" {lie} " in words and not (right and f" {right} " in words))


def _says(kept: Kept) -> bool:
    """Whether the model refused, or its answer or its notes say that something was not there or not read."""
    return kept.reply.finish == "refused" or bool(_SAYS.search("\n".join((kept.reply.text, *kept.reply.notes))))
