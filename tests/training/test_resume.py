"""Killed with -9 wherever it is, inside a save too, a run goes on to the bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.resume import STEPS, differing, losses

ROOT = Path(__file__).parents[2]


def start(folder: Path) -> subprocess.Popen[bytes]:
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "tests.training.toy", str(folder), str(STEPS)], cwd=ROOT, env=env)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_ten_random_steps_the_next_twenty_losses_are_the_same_to_the_bit(tmp_path: Path) -> None:
    whole = start(tmp_path / "whole")
    assert whole.wait() == 0
    right = losses(tmp_path / "whole")
    assert len(right) == STEPS
    kills = sorted(random.Random(0).sample(range(3, STEPS - 25), 10))
    for step in kills:
        process = start(tmp_path / "cut")
        log = tmp_path / "cut" / "log.jsonl"
        while process.poll() is None and (not log.is_file() or f'"step": {step},' not in log.read_text("utf-8")):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start(tmp_path / "cut").wait() == 0
    assert differing(tmp_path / "cut", right, kills, 20) == []


def test_losses_are_read_from_the_log_with_what_was_done_twice(tmp_path: Path) -> None:
    rows = [{"event": "step", "step": step, "terms": {"loss": value}} for step, value in ((1, 0.5), (2, 0.25), (2, 0.25))]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"event": "st', "utf-8")
    assert losses(tmp_path) == {1: [0.5], 2: [0.25, 0.25]}
    assert differing(tmp_path, {1: [0.5], 2: [0.25]}, [1], 1) == []
    assert differing(tmp_path, {1: [0.5], 2: [0.125]}, [1], 1) == [2]
    assert differing(tmp_path, {1: [0.5], 2: [0.25], 3: [0.1]}, [1], 2) == [3]
