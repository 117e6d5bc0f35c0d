"""Interrupt and resume: kill -9 a run at random steps and compare the next losses with those of a run that was left alone.

python -m benchmarks.resume [--kills 10] [--after 20]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

STEPS = 260
ROOT = Path(__file__).parents[1]


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


def _start(folder: Path) -> subprocess.Popen[bytes]:
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "tests.training.toy", str(folder), str(STEPS)], cwd=ROOT, env=env)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--after", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    chance = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as home:
        whole, cut = Path(home) / "whole", Path(home) / "cut"
        _start(whole).wait()
        right = losses(whole)
        kills, steps = [], sorted(chance.sample(range(3, STEPS - args.after - 5), args.kills))
        for step in steps:
            process, log = _start(cut), cut / "log.jsonl"
            while process.poll() is None and (not log.is_file() or f'"step": {step},' not in log.read_text("utf-8")):
                time.sleep(0.002)
            time.sleep(chance.random() * 0.02)  # anywhere in the next step, or in the save before it
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills.append(max(losses(cut)))
        _start(cut).wait()
        wrong = differing(cut, right, kills, args.after)
        states = len(list(cut.rglob("*.damaged")))
        print(f"killed after steps {kills}; damaged states {states}")
        print(f"{args.after} losses after each kill: " + ("all bit-equal" if not wrong else f"differ at steps {wrong}"))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
