"""Tasks by name."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

import pytest

from sensorium.errors import DependencyError, RequestError
from sensorium.evaluation.task import Task
from sensorium.evaluation.tasks import registry
from sensorium.evaluation.tasks.registry import GROUPS, find_tasks, names
from tests.evaluation.tasks import published

DOCS = Path(__file__).parents[3] / "docs" / "tasks.md"


def test_every_name_gives_the_task_that_bears_it() -> None:
    for name in names():
        (task,) = find_tasks([name])
        assert task.name == name
        assert task.about
        assert task.extractor
        assert len(set(task.splits)) == len(task.splits) > 0


def test_every_task_is_tested_on_a_folder_or_made_here() -> None:
    assert set(names()) == {*published.FOLDERS, *GROUPS["world"], "easy_vqa", "babyai"}


def test_groups_are_several_tasks_and_each_is_taken_once() -> None:
    found = find_tasks(["flickr8k_retrieval", "flickr8k_text_to_image", "fsdd"])
    assert [task.name for task in found] == ["flickr8k_text_to_image", "flickr8k_image_to_text", "fsdd"]
    assert {name for group in GROUPS.values() for name in group} <= set(names())


def test_a_name_that_is_not_known_is_answered_with_near_ones() -> None:
    with pytest.raises(RequestError, match=r"task 'flickr8k_caption': is not known\. Did you mean flickr8k_captions"):
        find_tasks(["flickr8k_caption"])
    with pytest.raises(RequestError, match=r"task 'xyz': is not known\. `sensorium evaluate --tasks list` shows all"):
        find_tasks(["xyz"])


def test_a_file_of_ones_own_names_its_tasks(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from sensorium.evaluation.task import Task\n"
        "task = Task('mine', 'about', lambda data, split: [], lambda item, reply: None, 'score')\n"
        "other = Task('other', 'about', lambda data, split: [], lambda item, reply: None, 'score')\n"
    )
    assert [task.name for task in find_tasks([str(path), "fsdd"])] == ["mine", "other", "fsdd"]


def test_a_file_that_names_no_task_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.py"
    path.write_text("x = 1\n")
    with pytest.raises(RequestError, match=r"empty\.py: names no sensorium\.evaluation\.task\.Task\. Write `task = Task"):
        find_tasks([str(path)])
    with pytest.raises(RequestError, match=r"gone\.py: is not there"):
        find_tasks([str(tmp_path / "gone.py")])


def test_yaml_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DependencyError, match=r"my\.yaml: needs the package pyyaml\. Run: pip install 'sensorium\[eval\]'"):
        find_tasks(["my.yaml"])


def test_an_installed_package_brings_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    point = importlib.metadata.EntryPoint("strange", "tests.evaluation.tasks.test_registry:strange", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: importlib.metadata.EntryPoints([point]))
    assert "strange" in names()
    assert find_tasks(["strange"])[0].name == "strange"
    point = importlib.metadata.EntryPoint("strange", "tests.evaluation.tasks.published:FOLDERS", registry.GROUP)
    with pytest.raises(RequestError, match=r"published:FOLDERS: gives dict, not a sensorium\.evaluation\.task\.Task\. Let the"):
        find_tasks(["strange"])


def strange() -> Task:
    return Task("strange", "Of another package", lambda data, split: [], lambda item, reply: None, "score")


def test_the_documents_name_every_task_and_the_folder_it_reads(tmp_path: Path) -> None:
    said = DOCS.read_text("utf-8")
    for name in (*names(), *GROUPS):
        assert f"`{name}`" in said, name
    for name in published.FOLDERS:
        (task,) = find_tasks([name])
        with pytest.raises(RequestError) as caught:
            list(task.items(tmp_path, task.splits[-1]))
        wanted = caught.value.remedy.partition("data folder: ")[2]
        first = wanted.partition(",")[0].partition(" with ")[0].partition(" (")[0].partition(" and ")[0]
        assert first in said, (name, first)
