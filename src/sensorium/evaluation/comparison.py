"""What a comparison of two runs found: values that go to JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from sensorium.estimate import Estimate
from sensorium.evaluation.kept import Kept
from sensorium.evaluation.result import finite
from sensorium.parts import Json


class Pair(NamedTuple):
    """One item and what became of it in both runs; `kind` of question."""

    a: Kept
    b: Kept
    score_a: float
    score_b: float
    kind: str

    @property
    def apart(self) -> float:
        """A minus B."""
        return self.score_a - self.score_b

    @property
    def cluster(self) -> str:
        """What the item shares with others, or itself."""
        return self.a.cluster or f"item {self.a.id}"


class Kind(NamedTuple):
    """One kind of question; `difference` is A minus B. `only_a`, `only_b`: items on which one of them scored higher."""

    kind: str
    difference: Estimate
    only_a: int
    only_b: int


@dataclass(frozen=True)
class Compared:
    """One task.

    Args:
        score: by which they are compared. difference: A minus B, item by item.
        effect: `effect_name` says what it is: Cohen's g for scores of 0 and 1, else Cohen's d of the paired differences.
        p: of `test`. p_holm: corrected for the number of tasks (Holm 1979). mcnemar: for scores of 0 and 1, else None.
        only_a, only_b: items on which A, or B, scored higher.
        pairs: all items on which they differ, the widest apart first.
    """

    task: str
    score: str
    a: Estimate
    b: Estimate
    difference: Estimate
    effect_name: str
    effect: Estimate | None
    test: str
    p: float
    p_holm: float
    mcnemar: float | None
    only_a: int
    only_b: int
    kinds: tuple[Kind, ...]
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Two runs; `a` and `b` say whose."""

    a: Json
    b: Json
    tasks: tuple[Compared, ...]
    notes: tuple[str, ...]


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Plain JSON; of the items on which the runs differ the ids, scores and answers."""
    return {
        "a": dict(comparison.a),
        "b": dict(comparison.b),
        "notes": list(comparison.notes),
        "tasks": [_row(row) for row in comparison.tasks],
    }


def _row(row: Compared) -> dict[str, Any]:
    return {
        "task": row.task,
        "score": row.score,
        "a": finite(row.a),
        "b": finite(row.b),
        "difference": finite(row.difference),
        "effect": None if row.effect is None else {"name": row.effect_name} | finite(row.effect),
        "test": {"name": row.test, "p": row.p, "p_holm": row.p_holm, "mcnemar_p": row.mcnemar},
        "only_a": row.only_a,
        "only_b": row.only_b,
        "kinds": [kind._asdict() | {"difference": finite(kind.difference)} for kind in row.kinds],
        "items": [
            {
                "id": pair.a.id,
                "kind": pair.kind,
                "a": pair.score_a,
                "b": pair.score_b,
                "said_a": pair.a.reply.text,
                "said_b": pair.b.reply.text,
            }
            for pair in row.pairs
        ],
        "notes": list(row.notes),
    }
