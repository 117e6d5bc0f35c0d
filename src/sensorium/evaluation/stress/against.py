"""The corruption errors of one run against another's, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sensorium.errors import DataError, RequestError
from sensorium.estimate import Estimate, NotMeasured
from sensorium.evaluation.kept import read_results
from sensorium.evaluation.result import finite
from sensorium.evaluation.stress.curve import COUNTED, CorruptionError, corruption_error, read_marks

Found = Mapping[str, CorruptionError | NotMeasured]
"""By task; what is no share and no error has no corruption error, and says so."""


def against(model: Path, baseline: Path, tasks: Sequence[str] = (), seed: int = 0) -> Found:
    """For the tasks that both runs hold with the same harms of media; of those named, or of all.

    Raises:
        DataError: no run folder.
    """
    own, other = ({row.task: row.curves for row in read_results(folder).tasks} for folder in (model, baseline))
    found: dict[str, CorruptionError | NotMeasured] = {}
    for task in [name for name in own if name in other and (not tasks or name in tasks)]:
        kinds = [kind for kind, names in own[task].items() if kind in COUNTED and other[task].get(kind) == names]
        if not kinds:
            continue
        try:
            found[task] = corruption_error(read_marks(model, task, kinds), read_marks(baseline, task, kinds), seed=seed)
        except (DataError, RequestError) as error:
            found[task] = NotMeasured(str(error))
    return found


def table(found: Found) -> str:
    """Markdown: for each task the mean, the relative mean, and the three kinds that stand worst."""
    if not found:
        return ""
    lines = ["| task | mean corruption error, B = 1 | relative | n | worst kinds |", "|---|---|---|---|---|"]
    for task, row in found.items():
        if isinstance(row, NotMeasured):
            lines.append(f"| {task} | {row} | | | |")
            continue
        worst = sorted(row.kinds.items(), key=lambda item: -item[1].value)[:3]
        kinds = ", ".join(f"{kind} {_said(value)}" for kind, value in worst)
        lines.append(f"| {task} | {_said(row.mean)} | {_said(row.relative)} | {row.mean.n} | {kinds} |")
    return "\n".join(["## Harm", "", *lines, ""])


def rows(found: Found) -> dict[str, Any]:
    """Plain JSON by task."""
    return {task: row._asdict() if isinstance(row, NotMeasured) else _row(row) for task, row in found.items()}


def _row(found: CorruptionError) -> dict[str, Any]:
    lost = found.relative
    return {
        "mean": finite(found.mean),
        "relative": lost._asdict() if isinstance(lost, NotMeasured) else finite(lost),
        "kinds": {kind: finite(value) for kind, value in found.kinds.items()},
    }


def _said(value: Estimate | NotMeasured) -> str:
    return str(value) if isinstance(value, NotMeasured) else f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"
