"""All trials of a comparison: every family at every size and seed, side by side in processes, resumed from what is on disk."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

from sensorium.errors import CheckpointError, RequestError
from sensorium.training.lab import exam as exams
from sensorium.training.lab.exam import Exam
from sensorium.training.lab.eyes import recall
from sensorium.training.lab.family import FAMILIES
from sensorium.training.lab.trial import Material, Recipe, Trial, run

EXAMS = ("synthetic", "easy-vqa")


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is compared.

    Args:
        rows: training questions of the table. The curve is fitted to fractions of it, down to rows / 2 ** halvings, and to it;
            what it foretells for twice as many is held against runs of that size.
        dim: width of every family. workers: processes, one thread each.
        dev: ask about held-out training pictures, for choosing settings, and leave the test alone.
    """

    exam: str
    families: tuple[str, ...] = tuple(FAMILIES)
    rows: int = 2048
    halvings: int = 3
    seeds: int = 3
    dim: int = 64
    recipe: Recipe = field(default_factory=Recipe)
    workers: int = 1
    dev: bool = False

    def __post_init__(self) -> None:
        if self.exam not in EXAMS:
            raise RequestError("lab", f"has no exam {self.exam!r}", f"Choose from {', '.join(EXAMS)}")
        for name in self.families:
            if name not in FAMILIES:
                raise RequestError("lab", f"has no family {name!r}", f"Choose from {', '.join(FAMILIES)}")
        if self.rows >> self.halvings < self.recipe.batch or self.seeds < 1 or self.halvings < 2:
            problem = f"needs a seed, 2 halvings and {self.recipe.batch} questions in the smallest size"
            raise RequestError("lab", problem, "Raise --rows or --seeds")

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of the curve, smallest first, and last the held-out one."""
        return (*(self.rows >> halving for halving in range(self.halvings, -1, -1)), 2 * self.rows)


class Job(NamedTuple):
    """One trial to be run, and where it is kept."""

    comparison: Comparison
    family: str
    rows: int
    seed: int
    path: Path
    eyes: Path


def trials(comparison: Comparison, folder: Path, eyes: Path, say: Callable[[int, int], None]) -> list[Trial]:
    """Run what is not there yet, seed by seed, the largest first.

    Args:
        eyes: where `eyes.look` kept what the frozen encoder saw.
        say: told how many are done of how many.

    Raises:
        LimitError: the exam has too few questions. CheckpointError: the folder's trials were run with other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _agree(comparison, folder / "settings.json")
    jobs = [
        Job(comparison, family, rows, seed, folder / f"{family}-{rows}-{seed}.json", eyes)
        for seed in range(comparison.seeds)
        for rows in reversed(comparison.sizes)
        for family in comparison.families
    ]
    missing = [job for job in jobs if not job.path.is_file()]
    say(len(jobs) - len(missing), len(jobs))
    if comparison.workers == 1:
        for done, job in enumerate(missing, len(jobs) - len(missing) + 1):
            _perform(job)
            say(done, len(jobs))
    elif missing:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(comparison.workers, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            waiting = [pool.submit(_perform, job) for job in missing]
            for done, future in enumerate(as_completed(waiting), len(jobs) - len(missing) + 1):
                future.result()
                say(done, len(jobs))
    return [Trial.load(job.path) for job in jobs]


def _agree(comparison: Comparison, path: Path) -> None:
    """Trials of one folder are alike but for family, size and seed."""
    alike = {key: value for key, value in asdict(comparison).items() if key in ("exam", "dim", "recipe", "dev")}
    if path.is_file() and (kept := json.loads(path.read_text("utf-8"))) != alike:
        raise CheckpointError(str(path.parent), f"holds trials with {kept}", "Name another folder, or use the same settings")
    path.write_text(json.dumps(alike) + "\n", "utf-8")


def _perform(job: Job) -> None:
    comparison = job.comparison
    material, controls = _material(comparison.exam, 2 * comparison.rows, job.eyes, comparison.dev), job.rows == comparison.rows
    run(material, job.family, comparison.recipe, job.rows, job.seed, comparison.dim, controls).save(job.path)


@cache
def _material(name: str, rows: int, eyes: Path, dev: bool) -> Material:
    exam = open_exam(name, rows, dev)
    return Material(exam, recall(exam, eyes))


@cache
def open_exam(name: str, rows: int, dev: bool = False) -> Exam:
    """An exam of `EXAMS` with at least so many training questions; kept in memory."""
    return exams.easy_vqa(dev) if name == "easy-vqa" else exams.synthetic(rows, dev=dev)
