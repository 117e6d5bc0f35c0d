"""The tasks that need no data folder: the synthetic world, easy-VQA, BabyAI."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path

import pytest

from sensorium.data.synthetic import HELD_OUT, KINDS, World
from sensorium.errors import DependencyError
from sensorium.evaluation.task import Item, Reply, Task
from sensorium.evaluation.tasks.registry import GROUPS, find_tasks
from sensorium.evaluation.variant import media, words_of
from sensorium.media import video
from sensorium.parts import Audio, Image, Video

NOWHERE = Path("nowhere")
FEW = 12


def some(name: str, split: str = "", count: int = FEW) -> tuple[Task, list[Item]]:
    (task,) = find_tasks([name])
    return task, list(islice(task.items(NOWHERE, split or task.splits[-1]), count))


@pytest.mark.parametrize("name", GROUPS["world"])
def test_every_kind_of_the_world_is_a_task_whose_right_answers_are_right(name: str) -> None:
    task, items = some(name)
    assert len({item.sample.id for item in items}) == FEW
    assert task.answer is not None
    for item in items:
        (medium,) = media(item)
        assert type(medium).__name__.lower() in task.needs
        assert task.score(item, Reply(task.answer(item)))[task.main] == 1  # type: ignore[index]
        assert task.score(item, Reply("Zebra [0, 0, 1, 0].")) is not None
        assert task.score(item, Reply("")) is None
    assert items == some(name)[1]


@pytest.mark.parametrize("name", GROUPS["world"])
def test_twins_are_drawn_alike_and_are_other_items(name: str) -> None:
    task, items = some(name)
    assert task.twins is not None and task.answer is not None
    twins = list(islice(task.twins(NOWHERE, task.splits[-1]), FEW))
    assert twins == list(islice(task.twins(NOWHERE, task.splits[-1]), FEW)) and len(twins) == FEW
    assert not {part.source for item in items for part in media(item)} & {part.source for item in twins for part in media(item)}
    assert [type(part) for item in items for part in media(item)] == [type(part) for item in twins for part in media(item)]
    assert all(task.score(item, Reply(task.answer(item)))[task.main] == 1 for item in twins)  # type: ignore[index]


def test_the_world_has_a_task_for_each_kind_one_for_new_pairs_and_one_for_boxes() -> None:
    assert GROUPS["world"] == (*(f"world_{kind}" for kind in KINDS), "world_composition", "world_boxes")
    assert [task.name for task in find_tasks(["world"])] == list(GROUPS["world"])


@pytest.mark.parametrize(("name", "kind"), [("world_order", Video), ("world_sound", Audio), ("world_negation", Image)])
def test_each_kind_shows_what_has_to_be_seen_or_heard(name: str, kind: type) -> None:
    assert {type(medium) for item in some(name)[1] for medium in media(item)} == {kind}


def test_composition_asks_about_pairs_that_no_other_split_shows() -> None:
    _, items = some("world_composition", count=30)
    world = World()
    for item in items:
        split, _, number = item.cluster.partition("-")
        assert split == "novel"
        scene = world.scene(int(number), "novel")
        asked = next(question for question in scene.questions() if question.question == words_of(item))
        (thing,) = (thing for thing in scene.things if thing.box == asked.box)
        assert thing.pair in HELD_OUT
    _, seen = some("world_composition", "train", 30)
    assert all(item.cluster.startswith("train-") for item in seen)


def test_a_judged_scene_is_no_scene_of_the_examples() -> None:
    pictures = {split: {media(item)[0] for item in some("world_counting", split, 40)[1]} for split in ("train", "test")}
    assert not pictures["train"] & pictures["test"]


@pytest.mark.parametrize(("reply", "right"), [("Two.", 1.0), ("2", 1.0), ("three", 0.0)])
def test_numbers_count_in_words_and_digits(reply: str, right: float) -> None:
    task, items = some("world_counting", count=60)
    item = next(item for item in items if item.gold["answer"] == "2")
    assert task.score(item, Reply(reply)) == {"exact_match": right}


def test_drawings_come_with_their_package() -> None:
    pytest.importorskip("easy_vqa")
    task, items = some("easy_vqa")
    assert all(Path(str(medium.source)).is_file() for item in items for medium in media(item))
    assert words_of(items[0]).endswith("?")
    assert words_of(items[0])[0].isupper()
    assert task.score(items[0], Reply(str(items[0].gold["answers"][0]).capitalize() + ".")) == {"exact_match": 1.0}


def test_missions_are_played_filmed_and_asked_among_four_that_the_room_allows() -> None:
    pytest.importorskip("minigrid")
    task, items = some("babyai", count=6)
    for item in items:
        (clip,) = media(item)
        assert isinstance(clip, Video)
        assert len(item.choices) == len(set(item.choices)) == 4
        assert words_of(item) == "\n".join(["Which mission is carried out?", *item.choices])
        right = item.choices[item.gold["right"]]
        assert task.score(item, Reply(right)) == {"accuracy": 1.0}
        assert task.score(item, Reply(item.choices[item.gold["right"] - 1])) == {"accuracy": 0.0}
        assert task.score(item, Reply("Go home.")) is None
        assert len({choice.split()[0] for choice in item.choices}) == 1
    film = video.decode(media(items[0])[0].source)
    assert len(film.times_F) > 1
    assert some("babyai", count=6)[1] == items


@pytest.mark.parametrize(
    ("name", "package", "remedy"),
    [("easy_vqa", "easy_vqa", "pip install easy-vqa==1.0"), ("babyai", "minigrid", "pip install 'sensorium[eval]'")],
)
def test_a_package_that_is_missing_is_named(name: str, package: str, remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for known in [known for known in sys.modules if known.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, known)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DependencyError) as caught:
        some(name, count=1)
    assert str(caught.value) == f"the task {name}: needs the package {package.replace('_', '-')}. Run: {remedy}."


def test_missions_of_the_examples_are_others(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("minigrid")
    shown = [{media(item)[0] for item in some("babyai", split, 3)[1]} for split in ("train", "test")]
    assert not shown[0] & shown[1]
    assert capsys.readouterr().out == ""
