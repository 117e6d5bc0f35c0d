"""Fresh items to compare an exam with, and log-probabilities that are asked for once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from sensorium.errors import RequestError
from sensorium.evaluation.run import Listener, Options
from sensorium.evaluation.subject import wrap
from sensorium.evaluation.sureness import fresh_items, recorded
from sensorium.evaluation.task import Task
from sensorium.parts import Message
from tests.evaluation.exam import Looker, items, subject, task

SPLIT = replace(task(), splits=("train", "dev", "test"))


def test_a_task_makes_its_own_or_another_split_stands_in() -> None:
    own = replace(task(), name="own", twins=lambda _, split: items(30) if split == "test" else [])
    found = fresh_items([own, SPLIT, replace(task(), name="neither")], Options(Path()), "dev", 20)
    assert {name: len(some) for name, some in found.items()} == {"own": 20, SPLIT.name: 20}
    assert list(fresh_items([own, SPLIT], Options(Path()), "", 20)) == ["own"]


@pytest.mark.parametrize(
    "without",
    [replace(SPLIT, answer=None), replace(SPLIT, gallery=lambda _, __: items(4)), replace(SPLIT, transcript=True)],
)
def test_what_is_found_heard_or_has_no_right_words_is_left_out(without: Task) -> None:
    assert fresh_items([without], Options(Path()), "dev", 20) == {}


def test_a_split_that_does_not_serve_is_refused() -> None:
    with pytest.raises(RequestError, match=r"are of the split test, which is judged\. Name another split"):
        fresh_items([SPLIT], Options(Path()), "test", 20)
    with pytest.raises(RequestError, match=r"are to be had for no task named\. Known splits: dev, test, train"):
        fresh_items([SPLIT], Options(Path()), "val", 20)


class Weigher(Looker):
    """Tells likelihoods, and refuses every fifth item."""

    def score(self, messages: Sequence[Message], answers: Sequence[str]) -> list[float]:
        self.asked += len(messages)
        if self.asked % 5 == 0:
            raise RequestError("picture", "is too dark", "Give another")
        return [-float(len(answer)) for answer in answers]


def test_each_is_asked_once_and_refused_ones_are_none(tmp_path: Path) -> None:
    asked = [replace(item, choices=(str(item.gold["answer"]),)) for item in items(10)]
    model = Weigher()
    for _ in range(2):
        with recorded(wrap(model, "weigher", "server", "w", {}), tmp_path, "code", 4, Listener()) as sure:
            assert sure is not None
            found = sure(task(), asked)
        assert [place for place, value in enumerate(found) if value is None] == [4, 9]
        assert found[0] == -float(len(asked[0].choices[0]))
    assert model.asked == 10


def test_a_model_without_likelihoods_is_not_asked(tmp_path: Path) -> None:
    with recorded(subject(Looker()), tmp_path, "code", 4, Listener()) as sure:
        assert sure is None
