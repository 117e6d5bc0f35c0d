"""What the measurements on the synthetic world share: scenes painted once, and the plainest loop."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.judged import Judged, On, judged
from sensorium.data.synthetic import Scene, World
from sensorium.objectives.loss import Loss


class Course(NamedTuple):
    """The mean of each term at the beginning and at the end of a run (a tenth of its steps each)."""

    first: Mapping[str, float]
    last: Mapping[str, float]

    def fall(self, term: str = "loss") -> float:
        """By what share the term fell."""
        return 1 - self.last[term] / self.first[term]


def fit(
    parameters: Sequence[nn.Parameter],
    loss: Callable[[int], Loss],
    steps: int,
    rate: float,
    *,
    decay: float = 0.05,
    say: Callable[[str], None] | None = None,
) -> Course:
    """AdamW, a short warm-up and a cosine; `loss(step)` is of one batch."""
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(parameters, rate, betas=(0.9, 0.98), weight_decay=decay, fused=True)
    warm, history = max(1, min(20, steps // 5)), list[dict[str, float]]()
    for step in range(steps):
        factor = min(1.0, (step + 1) / warm) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        for group in optimizer.param_groups:
            group["lr"] = rate * factor
        value = loss(step)
        optimizer.zero_grad()
        (value.total / value.size).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        history.append({name: total / max(count, 1e-9) for name, (total, count) in value.terms.items()})
        if say is not None and (step + 1) % max(1, steps // 5) == 0:
            say(f"step {step + 1} " + " ".join(f"{name} {value:.3f}" for name, value in history[-1].items()))
    tenth = max(1, steps // 10)
    return Course(_means(history[:tenth]), _means(history[-tenth:]))


def scenes(count: int, on: On | Literal["train"] = "train", *, single: bool = False) -> list[Scene]:
    """Of a world of 64 pixels; `single` are those of one thing of the 16 classes."""
    world, split = Judged(World(0), "train") if on == "train" else judged(on)
    return [world.single(index, split) if single else world.scene(index, split) for index in range(count)]


def pictures(some: Sequence[Scene]) -> Tensor:
    """Pixels uint8 `(P, 3, 64, 64)`."""
    return torch.stack([torch.from_numpy(scene.picture()).permute(2, 0, 1).contiguous() for scene in some])


def batches(count: int, size: int, seed: int = 0) -> Callable[[int], list[int]]:
    """Rows of step n: every row once an epoch, in a new order each time."""
    size = min(size, count)
    whole = count // size
    orders: dict[int, list[int]] = {}

    def rows(step: int) -> list[int]:
        epoch, place = divmod(step, whole)
        if epoch not in orders:
            orders.clear()
            orders[epoch] = random.Random(f"{seed} {epoch}").sample(range(count), count)
        return orders[epoch][place * size : (place + 1) * size]

    return rows


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
