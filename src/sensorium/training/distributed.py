"""One run in several processes (`torchrun`, gloo): rows shared out, gradients summed, states kept by all, errors told to all.

The denominator is the whole batch's, not each process's own, so that losses and gradients are those of one process.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from sensorium.errors import RequestError, SensoriumError
from sensorium.training.gathered import gathered

Item = TypeVar("Item")
_BUCKET = 8 * 2**20
"""Gradient numbers sent at once, 32 MiB in fp32."""
_FAULT = "sensorium/fault"
_SILENT = (
    "another process",
    "has ended without a word: killed, or out of memory",
    "Go on with --resume, in fewer processes if so",
)


class World(NamedTuple):
    """This process among those of the run. `store` is where they leave messages; None where there is only one."""

    rank: int = 0
    size: int = 1
    store: Any = None

    @property
    def first(self) -> bool:
        """Whether this is the process that writes the log."""
        return self.rank == 0


class ProcessError(SensoriumError):
    """Another process of the run has failed; the message is its own."""

    exit_code = 8


def join(minutes: float = 30.0) -> World:
    """Meet the other processes that `torchrun` started; `World()` without torchrun.

    Args:
        minutes: how long a process waits for the slowest one before it gives up.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return World()
    store, rank, size = next(rendezvous("env://", timeout=timedelta(minutes=minutes)))
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=timedelta(minutes=minutes))
    return World(rank, size, store)


def leave(world: World) -> None:
    """Say goodbye; call it last."""
    if world.size > 1 and dist.is_initialized():
        dist.destroy_process_group()


def share(rows: Sequence[Item], world: World) -> Sequence[Item]:
    """This process's own of a batch's rows: every `size`-th."""
    return rows[world.rank :: world.size]


class Together:
    """What the processes of a run tell one another, as the loop's exchange: data parallel, each with the whole model.

    As a context it tells the others of an error in its body, so that none waits for a process that has stopped.
    """

    def __init__(self, world: World) -> None:
        self.world = world

    def begin(self, parameters: Sequence[nn.Parameter]) -> None:
        """All go on from the first process's parameters, to the bit."""
        with torch.no_grad():
            for parameter in parameters:
                dist.broadcast(parameter.detach(), 0)

    def parts(self, number: int, alike: bool = False) -> None:
        """How many parts this process's batch has; with whole models they need not be equal, unless they see one another.

        Args:
            alike: the processes meet within each part (see `rows`), so that all need as many.

        Raises:
            RequestError: they have not as many.
        """
        if alike and len(set(found := self._gather(number))) > 1:
            problem = f"is of {found} parts in the {len(found)} processes, and each part is compared with the others'"
            remedy = "Take out the broken rows that leave a process none (sensorium data check), or use larger batches"
            raise RequestError("a batch that all processes compare", problem, remedy)

    def rows(self, x_PD: Tensor) -> tuple[Tensor, slice]:
        """The rows of all processes in their order, `(all, D)` in fp32, and which of them are this one's.

        Each process may have another number of rows. A gradient comes back as its sum over the processes, so that losses of
        which each counts its own rows add up. All processes have to call this equally often, and in the same order.
        """
        return gathered(x_PD, self.world.rank, self.world.size)

    def total(self, values: Mapping[str, float]) -> dict[str, float]:
        """Each value summed over the processes; one that a process lacks is zero there."""
        found = self._gather(dict(values))
        names = sorted({name for row in found for name in row})
        return {name: sum(row.get(name, 0.0) for row in found) for name in names}

    def agree(self, value: float) -> float:
        """The first process's value, for what depends on its clock."""
        shared = torch.tensor([value], dtype=torch.float64)
        dist.broadcast(shared, 0)
        return float(shared)

    def gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Each `grad` becomes its sum over the processes; None counts as zero where another process has one."""
        given = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.int32)
        dist.all_reduce(given)
        due = [parameter for parameter, some in zip(parameters, given.tolist(), strict=True) if some]
        for parameter in due:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        for bucket in _buckets([parameter.grad for parameter in due if parameter.grad is not None]):
            flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
            dist.all_reduce(flat)
            for gradient, summed in zip(bucket, torch.split(flat, [gradient.numel() for gradient in bucket]), strict=True):
                gradient.copy_(summed.view_as(gradient))

    def norm(self, gradients: Sequence[Tensor]) -> float:
        """Of gradients that are summed already."""
        return float(torch.nn.utils.get_total_norm(gradients)) if gradients else 0.0

    def told(self, value: Item) -> list[Item]:
        """What each process says, in their order."""
        return [value] if self.world.size == 1 else self._gather(value)

    def wait(self) -> None:
        """Until all are here."""
        self.told(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leave word of what went wrong here; or raise what went wrong elsewhere.

        Raises:
            ProcessError: another process failed, which closed the connection to this one.
        """
        if error is None or self.world.store is None:
            return
        with suppress(dist.DistError):  # the process that kept the messages may be gone: then its own output must do
            attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
            key = f"{_FAULT}/{attempt}"
            told = json.loads(self.world.store.get(key)) if self.world.store.check([key]) else None
            gone = isinstance(error, RuntimeError) and "by peer" in str(error)
            if gone or (told and isinstance(error, RuntimeError)):
                raise ProcessError(*(told or _SILENT)) from error
            self.world.store.set(key, json.dumps(told or _told(error, self.world.rank)))
        leave(self.world)

    def _gather(self, value: Any) -> list[Any]:
        found: list[Any] = [None] * self.world.size
        dist.all_gather_object(found, value)
        return found


def _told(error: BaseException, rank: int) -> list[str]:
    thing = f"process {rank}"
    if isinstance(error, SensoriumError):
        return [f"{thing}, {error.thing}", error.problem, error.remedy]
    return [thing, f"stopped with {type(error).__name__}: {error}", "See its own output"]


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Neighbours, up to so many numbers at once."""
    bucket: list[Tensor] = []
    held = 0
    for tensor in tensors:
        if bucket and held + tensor.numel() > _BUCKET:
            yield bucket
            bucket, held = [], 0
        bucket.append(tensor)
        held += tensor.numel()
    if bucket:
        yield bucket
