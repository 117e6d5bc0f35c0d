"""Two processes learn what one learns, whatever their rows show; they stop together, and go on in any number."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import socket
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from sensorium.errors import CheckpointError, RequestError
from sensorium.training.distributed import Together, World, join, share
from sensorium.training.optimizer import Group, Part, adamw
from sensorium.training.run import Recipe, Run, Training
from sensorium.training.sharded import SharedStates
from sensorium.training.spread import spread
from sensorium.training.state import Held
from sensorium.training.task import Task
from tests.training.together import Squares, Towers, Turns, compared, process, run, whole_run

GUARD = 60
"""Seconds after which processes count as hung, on a machine of their own."""


class Ended(NamedTuple):
    code: int | None
    said: str


def launch(case: str, folder: Path, size: int = 2, steps: int = 8) -> list[Ended]:
    """What `torchrun` does, without its agent; processes are forked from one that has imported everything."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.training.together"])
    running = [context.Process(target=process, args=(case, folder, rank, size, port, steps)) for rank in range(size)]
    for one in running:
        one.start()
    deadline = time.monotonic() + GUARD * (1 + os.getloadavg()[0])
    for one in running:
        one.join(max(0.0, deadline - time.monotonic()))
    hung = [one for one in running if one.is_alive()]
    for one in hung:
        one.kill()
    assert not hung, f"{len(hung)} processes hang"
    return [Ended(one.exitcode, (folder / f"said-{rank}.txt").read_text()) for rank, one in enumerate(running)]


def told(folder: Path, case: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{case}.json").read_text())
    return found


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "case", ["skewed", "sharded skewed", pytest.param("even", marks=SLOW), pytest.param("sharded", marks=SLOW)]
)
def test_two_processes_give_the_losses_and_weights_of_one(case: str, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    run(case.replace("sharded", "").strip() or "even", alone, World())
    one = told(alone, case.replace("sharded", "").strip() or "even")
    for ended in launch(case, tmp_path):
        assert ended.code == 0, ended.said
    two = told(tmp_path, case)
    assert len(two["losses"]) == 8
    assert two["losses"] == pytest.approx(one["losses"], abs=1e-5)
    assert two["norms"] == pytest.approx(one["norms"], abs=1e-5)
    assert two["terms"] == one["terms"], "terms that only one process knows are told too"
    assert one["losses"][-1] != one["losses"][0]
    for name, weight in one["weights"].items():
        assert torch.allclose(torch.tensor(two["weights"][name]), torch.tensor(weight), atol=1e-5), name
    torch.manual_seed(0)
    if "sharded" not in case:
        assert two["weights"]["idle.weight"] == Towers().idle.weight.tolist(), "what no process touches stays"


@pytest.mark.parametrize("case", ["run shards", pytest.param("run", marks=SLOW)])
def test_a_recipes_run_in_two_processes_is_that_of_one(case: str, tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    whole_run(case, tmp_path / "alone", World())
    for ended in launch(case, tmp_path):
        assert ended.code == 0, ended.said
    one, two = told(tmp_path / "alone", case), told(tmp_path, case)
    assert len(one["losses"]) == 8, "six steps, two evaluations"
    assert two["losses"] == pytest.approx(one["losses"], abs=1e-5)
    for name, weight in one["weights"].items():
        assert torch.allclose(torch.tensor(two["weights"][name]), torch.tensor(weight), atol=1e-5), name


def test_pairs_of_two_processes_are_compared_as_those_of_one(tmp_path: Path) -> None:
    """Losses, terms and gradients, with rows shared out unevenly and near-duplicates in different processes."""
    (tmp_path / "alone").mkdir()
    compared(tmp_path / "alone", World())
    for ended in launch("compared", tmp_path):
        assert ended.code == 0, ended.said
    one, two = told(tmp_path / "alone", "compared"), told(tmp_path, "compared")
    assert len(one) == 4
    for name, wanted in one.items():
        assert two[name]["numbers"] == pytest.approx(wanted["numbers"], abs=1e-5), name
        assert max(map(abs, wanted["gradients"])) > 1e-2
        assert two[name]["gradients"] == pytest.approx(wanted["gradients"], abs=1e-5), name
    assert one["softmax in chunks, doubted"]["numbers"]["size"] < 8, "some pairs are doubted"


def test_processes_that_compare_their_pairs_do_not_wait_for_one_that_has_none(tmp_path: Path) -> None:
    wanted = "a batch that all processes compare: is of [1, 0] parts in the 2 processes"
    for ended in launch("meeting", tmp_path):
        assert ended.code != 0
        assert wanted in ended.said


def test_parts_of_a_batch_that_all_compare_are_not_run_side_by_side(tmp_path: Path) -> None:
    config = Recipe(training=Training(steps=1, precision="fp32", workers=2))
    run = Run(tmp_path, config, world=World(0, 2))
    assert isinstance(run.gather, Together) and Run(tmp_path / "alone", config).gather is None
    task = Task("squares", Squares(), Turns(World(), False), gathered=True)
    with pytest.raises(RequestError, match=r"training\.workers: of 2 let parts of a batch run out of step.*Set it to 1"):
        run.train(Towers(), [task], {"*": Part()}, config.training)


def test_an_error_in_one_process_stops_all_with_its_message(tmp_path: Path) -> None:
    first, last = launch("failing", tmp_path)
    assert first.code != 0
    assert last.code != 0
    assert "ZeroDivisionError: this row cannot be read" in last.said
    assert "ProcessError: process 1: stopped with ZeroDivisionError: this row cannot be read" in first.said


def test_a_process_that_is_killed_stops_the_others(tmp_path: Path) -> None:
    first, last = launch("killed", tmp_path)
    assert last.code == -9
    assert first.code == 1
    assert "another process: has ended without a word: killed, or out of memory" in first.said


@pytest.mark.parametrize("kind", ["kept sharded", pytest.param("kept", marks=SLOW)])
def test_a_run_of_two_processes_goes_on_in_two_and_in_one(kind: str, tmp_path: Path) -> None:
    whole, cut, single = (tmp_path / name for name in ("whole", "cut", "single"))
    for folder in (whole, cut):
        folder.mkdir()
    assert [ended.code for ended in launch(kind, whole)] == [0, 0]
    assert [ended.code for ended in launch(kind, cut, steps=5)] == [0, 0]
    files = sorted(path.name for path in (cut / "states" / "step-00000005").iterdir())
    assert files == ["index.json", "process-0-of-2.safetensors", "process-1-of-2.safetensors"]
    (cut / "states" / "step-00000005" / "index.json").unlink()  # as if it had been interrupted there
    single.mkdir()
    shutil.copytree(cut / "states", single / "states")
    assert [ended.code for ended in launch(kind, cut)] == [0, 0]
    assert told(cut, kind)["losses"] == told(whole, kind)["losses"][4:], "to the bit"
    assert told(cut, kind)["weights"] == told(whole, kind)["weights"]
    run("kept", single, World())
    assert told(single, "kept")["losses"] == pytest.approx(told(whole, kind)["losses"][4:], abs=1e-5)


def test_a_damaged_state_is_passed_over_and_another_model_refused(tmp_path: Path) -> None:
    run("kept", tmp_path, World(), steps=8)
    newest = tmp_path / "states" / "step-00000008" / "process-0-of-1.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1] + b"x")
    model = Towers()
    held = Held(dict(model.named_parameters()), adamw([Group(dict(model.named_parameters()), 0.1)]))
    place, passed = SharedStates(tmp_path / "states", Together(World())).load(held)
    assert place is not None
    assert place.step == 4
    assert passed == [
        "step-00000008 is damaged: the checksum of process-0-of-1.safetensors differs; the state before it is used"
    ]
    other = Held({"other": torch.nn.Parameter(torch.zeros(2))}, held.optimizer)
    with pytest.raises(CheckpointError, match=r"is of another model: 10 parameters differ"):
        SharedStates(tmp_path / "states", Together(World())).load(other)


def test_rows_are_shared_out_without_rest() -> None:
    rows = list(range(11))
    shares = [share(rows, World(rank, 3)) for rank in range(3)]
    assert sorted(row for own in shares for row in own) == rows
    assert join() == World(), "without torchrun there is one process"
    assert World().first


def test_a_part_that_thaws_cannot_be_spread() -> None:
    model = Towers()
    with pytest.raises(RequestError, match="part of words.weight: thaws during the run, which shards cannot"):
        spread(model, [Group({"words.weight": model.words.weight}, 0.1, thaw=3)], World())
