"""How many insertions, deletions and exchanges turn one sequence into another (Levenshtein 1965)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence


def edits(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """The least number, by Hyyrö's bit-parallel form (2003) of Myers' algorithm: a column of the table is one whole number.

    Bits of `rises` and `falls` say where the column goes up or down by one from a row to the next.
    """
    if not one:
        return len(other)
    where: dict[Hashable, int] = defaultdict(int)
    for place, value in enumerate(one):
        where[value] |= 1 << place
    column, last = (1 << len(one)) - 1, 1 << (len(one) - 1)
    rises, falls, distance = column, 0, len(one)
    for value in other:
        same = where.get(value, 0)
        flat = (((same & rises) + rises) ^ rises) | same
        up = falls | (column & ~(flat | rises))
        down = rises & flat
        distance += bool(up & last) - bool(down & last)
        up, down = (up << 1 | 1) & column, down << 1 & column
        crossed = same | falls
        rises, falls = down | (column & ~(crossed | up)), up & crossed
    return distance
