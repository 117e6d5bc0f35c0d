"""The weights of the best evaluation, kept while training goes on without progress, and what the run then ends with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sensorium.training.average import Average


class Best:
    """Copies of what was evaluated when the loss was lowest: the parameters, or their average where there is one.

    Args:
        parameters, buffers: by name. on: whether any are kept.
    """

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], buffers: Mapping[str, Tensor], average: Average, *, on: bool
    ) -> None:
        self.on, self.loss, self.step = on, math.inf, 0
        self.tensors: dict[str, Tensor] = {}
        self._parameters, self._buffers, self._average = parameters, buffers, average

    @torch.no_grad()
    def hear(self, loss: float, step: int) -> None:
        """An evaluation's loss; a lower one than all before is kept."""
        if not self.on or not loss < self.loss:
            return
        self.loss, self.step = loss, step
        self.tensors = {name: tensor.clone() for name, tensor in self._now().items()}

    @torch.no_grad()
    def show(self) -> None:
        """The model holds them from now on."""
        for name, tensor in self.live().items():
            if name in self.tensors:
                tensor.copy_(self.tensors[name])

    def live(self) -> dict[str, Tensor]:
        """What they are copies of, or take the place of, by the same names."""
        found = {f"parameter/{name}": parameter.detach() for name, parameter in self._parameters.items()}
        return found | {f"buffer/{name}": buffer for name, buffer in self._buffers.items()}

    def state(self) -> dict[str, Any]:
        """Plain JSON to go on with, beside the tensors."""
        return {"loss": self.loss, "step": self.step} if self.tensors else {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse."""
        if state:
            self.loss, self.step = state["loss"], state["step"]

    def _now(self) -> dict[str, Tensor]:
        return self.live() | {f"parameter/{name}": tensor for name, tensor in self._average.tensors.items()}
