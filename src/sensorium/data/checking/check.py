"""All checks over one source of rows, in one pass: faults as they are found, and at the end what shows only in the whole."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice

from sensorium.data.checking.alignment import Alignment, Embed
from sensorium.data.checking.media import MediaCheck, Verdict
from sensorium.data.checking.memory import Memory, Place
from sensorium.data.checking.policy import Policy
from sensorium.data.checking.sketch import sketch_text
from sensorium.data.checking.words import check_words, text_of
from sensorium.data.fault import Fault, RowError
from sensorium.data.row import Row, Source
from sensorium.media.source import Limits
from sensorium.parts import Sample, Text, kind_of

Positions = Callable[[Sample], tuple[int, int]]
"""Positions a row takes in a model's input, and how many of them are learned.

Raises:
    SensoriumError: what keeps the model from taking the row in.
"""
Extra = Callable[[Sample], Iterator[RowError]]
"""A further check of one row that the caller brings."""


@dataclass(slots=True)
class Report:
    """What a check has gone through."""

    rows: int = 0
    broken: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    media: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    finished: bool = False


@dataclass(frozen=True, slots=True)
class Checks:
    """What is checked, and how strictly.

    Args:
        longest: characters of a row at most.
        ignore: kinds of faults that are left out.
        embed: puts pictures and words into one space, for captions that do not fit; None leaves this out.
        extra: a check that needs a model.
        limits: of one medium.
    """

    longest: int = 20_000
    ignore: Collection[str] = ()
    policy: Policy = field(default_factory=Policy)
    embed: Embed | None = None
    extra: Extra | None = None
    limits: Limits = field(default_factory=Limits)


def check(
    source: Source,
    checks: Checks | None = None,
    against: Source | None = None,
    report: Report | None = None,
    limit: int | None = None,
) -> Iterator[Fault]:
    """Every fault of every row, in the order of the rows; those that only the whole shows come last.

    Args:
        against: data that this data must share nothing with, such as a test split.
        report: is filled in along the way.
        limit: rows looked at.
    """
    checks, report = checks or Checks(), report or Report()
    memory, media = Memory(), MediaCheck(checks.limits)
    alignment = Alignment(checks.embed) if checks.embed is not None else None
    try:
        if against is not None:
            _learn_other(against, memory, media)
        for item in islice(source.rows(), limit):
            report.rows += 1
            found = [item] if isinstance(item, Fault) else _row(item, checks, memory, media, report)
            found = [fault for fault in found if fault.kind not in checks.ignore]
            if alignment is not None and isinstance(item, Row) and not any(_about_media(fault) for fault in found):
                alignment(item.sample, item.file, item.row)
            report.broken += bool(found)
            yield from _counted(found, report)
        last = list(checks.policy.end())
        if alignment is not None:
            last += alignment.end(report.notes.append)
        yield from _counted([fault for fault in last if fault.kind not in checks.ignore], report)
        report.notes += [f"ignored columns: {', '.join(sorted(source.remarks.ignored))}"] if source.remarks.ignored else []
        report.notes += [f"{note} ({count:,} rows)" for note, count in sorted(source.remarks.notes.items())]
        if report.media["not fetched"]:
            report.notes.append(f"{report.media['not fetched']:,} media are URLs and were not fetched")
        report.finished = limit is None or report.rows < limit
    finally:
        memory.close()


def _counted(found: list[Fault], report: Report) -> Iterator[Fault]:
    for fault in found:
        report.kinds[fault.kind] += 1
        yield fault


def _row(item: Row, checks: Checks, memory: Memory, media: MediaCheck, report: Report) -> list[Fault]:
    sample, here = item.sample, Place(item.file, item.row)
    shown, errors = _media(sample, media, report)
    sizes = [verdict.size for _, verdict in shown if verdict.size is not None]
    sound = not errors
    errors += check_words(sample, sizes, checks.longest)
    errors += checks.policy(sample, item.file, item.row)
    if checks.extra is not None and sound:
        errors += checks.extra(sample)
    errors += _seen_before(sample, shown, memory, here)
    return [error.at(item.file, item.row) for error in errors]


def _media(sample: Sample, media: MediaCheck, report: Report) -> tuple[list[tuple[str, Verdict]], list[RowError]]:
    """Each medium's field and verdict, and the faults among them."""
    shown: list[tuple[str, Verdict]] = []
    errors: list[RowError] = []
    count = Counter[str]()
    for part in (part for message in sample.messages for part in message.parts):
        if isinstance(part, Text):
            continue
        kind = kind_of(part)
        place = f"{kind}s[{count[kind]}]"
        count[kind] += 1
        verdict = media(part)
        report.media[kind if verdict.fetched else "not fetched"] += 1
        shown.append((place, verdict))
        errors += [RowError(place, error.kind, error.reason, error.fix) for error in verdict.faults]
    return shown, errors


def _about_media(fault: Fault) -> bool:
    return fault.field.partition("[")[0] in ("images", "audios", "videos", "documents") and fault.kind not in _LIKE


_LIKE = ("duplicate-image", "near-duplicate-image", "leak", "wrong-extension")


def _seen_before(sample: Sample, shown: list[tuple[str, Verdict]], memory: Memory, here: Place) -> Iterator[RowError]:
    """Rows and pictures that were there already, here or in the other data."""
    beside = "|".join(verdict.digest for _, verdict in shown).encode()
    whole = json.dumps([(message.role, text_of(message)) for message in sample.messages]).encode()
    complete = all(verdict.digest for _, verdict in shown)
    if complete and (place := memory.same("row", beside + b"\n" + whole, here)) is not None:
        yield _again("messages", "duplicate-row", "is the same as", place)
        return
    words = "\n".join(text_of(message) for message in sample.messages)
    if complete and (sketch := sketch_text(words)) is not None and (near := memory.near_text(sketch, beside, here)):
        yield _again("messages", "near-duplicate-row", f"shares {near[1]:.0%} of its words and all its media with", near[0])
    for place_name, verdict in shown:
        if verdict.sketch is not None:
            yield from _picture_before(place_name, verdict, memory, here)


def _picture_before(field_name: str, verdict: Verdict, memory: Memory, here: Place) -> Iterator[RowError]:
    """A picture that came before in another row; the one row's many questions about one picture are no fault."""
    assert verdict.sketch is not None
    named = here._replace(name=verdict.name)
    if (place := memory.same("picture", verdict.digest.encode(), named)) is not None:
        if place.other:
            yield _again(field_name, "leak", "is the same picture as in", place)
        elif place.name != verdict.name:
            yield _again(field_name, "duplicate-image", f"holds the same bytes as {place.name or 'the picture'} of", place)
        return
    if (place := memory.near_picture(verdict.sketch, named)) is not None:
        yield _again(field_name, "near-duplicate-image", "looks like the picture of", place)


def _again(field_name: str, kind: str, said: str, place: Place) -> RowError:
    if place.other:
        reason = f"{said} row {place.row} of {place.file}, which this data must not share"
        return RowError(field_name, "leak", reason, "Remove it from the training data")
    return RowError(field_name, kind, f"{said} row {place.row} of {place.file}", "Keep one of them")


def _learn_other(source: Source, memory: Memory, media: MediaCheck) -> None:
    """Remember the rows of the other data; its own faults are for its own check."""
    for item in source.rows():
        if isinstance(item, Row):
            shown, _ = _media(item.sample, media, Report())
            for _ in _seen_before(item.sample, shown, memory, Place(item.file, item.row, other=True)):
                pass
