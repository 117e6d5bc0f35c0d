"""What an objective returns: a sum to go down, over a size, with its terms by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor


class Loss(NamedTuple):
    """`total` is summed, not averaged, so that shards of a batch add up; `size` is what to divide it by.

    `terms` are for the log: sums too, each with its own size.
    """

    total: Tensor
    size: float
    terms: Mapping[str, tuple[float, float]]
