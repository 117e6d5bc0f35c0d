"""One thing to be learned: an objective, the batches it is learned from, and those it is judged by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from sensorium.objectives.loss import Loss
from sensorium.training.feed import Feed

B = TypeVar("B")
Blindfold = Literal["zeroed", "swapped"]
"""Media replaced by zeros, or by another row's."""


@dataclass(slots=True)
class Task(Generic[B]):
    """An objective over (model, batch) and its data.

    Args:
        objective: returns a `Loss`; one that is a module is trained too, as part `objective`.
        held: batches that are never learned from, for the evaluation.
        weight: of its mean loss in the sum over a run's tasks.
        blind: a held batch with its media replaced; None where it cannot be done. Left out, batches of ours are done.
        contrastive: its loss is stuck when it stays at the logarithm of its size (see `collapse`).
        gathered: in several processes it compares the batches of all; each then has to have as many parts.
    """

    name: str
    objective: Callable[[Any, B], Loss]
    feed: Feed[B]
    held: Sequence[B] = ()
    weight: float = 1.0
    blind: Callable[[B, Blindfold], B | None] | None = None
    contrastive: bool = False
    gathered: bool = False
