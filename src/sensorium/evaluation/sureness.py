"""How sure a model is of right answers, kept in a run's journal; and fresh items to compare an exam with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from sensorium.errors import RequestError
from sensorium.evaluation.ask import likelihoods
from sensorium.evaluation.journal import Journal
from sensorium.evaluation.run import JOURNAL, Listener, Options
from sensorium.evaluation.subject import Subject
from sensorium.evaluation.task import Item, Task

Sure = Callable[[Task, Sequence[Item]], Sequence[float | None]]
"""The log-probability of each item's one choice; None for an item that the model cannot take."""


def fresh_items(tasks: Sequence[Task], options: Options, split: str, most: int) -> dict[str, list[Item]]:
    """By task up to `most` items drawn as the judged ones were: the task's own twins, else those of another split.

    Args:
        split: one that the model was not trained on; "" for none.

    Raises:
        RequestError: the split is the judged one, or no task has it.
    """
    found: dict[str, list[Item]] = {}
    for task in [task for task in tasks if task.answer is not None and task.gallery is None and not task.transcript]:
        judged = options.split or task.splits[-1]
        if task.twins is not None:
            found[task.name] = list(islice(task.twins(options.data, judged), most))
        elif split and split in task.splits:
            if split == judged:
                raise RequestError(f"twins of {task.name}", f"are of the split {split}, which is judged", "Name another split")
            found[task.name] = list(islice(task.items(options.data, split), most))
    if split and not any(split in task.splits for task in tasks):
        known = ", ".join(sorted({name for task in tasks for name in task.splits}))
        raise RequestError(f"twins of the split {split}", "are to be had for no task named", f"Known splits: {known}")
    return found


@contextmanager
def recorded(subject: Subject, folder: Path, source: str, size: int, listen: Listener) -> Iterator[Sure | None]:
    """What tells it for a run folder's model, asking nothing twice; None for a model that tells no likelihoods.

    Args:
        source: hash of the source that the run's answers were given by.
    """
    if subject.scores is None:
        yield None
        return
    with Journal(folder / JOURNAL, subject, source) as journal:

        def sure(task: Task, items: Sequence[Item]) -> list[float | None]:
            listen.begin(task.name, "right answers", len(items))
            return likelihoods(subject, task, items, journal, size, listen.done)

        yield sure
