"""From the shell to the first word: `sensorium ask` on a photo, cold process, warm cache; and the peak memory.

python -m benchmarks.first_token [--runs 5]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sensorium.cli.scene import lay_out

QUESTION = "Describe the photo in one sentence."


def run(command: list[str]) -> tuple[float, float, float]:
    """Seconds to the first byte, seconds in all, and peak resident memory in MB, of one process."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    process.stdout.read(1)
    first = time.perf_counter() - begin
    process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, f"{command} ended with {status}"
    return first, time.perf_counter() - begin, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        photo = str(lay_out(Path(folder))["photo"])
        rows = []
        for name, extra in (("fp32", []), ("int8", ["--quantize", "int8"])):
            command = [sys.executable, "-m", "sensorium.cli.main", "ask", photo, QUESTION, "--max-tokens", "24", *extra]
            run(command)
            taken = [run(command) for _ in range(runs)]
            first, whole, memory = (statistics.median(column) for column in zip(*taken, strict=True))
            rows.append({"weights": name, "first_word_s": first, "whole_s": whole, "peak_mb": memory, "runs": runs})
            print(f"{name}: first word {first:.2f} s, whole answer {whole:.2f} s, peak {memory:.0f} MB (median of {runs})")
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
