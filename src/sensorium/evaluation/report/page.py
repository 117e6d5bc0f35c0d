"""One self-contained HTML page of a run: no network, no file beside it, and nothing in an answer can become markup."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sensorium.evaluation.report import figure
from sensorium.evaluation.report.figure import Tick
from sensorium.evaluation.report.view import TaskView, View, number, pinned, said

_HERE = Path(__file__).parent


def page(view: View) -> str:
    """The report as HTML."""
    model = view.result.model
    count = len(view.tasks)
    return render(
        "page.jinja",
        title=f"{model['name']} on {count} task{'s' * (count != 1)}",
        model=f"{model.get('kind', 'model')}, fingerprint {str(model.get('fingerprint', ''))[:12]}",
        code=view.result.code.get("version", ""),
        seed=view.result.seed,
        view=view,
        unit=all(task.span == (0.0, 1.0) for task in view.tasks),
        floor_marks=_floor_marks,
        shown_counts=lambda task: Counter(sample.status for sample in task.samples),
        pinned=lambda task: pinned(view.result, task),
    )


def render(template: str, folder: Path = _HERE, script: str = "script.jinja", **values: Any) -> str:
    """A template with the shared style and a script in it; every value is escaped, and no other script can run.

    Args:
        folder: where template and script lie; what they import may lie here too.
    """
    files = _files(folder)
    style, code = (files.get_template(name).render() for name in ("style.jinja", script))
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode("ascii")
    return files.get_template(template).render(figure=figure, style=style, script=code, script_hash=digest, **values)


@lru_cache(maxsize=4)
def _files(folder: Path) -> Environment:
    files = Environment(
        loader=FileSystemLoader([folder, _HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    files.filters |= {"said": said, "number": number}
    return files


def _floor_marks(task: TaskView) -> list[Tick]:
    floors = [line for line in task.lines if line.kind == "floor"]
    return [Tick(figure.track(line.estimate, task.span).at, f"{line.name} {said(line.estimate)}") for line in floors]
