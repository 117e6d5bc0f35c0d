"""Each objective's effect on the synthetic world: python -m benchmarks.synthetic [--only naming,noise,...] [--out FILE]."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch

from benchmarks.synthetic.contrast import invented, naming
from benchmarks.synthetic.preferring import prefer
from benchmarks.synthetic.streams import forgetting
from benchmarks.synthetic.students import distil
from sensorium.estimate import Estimate
from sensorium.objectives.contrastive import Doubt

RUNS: Mapping[str, Callable[[], dict[str, Estimate]]] = {
    "naming softmax": partial(naming, "softmax"),
    "naming sigmoid": partial(naming, "sigmoid"),
    "noise 30 %, trusted": partial(naming, "softmax", 0.3),
    "noise 30 %, trimmed": partial(naming, "softmax", 0.3, Doubt(trim=0.35)),
    "noise 30 %, softened": partial(naming, "softmax", 0.3, Doubt(soft=0.3)),
    "noise 30 %, both": partial(naming, "softmax", 0.3, Doubt(0.35, 0.3)),
    "hallucination": invented,
    "distillation": distil,
    "forgetting": partial(forgetting, ("naive", "replay", "averaged")),
    "forgetting, task known": partial(forgetting, ("naive", "ewc", "averaged"), told=True),
    "preference dpo": partial(prefer, "dpo"),
    "preference ln-dpo": partial(prefer, "ln-dpo"),
    "preference simpo": partial(prefer, "simpo"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="runs whose names begin so, by commas")
    parser.add_argument("--out", type=Path, default=Path("build/scores/synthetic.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    table: dict[str, dict[str, object]] = json.loads(args.out.read_text("utf-8")) if args.out.is_file() else {}
    for name, run in RUNS.items():
        if not name.startswith(tuple(args.only.split(","))):
            continue
        began = time.process_time()
        found = run()
        print(f"\n{name}, {time.process_time() - began:.0f} s of CPU time", flush=True)
        for score, value in found.items():
            print(f"  {score:20} {value if value.n > 1 else f'{value.value:.3f}'}", flush=True)
        table[name] = {score: value._asdict() for score, value in found.items()}
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(table, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
