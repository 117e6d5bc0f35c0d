"""The overhead is measured on the same questions in the same batches, whoever asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.evaluation_overhead import bare, distinct, harness, measure
from sensorium.evaluation.run import Options
from sensorium.evaluation.subject import wrap
from sensorium.model.generate import Assistant
from sensorium.model.presets import tiny
from sensorium.parts import Answer, Message
from sensorium.protocols import Sampling
from tests.evaluation.exam import Looker, items, subject, task


class Listening(Looker):
    """Keeps the batches that it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[Sequence[Message]]] = []

    def answer(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[Answer]:
        self.batches.append([tuple(messages) for messages in conversations])
        return super().answer(conversations, sampling)


def options(folder: Path, size: int) -> Options:
    return Options(folder, size=size, variants=lambda _: (), rounds=20)


def test_both_sides_ask_the_same_batches_and_nothing_twice(tmp_path: Path) -> None:
    model, wanted = Listening(), options(tmp_path, 5)
    twice = [item for item in items(12) for _ in range(2)]
    named = [replace(item, sample=replace(item.sample, id=f"{place}")) for place, item in enumerate(twice)]
    exam, left = distinct(subject(model), replace(task(), items=lambda _, __: named), wanted)
    assert len(left) == 12
    bare(subject(model), exam, left, wanted.size)
    alone, model.batches = model.batches, []
    harness(subject(model), exam, wanted, report=True)
    assert model.batches == alone and [len(batch) for batch in alone] == [5, 5, 2]


def test_a_toy_is_measured(tmp_path: Path) -> None:
    model = tiny()
    model.reader = replace(model.reader, policy=replace(model.reader.policy, words_in_images=False))
    toy = wrap(Assistant(model.eval(), "tiny"), "tiny", "sensorium", "tiny", {})
    for choices in (False, True):
        cost = measure(toy, task(8, choices=choices), options(tmp_path, 4), 2)
        assert {side: len(found) for side, found in cost.seconds.items()} == {"bare": 2, "harness": 2, "command": 2}
        assert all(found.n == 2 and found.value > -1 for found in cost.over.values())
        assert all(found.n == 2 and 0 < found.low <= found.value for found in cost.outside.values())
