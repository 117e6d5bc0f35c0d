"""What the harness costs over bare generation: python -m benchmarks.evaluation_overhead [--task world_existence] [--limit 200].

All sides are asked the same items in the same batches by the same model, in alternating rounds, the order turned each time:

    bare      the model's own `answer` (or `score_many`, where a task is judged by likelihood) on items that are ready
    harness   `evaluate` into an empty folder: items, hashes, journal, scores, floors that ask no model, intervals, files
    command   the same, and the checks of the answers and the report as Markdown and as a page

Kept fair: what media show is kept in memory by content (`model.seen`) on all sides, from nothing in every round; an item that
is asked twice, which the harness would ask once, is left out on all sides; the forms without or with other media, which the
harness would ask too, are not asked. The first round is not counted. Processor time of all threads, so that a busy machine
disturbs little; the ratio is the median over rounds, with its bootstrap interval.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from sensorium.audit.checks import findings
from sensorium.audit.exam import open_exams
from sensorium.estimate import Estimate, Rows, estimate
from sensorium.evaluation.ask import how
from sensorium.evaluation.journal import Journal
from sensorium.evaluation.kept import write_results
from sensorium.evaluation.report.write import write_report
from sensorium.evaluation.run import Options, evaluate
from sensorium.evaluation.subject import Subject, open_subject
from sensorium.evaluation.task import Item, Task
from sensorium.evaluation.tasks.registry import find_tasks
from sensorium.model.generate import Assistant
from sensorium.model.seen import Seen
from sensorium.protocols import ScoresMany

BOUND = 0.05


class Cost(NamedTuple):
    """Seconds of processor time by round, and how much more the median round takes than bare generation, as a share."""

    seconds: dict[str, list[float]]
    over: dict[str, Estimate]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--task", default="world_existence")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="0 leaves torch's own number")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    (task,) = find_tasks([args.task])
    options = Options(args.data.absolute(), limit=args.limit, size=args.batch_size, variants=lambda _: ())
    cost = measure(open_subject(args.model, {}), task, options, args.rounds)
    threads = torch.get_num_threads()
    print(f"{args.model} on {args.task}, {args.limit} items at most, batch {args.batch_size}, {threads} threads")
    for side, seconds in cost.seconds.items():
        print(f"{side:8} {np.median(seconds):8.2f} s of processor time, median of {len(seconds)} rounds")
    for side, found in cost.over.items():
        print(f"{side:8} {found.value:+.2%} [{found.low:+.2%}, {found.high:+.2%}] over bare, n={found.n} rounds")
    print("within the bound" if cost.over["harness"].high <= BOUND else "NOT SHOWN to be within the bound", f"of {BOUND:.0%}")


def measure(subject: Subject, task: Task, options: Options, rounds: int) -> Cost:
    """All sides, in alternating rounds after one that is not counted."""
    task, items = distinct(subject, task, options)
    sides: dict[str, Callable[[], object]] = {
        "bare": lambda: bare(subject, task, items, options.size),
        "harness": lambda: harness(subject, task, options, report=False),
        "command": lambda: harness(subject, task, options, report=True),
    }
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(rounds + 1):
        for side in sides if turn % 2 else reversed(sides):
            if isinstance(subject.generates, Assistant):
                subject.generates.seen = Seen(subject.generates.model)
            begin = time.process_time()
            sides[side]()
            if turn:
                seconds[side].append(time.process_time() - begin)
    over = {side: _over(found, seconds["bare"]) for side, found in seconds.items() if side != "bare"}
    return Cost(seconds, over)


def distinct(subject: Subject, task: Task, options: Options) -> tuple[Task, list[Item]]:
    """The task without the items that are asked as an earlier one is, and its items."""
    asked: dict[str, Item] = {}
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal.jsonl", subject, "") as journal:
        for item in islice(task.items(options.data, options.split or task.splits[-1]), options.limit or None):
            asked.setdefault(journal.key(item, how(subject, task, [item]), task.sampling), item)
    kept, source = {item.sample.id for item in asked.values()}, task.items
    fewer = lambda data, split: (item for item in source(data, split) if item.sample.id in kept)  # noqa: E731
    return replace(task, items=fewer, splits=task.splits[-1:]), list(asked.values())


def bare(subject: Subject, task: Task, items: Sequence[Item], size: int) -> None:
    """The model alone."""
    for start in range(0, len(items), size):
        some = items[start : start + size]
        asked = [item.sample.messages for item in some]
        if how(subject, task, items) == "choice":
            assert isinstance(subject.scores, ScoresMany), "only models that score in batches are measured on such tasks"
            subject.scores.score_many(asked, [item.choices for item in some])
        else:
            subject.generates.answer(asked, task.sampling)


def harness(subject: Subject, task: Task, options: Options, report: bool) -> None:
    """The harness, into an empty folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = evaluate(subject, [task], options, folder)
        if report:
            found = findings(open_exams(folder, result, [task], options.data))
            write_results(folder, replace(result, findings=found))
            write_report(folder, (options.data,))


def _over(seconds: Sequence[float], base: Sequence[float]) -> Estimate:
    return estimate([one / other - 1 for one, other in zip(seconds, base, strict=True)], _median)


def _median(rows: Rows) -> float:
    return float(np.median(rows))


if __name__ == "__main__":
    main()
