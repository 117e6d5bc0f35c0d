"""Constrained choice: which tokens may come next, if the answer is to be one of the given ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sensorium.errors import RequestError


class ChoiceTrie:
    """The given token sequences as a tree; after a whole sequence the end token may come.

    Args:
        sequences: the choices as token ids. stop: the token that ends an answer.

    Raises:
        RequestError: no choice, an empty one, two that are the same, or one that holds the end token.
    """

    def __init__(self, sequences: Sequence[Sequence[int]], stop: int) -> None:
        self.stop = stop
        self._next: dict[tuple[int, ...], list[int]] = {(): []}
        self._whole: dict[tuple[int, ...], int] = {}
        if not sequences:
            raise RequestError("choices", "are none", "Give at least one")
        for index, sequence in enumerate(sequences):
            self._add(index, tuple(sequence))

    def _add(self, index: int, sequence: tuple[int, ...]) -> None:
        if not sequence:
            raise RequestError(f"choice {index}", "has no tokens", "Give choices of at least one character")
        if sequence in self._whole:
            raise RequestError(
                f"choice {index}", f"has the same tokens as choice {self._whole[sequence]}", "Give different choices"
            )
        if self.stop in sequence:
            raise RequestError(f"choice {index}", f"holds the end token {self.stop}", "Give choices of plain words")
        for depth, token in enumerate(sequence):
            known = self._next.setdefault(sequence[:depth], [])
            if token not in known:
                known.append(token)
        self._next.setdefault(sequence, [])
        self._whole[sequence] = index

    def allowed(self, said: Sequence[int]) -> tuple[int, ...]:
        """Tokens that may follow what was said of the answer so far, sorted.

        Raises:
            RequestError: what was said begins none of the choices.
        """
        key = tuple(said)
        if key not in self._next:
            raise RequestError("choices", f"none begins with the tokens {list(key)}", "Draw only allowed tokens")
        ends = (self.stop,) if key in self._whole else ()
        return tuple(sorted((*self._next[key], *ends)))

    def chosen(self, said: Sequence[int]) -> int | None:
        """The number of the choice that was said whole, or None."""
        return self._whole.get(tuple(said))

    def mask(self, logits_BV: Tensor, said: Sequence[Sequence[int]]) -> Tensor:
        """Logits with all but the allowed tokens of each row at minus infinity."""
        out_BV = torch.full_like(logits_BV, -torch.inf)
        for row, tokens in enumerate(said):
            index = torch.tensor(self.allowed(tokens), device=logits_BV.device)
            out_BV[row, index] = logits_BV[row, index]
        return out_BV
