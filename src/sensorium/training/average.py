"""An exponential moving average of the trained parameters (Polyak & Juditsky 1992), evaluated and shipped in their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """`average = decay * average + (1 - decay) * parameter` after every step, from the first step's result on.

    Args:
        decay: 0 keeps no average: `shown` then shows the parameters themselves.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self.parameters, self.decay = parameters, decay
        self.tensors: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self) -> None:
        """After a step."""
        if not self.decay:
            return
        if not self.tensors:
            self.tensors = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
            return
        kept = [self.tensors[name] for name in self.parameters]
        torch._foreach_lerp_(kept, [parameter.detach() for parameter in self.parameters.values()], 1 - self.decay)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The model holds the averages until the block ends."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def show(self) -> None:
        """The model holds the averages from now on."""
        self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, tensor in self.tensors.items():
            parameter = self.parameters[name]
            self.tensors[name], parameter.data = parameter.data, tensor
