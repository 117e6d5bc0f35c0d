"""A proposed copy of checked data: rows with faults left out, save those whose words can be put right by rule."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from sensorium.data.checking.words import repaired
from sensorium.data.row import Row, Source
from sensorium.parts import Message, Part, Sample, Text, sample_to_json

REPAIRED = frozenset({"mojibake", "control-character"})
"""Faults that are put right."""
HARMLESS = frozenset({"wrong-extension"})
"""Faults with which a row is kept: media are read by their content."""

Broken = Mapping[tuple[str, int], Collection[str]]
"""Kinds of faults by (file, row)."""


class Copied(NamedTuple):
    """Rows written as they were, rows put right, and rows left out."""

    kept: int
    repaired: int
    left_out: int


def write_repaired(source: Source, broken: Broken, target: Path, step: Callable[[], None] = lambda: None) -> Copied:
    """Write one sample a line in the project's own form; media paths start from the new file's folder."""
    kept = mended = left_out = 0
    with target.open("w", encoding="utf-8") as file:
        for item in source.rows():
            step()
            kinds = set(broken.get((item.file, item.row), ()))
            if not isinstance(item, Row) or kinds - REPAIRED - HARMLESS:
                left_out += 1
                continue
            sample = _mended(item.sample) if kinds & REPAIRED else item.sample
            mended += bool(kinds & REPAIRED)
            kept += not kinds & REPAIRED
            file.write(json.dumps(sample_to_json(_moved(sample, target.parent)), ensure_ascii=False) + "\n")
    return Copied(kept, mended, left_out)


def _mended(sample: Sample) -> Sample:
    return _with_parts(sample, lambda part: Text(repaired(part.text)) if isinstance(part, Text) else part)


def _moved(sample: Sample, folder: Path) -> Sample:
    def part_from(part: Part) -> Part:
        if isinstance(part, Text) or isinstance(part.source, bytes) or ":" in part.source[:8]:
            return part
        return replace(part, source=os.path.relpath(part.source, folder))

    return _with_parts(sample, part_from)


def _with_parts(sample: Sample, change: Callable[[Part], Part]) -> Sample:
    def messages() -> Iterator[Message]:
        for message in sample.messages:
            yield replace(message, parts=tuple(change(part) for part in message.parts))

    return replace(sample, messages=tuple(messages()))
