"""The report of a run folder, written into it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sensorium.evaluation.report.markdown import markdown
from sensorium.evaluation.report.page import page
from sensorium.evaluation.report.view import BYTES, SAMPLES, view

MARKDOWN, PAGE = "report.md", "report.html"


def write_report(folder: Path, data: Sequence[Path] = (), budget: int = BYTES, samples: int = SAMPLES) -> tuple[Path, Path]:
    """`report.md` and `report.html`, the same each time for the same run; see `view` for the arguments.

    Raises:
        DataError: no run folder.
    """
    seen = view(folder, data, budget, samples)
    paths = folder / MARKDOWN, folder / PAGE
    for path, text in zip(paths, (markdown(seen), page(seen)), strict=True):
        part = path.with_suffix(f"{path.suffix}.part")
        part.write_text(text, "utf-8")
        part.replace(path)
    return paths
