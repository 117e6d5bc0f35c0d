"""Interrupt and resume: kill -9 a run at random steps and compare the next losses with those of a run that was left alone.

python -m benchmarks.resume [--kills 10] [--after 20]

The run is small and saves its state after every step; it is forked from this process, so that a restart costs nothing. The
slow test in tests/training/test_resume.py does the same with a new interpreter for each.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from tests.training import toy

STEPS = 70


def losses(folder: Path) -> dict[int, list[float]]:
    """Each step's loss, as often as the step was done; a line cut short by a kill is left out."""
    found: dict[int, list[float]] = {}
    for line in (folder / "log.jsonl").read_text("utf-8").split("\n"):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if row["event"] == "step":
            found.setdefault(row["step"], []).append(row["terms"]["loss"])
    return found


def differing(folder: Path, right: Mapping[int, Sequence[float]], kills: Sequence[int], after: int) -> list[int]:
    """The steps, of the `after` ones that follow each kill, with another loss than the right one, or with none."""
    found, wanted = losses(folder), {step for kill in kills for step in range(kill + 1, kill + 1 + after)}
    return sorted(step for step in wanted if set(found.get(step, [None])) != set(right[step]))


def _run(folder: Path) -> None:
    torch.set_num_threads(1)
    toy.go(folder, toy.config(STEPS), resume=True)


def _start(folder: Path) -> BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=_run, args=(folder,))
    process.start()
    return process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--after", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    chance = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as home:
        whole, cut = Path(home) / "whole", Path(home) / "cut"
        _start(whole).join()
        right = losses(whole)
        kills, steps = [], sorted(chance.sample(range(3, STEPS - args.after - 5), args.kills))
        for step in steps:
            process, log = _start(cut), cut / "log.jsonl"
            while process.is_alive() and (not log.is_file() or f'"step": {step},' not in log.read_text("utf-8")):
                time.sleep(0.002)
            time.sleep(chance.random() * 0.02)  # anywhere in the next step, or in the save before it
            process.kill()
            process.join()
            kills.append(max(losses(cut)))
        _start(cut).join()
        wrong = differing(cut, right, kills, args.after)
        states = len(list(cut.rglob("*.damaged")))
        print(f"killed after steps {kills}; damaged states {states}")
        print(f"{args.after} losses after each kill: " + ("all bit-equal" if not wrong else f"differ at steps {wrong}"))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
