"""Measures `nano` on data it was not trained on: python -m benchmarks --data FOLDER [--split test] [--only captions,...].

A name stands for a run of `sensorium evaluate`, whose report and answers go to OUT/NAME-SPLIT; when run again it goes on there.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks import spoken_questions
from sensorium.cli import evaluate
from sensorium.evaluation.kept import read_results
from sensorium.evaluation.tasks.registry import find_tasks

SIZE = 24
UNREAD = {"words": "no"}
"""Photos and drawings of these sets hold no words to speak of, and to look for them costs most of the time."""


class Run(NamedTuple):
    """A task or a group of them, and what the model is opened with for it."""

    tasks: str
    opened: Mapping[str, str] = UNREAD


RUNS = {
    "retrieval": Run("flickr8k_retrieval"),
    "captions": Run("flickr8k_captions"),
    "photo_questions": Run("flickr8k_pope"),
    "digits": Run("fsdd"),
    "digits_features": Run("fsdd", UNREAD | {"heard": "no"}),
    "daquar": Run("daquar"),
    "easy_vqa": Run("easy_vqa"),
}
SPOKEN = "spoken_questions"
"""Is no task: nothing but the model's own answers says what is right."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="nano", help="nano or a checkpoint folder")
    parser.add_argument("--split", default="test", choices=("dev", "test"))
    parser.add_argument("--only", help=f"of {', '.join((*RUNS, SPOKEN))}; all of these that have the split, but the last")
    parser.add_argument("--limit", type=int, default=0, help="items of each task at most; 0 is all")
    parser.add_argument("--bf16", action="store_true", help="the language model in bfloat16")
    parser.add_argument("--out", type=Path, default=Path("build/scores"))
    args = parser.parse_args()
    names = args.only.split(",") if args.only else list(with_split(args.split))
    if unknown := [name for name in names if name not in {*RUNS, SPOKEN}]:
        parser.error(f"--only {unknown[0]}: choose from {', '.join((*RUNS, SPOKEN))}")
    kind = {"dtype": "bf16"} if args.bf16 else {}
    lines = []
    for name in names:
        folder = args.out / "-".join([name, args.split, *kind.values()])
        if name == SPOKEN:
            lines += spoken_questions.run(args.model, UNREAD | kind, args.data, args.split, folder)
            continue
        tasks, opened = RUNS[name].tasks, ",".join(f"{key}={value}" for key, value in {**RUNS[name].opened, **kind}.items())
        evaluate.run(args.model, tasks, args.data, folder, opened, args.split, args.limit, size=SIZE)
        lines += scores(name, folder)
    print("\n".join([f"\n{args.model}, {args.split}", *lines]))


def with_split(split: str) -> Iterator[str]:
    """The runs whose tasks all have it."""
    for name, run in RUNS.items():
        if all(split in task.splits for task in find_tasks(run.tasks.split(","))):
            yield name


def scores(name: str, folder: Path) -> list[str]:
    """Of each task of a run: the main score as it is, then that of each variant and floor."""
    return [
        f"  {name:16} {row.task:24} {row.main:12} {kind:14} {outcome.scores[row.main]}"
        for row in read_results(folder).tasks
        for kind, outcome in {**row.outcomes, **row.floors}.items()
    ]


if __name__ == "__main__":
    main()
