"""Names of tensors in public checkpoints and in ours: one table, read in both directions, strict in both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sensorium.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Name:
    """One tensor of ours and where it stands in the public checkpoint.

    Args:
        ours: our name.
        theirs: their names; several are stacked along the first axis (q, k and v become one matrix).
        leading: axes of length one that their tensor has in front of ours.
    """

    ours: str
    theirs: tuple[str, ...]
    leading: int = 0


@dataclass(frozen=True, slots=True)
class NameMap:
    """The table of one architecture; `family` names it in messages."""

    family: str
    names: tuple[Name, ...]

    def from_theirs(self, state: Mapping[str, Tensor], ignored: Iterable[str] = ()) -> dict[str, Tensor]:
        """Their state as ours. `ignored`: prefixes of tensors that are no part of this network.

        Raises:
            CheckpointError: a tensor is missing, or one is left over.
        """
        prefixes = tuple(ignored)
        given = {name for name in state if not (prefixes and name.startswith(prefixes))}
        self._check(given, {name for item in self.names for name in item.theirs})
        found: dict[str, Tensor] = {}
        for item in self.names:
            parts = [state[name].reshape(state[name].shape[item.leading :]) for name in item.theirs]
            found[item.ours] = parts[0] if len(parts) == 1 else torch.cat(parts)
        return found

    def to_theirs(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our state as theirs.

        Raises:
            CheckpointError: a tensor is missing, or one is left over.
        """
        self._check(set(state), {item.ours for item in self.names})
        found: dict[str, Tensor] = {}
        for item in self.names:
            whole = state[item.ours]
            parts = [whole] if len(item.theirs) == 1 else list(whole.chunk(len(item.theirs)))
            for name, tensor in zip(item.theirs, parts, strict=True):
                found[name] = tensor.reshape((1,) * item.leading + tuple(tensor.shape)).clone()
        return found

    def _check(self, given: set[str], needed: set[str]) -> None:
        for problem, names in (("lacks", sorted(needed - given)), ("also holds", sorted(given - needed))):
            if names:
                some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
                remedy = "Check that config.json and the weights belong to the same model"
                raise CheckpointError(f"{self.family} weights", f"the state {problem} {len(names)} tensors: {some}", remedy)
