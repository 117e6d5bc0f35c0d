"""Each objective's effect on the synthetic world: python -m benchmarks.synthetic [--only naming,...] [--on dev] [--out FILE].

Settings are chosen by scenes `--on dev`; what is reported is of test scenes, of a world that nothing was chosen by.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_args

import torch

from benchmarks.judged import On
from benchmarks.synthetic import contrast, preferring, streams, students
from benchmarks.synthetic.contrast import Lesson, invented, naming
from benchmarks.synthetic.preferring import prefer
from benchmarks.synthetic.streams import forgetting
from benchmarks.synthetic.students import distil
from sensorium.estimate import Estimate
from sensorium.objectives.contrastive import Doubt

RUNS: Mapping[str, Callable[[On], dict[str, Estimate]]] = {
    "naming softmax": lambda on: naming(Lesson(), contrast.Budget(on=on)),
    "naming sigmoid": lambda on: naming(Lesson("sigmoid"), contrast.Budget(on=on)),
    "naming whole pictures": lambda on: naming(Lesson(whole=True), contrast.WHOLE._replace(on=on)),
    "noise 30 % trusted": lambda on: naming(Lesson(wrong=0.3), contrast.Budget(on=on)),
    "noise 30 % trimmed": lambda on: naming(Lesson(wrong=0.3, doubt=Doubt(trim=0.35)), contrast.Budget(on=on)),
    "noise 30 % softened": lambda on: naming(Lesson(wrong=0.3, doubt=Doubt(soft=0.3)), contrast.Budget(on=on)),
    "noise 30 % both": lambda on: naming(Lesson(wrong=0.3, doubt=Doubt(0.35, 0.3)), contrast.Budget(on=on)),
    "hallucination": lambda on: invented(contrast.Budget(on=on)),
    "distillation": lambda on: distil(students.Budget(on=on)),
    "forgetting": lambda on: forgetting(("naive", "replay", "averaged"), streams.Budget(on=on)),
    "forgetting task known": lambda on: forgetting(("naive", "ewc", "averaged"), streams.Budget(on=on), told=True),
    "preference dpo": lambda on: prefer("dpo", preferring.Budget(on=on)),
    "preference ln-dpo": lambda on: prefer("ln-dpo", preferring.Budget(on=on)),
    "preference simpo": lambda on: prefer("simpo", preferring.Budget(on=on)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="runs whose names begin so, by commas")
    parser.add_argument("--on", choices=get_args(On), default="test", help="dev: scenes to choose settings by")
    parser.add_argument("--out", type=Path, help="build/scores/synthetic.json, or synthetic-dev.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    out = args.out or Path("build/scores", "synthetic.json" if args.on == "test" else "synthetic-dev.json")
    table: dict[str, dict[str, object]] = json.loads(out.read_text("utf-8")) if out.is_file() else {}
    for name, run in RUNS.items():
        if not name.startswith(tuple(args.only.split(","))):
            continue
        began = time.process_time()
        found = run(args.on)
        print(f"\n{name}, on {args.on}, {time.process_time() - began:.0f} s of CPU time", flush=True)
        for score, value in found.items():
            print(f"  {score:20} {value if value.n > 1 else f'{value.value:.3f}'}", flush=True)
        table[name] = {score: value._asdict() for score, value in found.items()}
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(table, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
