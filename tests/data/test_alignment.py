"""Captions that do not fit: how many are found and how many good ones are lost, on scores whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest

from sensorium.data.checking.alignment import Alignment, Vectors, captioned, threshold
from sensorium.data.synthetic import World
from sensorium.parts import Image, Message, Sample, Text
from tests.data import oracle


@pytest.mark.parametrize(("gap", "share"), [(4.0, 0.2), (6.0, 0.2), (5.0, 0.05)])
def test_planted_misfits_are_found_and_good_pairs_kept(gap: float, share: float) -> None:
    random = np.random.default_rng(0)
    count = int(share * 2000)
    bad, good = random.normal(0, 1, count), random.normal(gap, 1, 2000 - count)
    true, false = np.concatenate([bad, good]).astype(np.float32), random.normal(0, 1, 16_000).astype(np.float32)
    unfit, limit = threshold(true, false)
    assert unfit == pytest.approx(share, abs=0.03)
    assert (bad <= limit).mean() >= 0.9 and (good <= limit).mean() <= 0.03


def test_clean_pairs_are_left_alone() -> None:
    random = np.random.default_rng(1)
    true, false = random.normal(6, 1, 2000).astype(np.float32), random.normal(0, 1, 16_000).astype(np.float32)
    unfit, limit = threshold(true, false)
    assert unfit == 0 and limit == float("-inf")


def row(index: int, caption: str) -> Sample:
    return Sample(
        str(index), (Message("user", (Image(f"{index}.png"), Text("Describe."))), Message("assistant", (Text(caption),)))
    )


def run(rows: Sequence[Sample], embed: object) -> tuple[list[tuple[int, str]], list[str]]:
    alignment = Alignment(embed)  # type: ignore[arg-type]
    for number, sample in enumerate(rows, 1):
        alignment(sample, "f", number)
    notes: list[str] = []
    return [(fault.row, fault.field) for fault in alignment.end(notes.append)], notes


def test_the_worlds_swapped_captions_are_found_in_place() -> None:
    world = World(3)
    rows = [row(index, world.scene(index).captions("en")[index % 4]) for index in range(150)]
    rows[20], rows[90] = row(20, "A brown moon and a pink arrow."), row(90, "A white ring and a brown cross.")
    found, notes = run(rows, partial(oracle.embed, world))
    assert (21, "messages[1]") in found and (91, "messages[1]") in found and len(found) <= 3
    assert notes[0].startswith("alignment: 142 pairs judged, true above shuffled in ") and notes[0].endswith("do not fit")


def test_a_model_that_cannot_tell_says_so_instead() -> None:
    random = np.random.default_rng(0)

    def embed(messages: Sequence[Message]) -> Vectors:
        vectors = random.normal(size=(len(messages), 16))
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    world = World(3)
    rows = [row(index, world.scene(index).captions("en")[0]) for index in range(100)]
    found, notes = run(rows, embed)
    assert not found and notes[0].startswith("alignment: the model cannot judge these pairs (it ranks a true one above")
    found, notes = run(rows[:5], embed)
    assert not found and notes == ["alignment: 5 captioned pictures are too few to judge (20 are needed)"]


def test_only_one_picture_with_one_sentence_is_judged() -> None:
    pair = captioned(row(1, "A red circle there."))
    assert pair is not None and pair[1:] == ("A red circle there.", "1")
    assert captioned(row(1, "yes")) is None
    two = Sample("2", (Message("user", (Image("a"), Image("b"))), Message("assistant", (Text("A red circle there."),))))
    assert captioned(two) is None
