"""What the harness costs over bare generation: python -m benchmarks.evaluation_overhead [--task world_existence] [--limit 200].

All sides are asked the same items in the same batches by the same model, in alternating rounds, the order turned each time:

    bare      the model's own `answer` (or `score_many`, where a task is judged by likelihood) on items that are ready
    harness   `evaluate` into an empty folder: items, hashes, journal, scores, floors that ask no model, intervals, files
    command   the same, and the checks of the answers and the report as Markdown and as a page

Kept fair: what media show is kept in memory by content (`model.seen`) on all sides, from nothing in every round; an item that
is asked twice, which the harness would ask once, is left out on all sides; the forms without or with other media, which the
harness would ask too, are not asked. The first round is not counted. Processor time of all threads; medians over rounds, with
their bootstrap intervals, of two ratios: the side's time over that of the bare side of the same round, and, within the side's
own run, the time outside the model's calls over that inside them. A busy machine disturbs the first much and the second little.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from sensorium.audit.checks import findings
from sensorium.audit.exam import open_exams
from sensorium.estimate import Estimate, Rows, estimate
from sensorium.evaluation.ask import how
from sensorium.evaluation.journal import Journal
from sensorium.evaluation.kept import write_results
from sensorium.evaluation.limited import judged
from sensorium.evaluation.report.write import write_report
from sensorium.evaluation.run import Options, evaluate
from sensorium.evaluation.subject import Subject, open_subject
from sensorium.evaluation.task import Item, Task
from sensorium.evaluation.tasks.registry import find_tasks
from sensorium.model.generate import Assistant
from sensorium.model.seen import Seen
from sensorium.parts import Answer, Message
from sensorium.protocols import Sampling, ScoresMany

BOUND = 0.05


class Cost(NamedTuple):
    """By side.

    Args:
        seconds: of processor time, by round. over: how much more it takes than bare generation, as a share of that.
        outside: its time outside the model's calls, as a share of that inside them.
    """

    seconds: dict[str, list[float]]
    over: dict[str, Estimate]
    outside: dict[str, Estimate]


class Timed:
    """A model whose calls are timed; satisfies `Generates` and `ScoresMany` as far as the model does."""

    def __init__(self, model: Any) -> None:
        self.model, self.seconds = model, 0.0

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[str | Answer]:
        """The model's."""
        yield from self.model.stream(messages, sampling)

    def answer(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[Answer]:
        """The model's, timed."""
        return self._timed(self.model.answer, conversations, sampling)  # type: ignore[no-any-return]

    def score(self, messages: Sequence[Message], answers: Sequence[str]) -> list[float]:
        """The model's, timed."""
        return self._timed(self.model.score, messages, answers)  # type: ignore[no-any-return]

    def score_many(self, conversations: Sequence[Sequence[Message]], answers: Sequence[Sequence[str]]) -> list[list[float]]:
        """The model's, timed."""
        return self._timed(self.model.score_many, conversations, answers)  # type: ignore[no-any-return]

    def _timed(self, call: Callable[..., Any], *given: object) -> Any:
        begin = time.process_time()
        try:
            return call(*given)
        finally:
            self.seconds += time.process_time() - begin


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
    for what, found in (("over bare", cost.over), ("outside the model's calls", cost.outside)):
        for side, value in found.items():
            print(f"{side:8} {value.value:+.2%} [{value.low:+.2%}, {value.high:+.2%}] {what}, n={value.n} rounds")
    for what, found in (("over bare", cost.over), ("outside the model's calls", cost.outside)):
        print(f"harness, {what}: {'within' if found['harness'].high <= BOUND else 'NOT SHOWN to be within'} {BOUND:.0%}")


def measure(subject: Subject, task: Task, options: Options, rounds: int) -> Cost:
    """All sides, in alternating rounds after one that is not counted."""
    task, items = distinct(subject, task, options)
    model = Timed(subject.generates)
    asked = replace(subject, generates=model, scores=None if subject.scores is None else model)
    sides: dict[str, Callable[[], object]] = {
        "bare": lambda: bare(asked, task, items, options.size),
        "harness": lambda: harness(asked, task, options, report=False),
        "command": lambda: harness(asked, task, options, report=True),
    }
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    outside: dict[str, list[float]] = {side: [] for side in sides if side != "bare"}
    for turn in range(rounds + 1):
        for side in sides if turn % 2 else reversed(sides):
            if isinstance(subject.generates, Assistant):
                subject.generates.seen = Seen(subject.generates.model)
            model.seconds, begin = 0.0, time.process_time()
            sides[side]()
            spent = time.process_time() - begin
            if turn:
                seconds[side].append(spent)
            if turn and side in outside:
                outside[side].append((spent - model.seconds) / model.seconds)
    over = {side: [one / other - 1 for one, other in zip(seconds[side], seconds["bare"], strict=True)] for side in outside}
    return Cost(seconds, *({side: estimate(found, _median) for side, found in ratios.items()} for ratios in (over, outside)))


def distinct(subject: Subject, task: Task, options: Options) -> tuple[Task, list[Item]]:
    """The task without the items that are asked as an earlier one is, and its items."""
    asked: dict[str, Item] = {}
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "journal.jsonl", subject, "") as journal:
        for item in judged(task, options.data, options.split or task.splits[-1], options.limit):
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


def _median(rows: Rows) -> float:
    return float(np.median(rows))


if __name__ == "__main__":
    main()
