"""What is wrong with one row of data, where, and what would put it right."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from sensorium.errors import DataError


class Fault(NamedTuple):
    """One broken row.

    Args:
        file: the file that holds the row (the shard, for tar shards). row: counted from 1 in the file's own order; a line of a
            JSON-lines file, an element of a JSON array, a record of a CSV file, a sample of a shard.
        field: the column, with a path inside it where that helps: `images`, `conversations[2].from`.
        kind: a stable kebab-case word. The readers say `bad-json`, `bad-csv`, `empty-row`, `truncated`, `missing-field`,
            `wrong-type`, `no-messages`, `unknown-role`, `unknown-part`, `placeholder-count`, `box-count`, `box-form`,
            `box-empty`, `box-outside`, `bad-number`, `frame-list`, `nothing-to-learn`, `two-systems`, `missing-image`,
            `missing-answer`, `duplicate-member`; and once a row is prepared, `unreadable-media` and `unusable`.
        reason: what is wrong, with the number and the limit. fix: what to do about it.
    """

    file: str
    row: int
    field: str
    kind: str
    reason: str
    fix: str


class RowError(Exception):
    """Raised while a row is read, where its file and number are not known; a source makes a `Fault` of it."""

    def __init__(self, field: str, kind: str, reason: str, fix: str) -> None:
        super().__init__(field, kind, reason, fix)
        self.field, self.kind, self.reason, self.fix = field, kind, reason, fix

    def at(self, file: str, row: int) -> Fault:
        """The same with its place."""
        return Fault(file, row, self.field, self.kind, self.reason, self.fix)


def refuse(fault: Fault) -> None:
    """Stop at a broken row.

    Raises:
        DataError: always.
    """
    raise DataError(f"{fault.file}, row {fault.row}, {fault.field}", fault.reason, fault.fix)


class Tally:
    """Go on after broken rows and count them; the first ones are kept to be shown.

    Args:
        keep: faults kept at most.
    """

    def __init__(self, keep: int = 20) -> None:
        self.kinds: Counter[str] = Counter()
        self.first: list[Fault] = []
        self._keep = keep

    def __call__(self, fault: Fault) -> None:
        """Count one."""
        self.kinds[fault.kind] += 1
        if len(self.first) < self._keep:
            self.first.append(fault)
