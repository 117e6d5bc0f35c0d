"""Things named but not there: shares with intervals, which words, where; descriptions that fit are told from made-up ones."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from sensorium.audit.exam import Exam
from sensorium.audit.hallucination import affirmed, check, described
from sensorium.evaluation.kept import Kept
from sensorium.evaluation.task import Item, Reply, Task
from sensorium.evaluation.variant import PLAIN
from sensorium.parts import Image, Message, Sample, Text

TASK = Task("photos", "", lambda _, __: (), lambda _, __: {"score": 0.0}, "score")
NAMES = ("dog", "ball", "bench", "boat", "horse", "car", "fence", "tree")
CAPTIONS = {
    "dog": "A dog runs.", "ball": "A ball lies there.", "bench": "A bench stands there.", "boat": "A boat floats.",
    "horse": "A horse stands there.", "car": "A car waits.", "fence": "A fence is seen.", "tree": "A tree grows.",
}  # fmt: skip


def exam(shown: Sequence[Sequence[str]], replies: Sequence[str], boxes: bool) -> Exam:
    items = []
    for number, names in enumerate(shown):
        objects = [{"name": name, "box": [0.1, 0.1, 0.5, 0.5]} for name in names]
        said = Message("user", (Image(f"{number}.jpg"), Text("Describe the photo.")))
        gold = {} if boxes else {"captions": [CAPTIONS[name] for name in names]}
        items.append(Item(Sample(str(number), (said,), {"objects": objects} if boxes else {}), gold))
    rows = [Kept(str(number), "", "k", (), {}, Reply(text), {"score": 0.0}) for number, text in enumerate(replies)]
    return Exam(TASK, items, {PLAIN.name: rows})


def photos(count: int, seed: int) -> list[list[str]]:
    chance = random.Random(seed)
    return [chance.sample(NAMES, 3) for _ in range(count)]


def told(names: Sequence[str]) -> str:
    return " ".join(CAPTIONS[name] for name in names)


@pytest.mark.parametrize("boxes", [True, False])
def test_every_thing_named_is_looked_up(boxes: bool) -> None:
    shown = [["dog", "ball", "horse"], ["car"], ["tree", "boat"]]
    row = described(exam(shown, ["A dog and a ball.", "A car by a tree.", "A boat, a horse; a horse!"], boxes))
    assert row is not None and row.absent.value == 2 / 6 and row.absent.n == 6
    words = {name.removeprefix("a "): (count, total) for name, count, total in row.words}
    assert words == {"tree": (1, 1), "horse": (1, 1)}
    assert [line.replace("a ", "") for line in row.evidence] == ["1: tree", "2: horse"]


@pytest.mark.parametrize("boxes", [True, False])
def test_a_noisy_but_sighted_describer_passes(boxes: bool) -> None:
    for seed in range(6):
        chance, shown = random.Random(seed), photos(40, seed)
        said = [told([name if chance.random() < 0.6 else chance.choice(NAMES) for name in names]) for names in shown]
        (found,) = check(exam(shown, said, boxes))
        assert found.passed and "things named are not there; beside any other picture it would be" in found.claim


@pytest.mark.parametrize("boxes", [True, False])
def test_one_who_describes_other_photos_is_named(boxes: bool) -> None:
    caught = 0
    for seed in range(6):
        shown = photos(40, seed)
        (found,) = check(exam(shown, [told(names) for names in photos(40, seed + 100)], boxes))
        caught += not found.passed
        if not found.passed:
            assert found.claim.startswith("The model makes up what it describes: ") and found.evidence
            assert "; most often" in found.claim and found.estimate is not None and found.estimate.n == 120
    assert caught >= 5


def asked(rows: Sequence[tuple[str, str, str]], wording: str = "Is there {} in the photo?") -> Exam:
    """`(thing, right, said)` each."""
    task = Task("pope", "", lambda _, __: (), lambda _, __: {"score": 0.0}, "score", answer=lambda item: item.gold["answer"])
    items = [
        Item(Sample(str(number), (Message("user", (Image(f"{number}.jpg"), Text(wording.format(thing)))),)), {"answer": right})
        for number, (thing, right, _) in enumerate(rows)
    ]
    kept = [Kept(str(number), "", "k", (), {}, Reply(said), {"score": 0.0}) for number, (*_, said) in enumerate(rows)]
    return Exam(task, items, {PLAIN.name: kept})


def test_which_absent_things_are_affirmed() -> None:
    rows = [("a dog", "Yes.", "Yes."), ("a cat", "No.", "yes, there is"), ("a cat", "No.", "Yes"), ("a car", "No.", "No")] * 10
    rows += [("a bus", "Yes.", "Yes.")] * 10
    for wording in ("Is there {} in the photo?", "Is there {} in the image?\nAnswer the question using a single word."):
        row = affirmed(asked(rows, wording))
        assert row is not None and row.wrongly.value == 2 / 3 and row.wrongly.n == 30 and row.lean.value == 2 / 3
        assert row.words == (("a cat", 20, 20),) and row.evidence[0] == "1: a cat"
    (found,) = check(asked(rows))
    assert not found.passed and "67% of 30 things that are not there are said to be, against 0% of those there" in found.claim


def test_mistakes_both_ways_are_no_hallucination() -> None:
    rows = [("a dog", "Yes.", "Yes."), ("a dog", "No.", "No."), ("a cat", "Yes.", "No."), ("a cat", "No.", "Yes.")] * 15
    (found,) = check(asked(rows))
    assert found.passed and "50% of 30 things" in found.claim


def test_tasks_without_objects_are_left_alone() -> None:
    assert check(asked([("a dog", "Yes.", "Yes.")] * 40)) == []
    assert check(asked([("a dog", "Brown.", "Brown.")] * 40, "What colour is {}?")) == []
