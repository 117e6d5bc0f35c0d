"""Recipes are found, checked, run, resumed and searched."""

from __future__ import annotations

import importlib.util
import json
import sys
import tomllib
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from sensorium.errors import DependencyError, RequestError
from sensorium.training import energy, recipe, tuning
from sensorium.training.config import Settings
from sensorium.training.run import Training
from sensorium.training.runlog import RunFolder
from sensorium.training.schedule import Constant, Cosine, Linear, Plateau, Stable, Steps
from sensorium.training.truth import Truth

ROOT = Path(__file__).parents[2]
OWN = '''
"""A recipe of one's own."""

from sensorium.training.optimizer import Part
from sensorium.training.run import Recipe, Run
from sensorium.training.task import Task
from tests.training.toy import Numbers, Scaled, Toy


class Config(Recipe):
    rate: float = 0.02
    decay: float = 0.0
    extra: int = 0


def main(config: Config, run: Run) -> None:
    held = Numbers(16, 1)
    held.turn = 10_000
    part = Part(rate=config.rate, decay=config.decay)
    run.train(Toy(), [Task("sums", Scaled(), Numbers(), held.draw())], {"head": part}, config.training, data="made up")
    if config.rate > 1:
        print(config.extra)
'''
SETS = ("training.steps=8", "training.precision=fp32", "training.evaluate_every=4", "training.truth.blind=false")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(OWN, "utf-8")
    return path


def test_ours_are_found_by_name_and_yours_by_path(own: Path) -> None:
    assert {"connect", "finetune", "instruct", "speak"} <= set(recipe.names())
    assert not {name for name in recipe.names() if name.startswith("nano")}
    assert recipe.find("connect").name == "connect.py"
    assert recipe.find(str(own)) == own
    with pytest.raises(RequestError, match=r"recipe conect: is not known\. Use one of .*connect"):
        recipe.find("conect")
    with pytest.raises(RequestError, match="is not there"):
        recipe.find("gone.py")


def test_a_wheel_carries_ours_and_no_other() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["data-files"]
    assert listed == {"share/sensorium/recipes": [f"recipes/{name}.py" for name in recipe.names([ROOT / "recipes"])]}


@pytest.mark.parametrize("name", recipe.names())
def test_each_of_ours_is_short_and_says_what_it_does(name: str) -> None:
    path = recipe.find(name)
    assert len(path.read_text("utf-8").splitlines()) < 100
    kind, _ = recipe.load(path)
    assert kind().to_json()


def test_a_setting_that_a_recipe_never_reads_is_an_error_at_once(own: Path, tmp_path: Path) -> None:
    own.write_text(OWN.replace("decay: float = 0.0", "decay: float = 0.0\n    idle: int = 3"), "utf-8")
    with pytest.raises(RequestError, match=r"setting idle of own\.py: is read nowhere in it"):
        recipe.execute(str(own), (), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    own.write_text(OWN.replace("Config", "Settings"), "utf-8")
    with pytest.raises(RequestError, match="has no `class Config"):
        recipe.load(own)


def test_a_setting_that_had_no_effect_is_an_error_at_the_end(own: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"setting extra: was read by nothing: it had no effect\."):
        recipe.execute(str(own), (*SETS, "extra=1"), tmp_path / "run")
    assert (tmp_path / "run" / "states").is_dir()


KINDS: tuple[type[Settings], ...] = (Constant, Linear, Cosine, Steps, Stable, Plateau)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
def test_every_setting_of_a_run_is_read_by_something(kind: type[Settings], own: Path, tmp_path: Path) -> None:
    given = {"steps": 2, "precision": "fp32", "evaluate_every": 1, "minutes": 100, "save_minutes": 10}
    words = [f"training.{key}={value}" for key, value in given.items()]
    for key, value in Training().to_json().items():
        if key not in (*given, "schedule", "truth", "features"):  # features are of language models: see test_recipes.py
            words.append(f"training.{key}={value}")
    words += [f"training.truth.{key}={value}" for key, value in Truth().to_json().items()]
    words += [f"training.schedule.{key}={value}" for key, value in kind().to_json().items()]
    assert recipe.execute(str(own), [*words, "seed=1"], tmp_path / "run")["main"].steps == 2


def test_the_folder_of_a_run_says_all_about_it(own: Path, tmp_path: Path) -> None:
    outcome = recipe.execute(str(own), SETS, tmp_path / "run", command=["sensorium", "train", "a b"])["main"]
    folder = tmp_path / "run"
    facts = json.loads((folder / "run.json").read_text("utf-8"))
    assert facts["command"] == "sensorium train 'a b'"
    assert facts["seed"] == 0
    assert facts["recipe"] == "own"
    assert facts["data"] == {"main": "made up"}
    assert facts["environment"]["packages"]["torch"] == torch.__version__
    assert len(facts["code"]["sources"]) == 64
    assert facts["precision"] == "fp32"
    assert facts["learning"] == {"head": 18, "objective": 1}
    assert len(facts["energy"]) == 1
    assert json.loads((folder / "config.json").read_text("utf-8"))["training"]["steps"] == 8
    assert (folder / "recipe.py").read_text("utf-8") == OWN
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text("utf-8").splitlines()]
    assert [row["event"] for row in rows] == [*["step"] * 4, "evaluation", *["step"] * 4, "evaluation", "end"]
    assert rows[0]["norms"].keys() == {"head", "objective"}
    assert outcome.steps == 8
    assert outcome.first == rows[0]["terms"]
    assert outcome.last == rows[-2]["values"]


def test_a_run_goes_on_only_where_it_is_asked_to_and_as_it_was_begun(own: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    recipe.execute(str(own), SETS, folder)
    with pytest.raises(RequestError, match=r"holds a run already\. Add --resume"):
        recipe.execute(str(own), SETS, folder)
    with pytest.raises(RequestError, match=r"another configuration: rate was 0\.02 and is 0\.5\. Resume with the settings"):
        recipe.execute(str(own), (*SETS, "rate=0.5"), folder, resume=True)
    assert recipe.execute(str(own), SETS, folder, resume=True)["main"].steps == 8
    assert len(json.loads((folder / "run.json").read_text("utf-8"))["commands"]) == 2
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(RequestError, match="is not empty"):
        RunFolder(tmp_path / "photos", {}, resume=True)


def test_energy_is_measured_or_said_not_to_be(tmp_path: Path) -> None:
    told = energy.start_meter()()
    assert "estimated_kwh" in told or (told["energy"] == "not measurable" and told["because"])
    (tmp_path / "intel-rapl:0").mkdir()
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("1")
    assert len(energy.counters(tmp_path)) == 1
    assert energy.counters(tmp_path / "none") == []


class Tracker:
    """What codecarbon's tracker is asked for."""

    running = False

    def __init__(self, **options: Any) -> None:
        assert options["save_to_file"] is False

    def start(self) -> None:
        Tracker.running = True

    def stop(self) -> None:
        Tracker.running = False
        self.final_emissions_data = SimpleNamespace(energy_consumed=0.25)


def test_what_codecarbon_says_is_called_an_estimate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = ModuleType("codecarbon")
    module.__spec__ = ModuleSpec("codecarbon", None)
    module.OfflineEmissionsTracker = Tracker  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "codecarbon", module)
    monkeypatch.setattr(energy, "counters", lambda: [tmp_path])
    stop = energy.start_meter()
    assert Tracker.running
    told = stop()
    assert not Tracker.running
    assert told["estimated_kwh"] == 0.25
    assert "codecarbon" in told["by"]
    monkeypatch.delitem(sys.modules, "codecarbon")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "codecarbon is not installed" in energy.start_meter()()["because"]


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_tensorboard_reads_what_a_run_wrote(own: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe.execute(str(own), (*SETS, "training.live=tensorboard"), tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text("utf-8").splitlines()]
    found = EventAccumulator(str(tmp_path / "run" / "live"))
    found.Reload()
    for name, key in (("loss", "terms"), ("rate", None), ("norm", None)):
        right = [(row["step"], row[key][name] if key else row[name]) for row in rows if row["event"] == "step"]
        assert [(one.step, one.value) for one in found.Scalars(name)] == [(step, pytest.approx(value)) for step, value in right]
    held = [(row["step"], row["values"]["loss"]) for row in rows if row["event"] == "evaluation"]
    assert [(one.step, one.value) for one in found.Scalars("held/loss")] == [(step, pytest.approx(loss)) for step, loss in held]


def test_a_live_view_without_its_package_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, own: Path, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(
        DependencyError, match=r"tensorboard: is not installed\. Install sensorium\[train\], or set training\.live"
    ):
        recipe.execute(str(own), (*SETS, "training.live=tensorboard"), tmp_path / "run")


@pytest.mark.parametrize("text", ["rate", "rate=3", "rate=log(1)"])
def test_a_range_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="is not a range"):
        tuning.parse_range(text)


@pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="optuna is not installed")
def test_a_search_finds_the_better_setting_and_goes_on(own: Path, tmp_path: Path) -> None:
    best = tuning.search(str(own), SETS, ["rate=1e-9|0.05"], 4, tmp_path / "search")
    assert best.sets == ("rate=0.05",)
    assert json.loads((tmp_path / "search" / "best.json").read_text("utf-8"))["loss"] == best.loss
    before = (tmp_path / "search" / "trial-000" / "log.jsonl").stat().st_mtime_ns
    assert tuning.search(str(own), SETS, ["rate=1e-9|0.05"], 4, tmp_path / "search") == best
    assert (tmp_path / "search" / "trial-000" / "log.jsonl").stat().st_mtime_ns == before


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, own: Path, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(DependencyError, match=r"optuna: is not installed\. Install sensorium\[train\]"):
        tuning.search(str(own), (), ["rate=1|2"], 1, tmp_path / "search")
