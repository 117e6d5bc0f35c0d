"""Parameters spread over the processes of a run (FSDP2): each holds a part, and the whole is put together for each pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from sensorium.errors import RequestError
from sensorium.objectives.loss import Loss
from sensorium.training.distributed import Together, World
from sensorium.training.optimizer import Group


class Learner(nn.Module):
    """A model with its objectives called as one module, around which parameters are gathered and gradients are summed.

    `touched` are the paths of the parameters that the backward passes of this step have reached in this process.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.touched: set[str] = set()
        self.paths: dict[int, str] = {}
        self._watched: set[int] = set()

    def forward(self, objective: Any, batch: Any) -> Loss:
        """The objective's loss on the batch."""
        for path, parameter in self.model.named_parameters():
            if parameter.requires_grad and id(parameter) not in self._watched:
                self._watched.add(id(parameter))
                parameter.register_post_accumulate_grad_hook(partial(self._touch, path))  # type: ignore[no-untyped-call]
        loss: Loss = objective(self.model, batch)
        return loss

    def _touch(self, path: str, _parameter: Tensor) -> None:
        self.touched.add(path)


class Sharded(Together):
    """The exchange of a run whose parameters are spread by `spread`: gradients are summed in the backward pass already."""

    def __init__(self, world: World, learner: Learner) -> None:
        super().__init__(world)
        self.learner = learner

    def begin(self, parameters: Sequence[nn.Parameter]) -> None:
        """They are alike: each process holds its part of what the first one had."""

    def parts(self, number: int, alike: bool = True) -> None:  # noqa: ARG002 they have to be in any case
        """Checks that all processes have as many parts, since each part gathers the parameters and sums gradients.

        Raises:
            RequestError: they have not, or a process has none.
        """
        found = self._gather(number)
        if len(set(found)) > 1 or not all(found):
            problem = f"is of {found} parts in the {len(found)} processes; all need as many, and one at least"
            raise RequestError("a batch of a sharded run", problem, "Use larger batches, or do not shard")

    def gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """They are summed already; one that no process's backward pass has reached becomes None again."""
        reached = [self.learner.paths[id(parameter)] in self.learner.touched for parameter in parameters]
        given = torch.tensor(reached, dtype=torch.int32)
        dist.all_reduce(given)
        for parameter, some in zip(parameters, given.tolist(), strict=True):
            if not some:
                parameter.grad = None
        self.learner.touched.clear()

    def norm(self, gradients: Sequence[Tensor]) -> float:
        """Of the parts of all processes."""
        if not gradients:
            return 0.0
        total = torch.nn.utils.get_total_norm(gradients)
        return float(total.full_tensor() if isinstance(total, DTensor) else total)


def spread(model: nn.Module, groups: Sequence[Group], world: World) -> tuple[Learner, list[Group]]:
    """Spread parameters, gradients and the optimiser's state over the processes (FSDP2, Zhao et al. 2023, arXiv:2304.11277).

    All parameters are one unit: gathered whole for a forward and backward pass, and summed and parted again after it, whether
    the pass touched them or not. So a process whose rows hold no pictures never leaves the others waiting for its image
    encoder.

    Args:
        groups: of the model before; what comes back has the spread parameters in their place.

    Raises:
        RequestError: a group that thaws later, which spread parameters cannot, or parameters that are not the model's.
    """
    known = dict(model.named_parameters())
    if other := [name for group in groups for name in group.parameters if name not in known]:
        raise RequestError(f"parameter {other[0]}", "is an objective's own, which shards cannot hold", "Do not shard")
    if late := [name for group in groups if group.thaw for name in group.parameters]:
        raise RequestError(
            f"part of {late[0]}", "thaws during the run, which shards cannot", "Thaw it at once, or do not shard"
        )
    learner = Learner(model)
    mesh = init_device_mesh("cpu", (world.size,))
    sharded = fully_shard(learner, mesh=mesh, reshard_after_forward=True)
    sharded.set_gradient_divide_factor(1.0)
    sharded.set_force_sum_reduction_for_comms(True)
    sharded.set_reduce_scatter_unused_params(True)
    now = dict(model.named_parameters())
    learner.paths = {id(parameter): path for path, parameter in now.items()}
    return learner, [group._replace(parameters={name: now[name] for name in group.parameters}) for group in groups]


class Through:
    """An objective as `Learner` calls it: the one to train with, where the objective itself is for the plain model."""

    def __init__(self, objective: Callable[[Any, Any], Loss]) -> None:
        self.objective = objective

    def __call__(self, learner: Learner, batch: Any) -> Loss:
        """Its loss on the batch."""
        loss: Loss = learner(self.objective, batch)
        return loss


@contextmanager
def whole(learner: Learner) -> Iterator[None]:
    """Within it the model has plain whole parameters, to evaluate it with."""
    assert isinstance(learner, FSDPModule), "it is not spread"
    learner.unshard()
    try:
        yield
    finally:
        learner.reshard()


def collect(learner: Learner) -> None:
    """After the training: the model has plain whole parameters again, in every process."""
    for module in learner.model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if isinstance(parameter, DTensor):
                module.register_parameter(name, nn.Parameter(parameter.full_tensor(), parameter.requires_grad))
