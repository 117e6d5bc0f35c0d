"""Which items are judged where not all are: one of each of as many equal parts of the whole, the same for every model."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from sensorium.evaluation.task import Item, Task

LIMITED = "one item, by chance, of each of as many equal parts of the whole"
"""What a result says of how its items were chosen."""


def judged(task: Task, data: Path, split: str, limit: int) -> Iterator[Item]:
    """The items of a split in their order; with a limit above 0 at most so many.

    The whole is gone through twice then, once to count it, so that no more items than are asked for are in memory. The draw
    depends on the names of task and split and on the numbers alone.

    Raises:
        RequestError: the task's data is not there.
    """
    if not limit or (total := sum(1 for _ in task.items(data, split))) <= limit:
        yield from task.items(data, split)
        return
    dice = random.Random(f"{task.name}/{split}/{total}")
    chosen = {dice.randrange(part * total // limit, (part + 1) * total // limit) for part in range(limit)}
    yield from (item for place, item in enumerate(task.items(data, split)) if place in chosen)
