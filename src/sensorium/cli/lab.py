"""`sensorium lab`: the same questions and compute through every family of fusion, as a table and a scaling curve."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli.answers import progress, waiting


def run(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Results; a second run goes on from them.")],
    exam: Annotated[str, typer.Option("--exam", help="synthetic or easy-vqa (the package).")] = "synthetic",
    families: Annotated[str, typer.Option("--families", metavar="A,B", help="Which; all by default.")] = "",
    rows: Annotated[int, typer.Option("--rows", min=1, help="Training questions of the table.")] = 2048,
    halvings: Annotated[int, typer.Option("--halvings", min=2, help="Smaller sizes for the curve.")] = 3,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Runs of each size.")] = 3,
    eyes: Annotated[str, typer.Option("--eyes", metavar="NAME|FOLDER", help="Whose image encoder all families get.")] = "nano",
    layer: Annotated[
        str, typer.Option("--eyes-layer", metavar="TRACE", help="One of its layers of maps; the last if empty.")
    ] = "",
    dim: Annotated[int, typer.Option("--dim", min=8, help="Width of every family.")] = 64,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Of 16 questions each, in every run.")] = 1024,
    side: Annotated[
        int, typer.Option("--eyes-side", min=1, help="Places along a side that the eyes' features are averaged to.")
    ] = 4,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Trials side by side.")] = 2,
    dev: Annotated[
        bool, typer.Option("--dev", help="Ask held-out training pictures, not the test: to choose settings.")
    ] = False,
) -> None:
    """Compare fusion families on questions about pictures: lab.md, lab.json and lab.png in the folder."""
    from sensorium.model.generate import Assistant
    from sensorium.model.load import load
    from sensorium.training.lab import bench, report, summary
    from sensorium.training.lab.eyes import look
    from sensorium.training.lab.family import FAMILIES
    from sensorium.training.lab.trial import Recipe

    chosen = tuple(families.split(",")) if families else tuple(FAMILIES)
    comparison = bench.Comparison(exam, chosen, rows, halvings, seeds, dim, Recipe(steps), workers, dev)
    with waiting(f"opening {exam}"):
        questions, model = bench.open_exam(exam, 2 * rows, dev), load(eyes)
    if not isinstance(model, Assistant):
        raise typer.BadParameter(f"{eyes} is not a checkpoint of ours; use nano", param_hint="--eyes")
    out.mkdir(parents=True, exist_ok=True)
    with progress("looking at pictures", len(questions.pictures_PHWC)) as advance:
        look(questions, model.model, out / "eyes", _steps(advance), layer=layer, side=side)
    with progress("trials", len(comparison.families) * len(comparison.sizes) * seeds) as advance:
        found = bench.trials(comparison, out / "trials", out / "eyes", _steps(advance))
    lines = summary.summarise(comparison, questions, found)
    report.write(out, comparison, questions, lines)
    typer.echo(report.markdown(comparison, questions, lines))


def _steps(advance: Callable[[], None]) -> Callable[[int, int], None]:
    """A progress bar that is told how many are done, not that one more is."""
    shown = 0

    def say(done: int, _: int) -> None:
        nonlocal shown
        for _ in range(done - shown):
            advance()
        shown = done

    return say
