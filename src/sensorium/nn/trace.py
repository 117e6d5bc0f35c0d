"""Named intermediates on request: `trace("decoder.3.attention", tensor)` keeps the tensor if that name was asked for."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from sensorium.errors import RequestError


class Trace:
    """Collects the intermediates asked for by name; every other call is a set look-up.

    Args:
        names: for instance `("decoder.3.attention", "connector.image")`.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.wanted = frozenset(names)
        self.found: dict[str, Tensor] = {}

    def __call__(self, name: str, tensor: Tensor) -> None:
        """Keep `tensor` under `name` if it was asked for."""
        if name in self.wanted:
            self.found[name] = tensor

    def wants(self, name: str) -> bool:
        """Whether `name` was asked for, for intermediates that cost something to make."""
        return name in self.wanted

    def result(self) -> dict[str, Tensor]:
        """All that was asked for.

        Raises:
            RequestError: a name that no part of the model gave.
        """
        if missing := sorted(self.wanted - self.found.keys()):
            remedy = "Ask for a name that its documentation lists"
            raise RequestError(f"trace {missing}", "is given by no part of this model", remedy)
        return self.found


SILENT = Trace()
"""Keeps nothing."""
