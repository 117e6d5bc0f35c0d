"""`sensorium compare`: two runs on the same items, as a table, and as a page with the items on which they differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sensorium.cli.answers import waiting

if TYPE_CHECKING:
    from sensorium.evaluation.task import Corpus


def run(
    a: Annotated[Path, typer.Argument(metavar="A", help="A folder that `sensorium evaluate` wrote.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another one, of the same tasks.")],
    tasks: Annotated[
        str, typer.Option("--tasks", metavar="A,B", help="Names, groups, FILE.py or FILE.yaml; all that both have by default.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option("--output-path", "-o", metavar="FOLDER", help="Write compare.md, .json and .html here.")
    ] = None,
    data: Annotated[
        list[Path] | None, typer.Option("--data", metavar="FOLDER", help="Where the pictures and recordings lie.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the intervals and tests.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")] = False,
) -> None:
    """Compare two runs item by item: differences with intervals, paired tests, and where they differ."""
    from sensorium.evaluation.compare import compare
    from sensorium.evaluation.comparison import to_json
    from sensorium.evaluation.report.album import roots
    from sensorium.evaluation.report.compared import markdown, write_comparison
    from sensorium.evaluation.stress.against import against, rows, table

    chosen, corpora = _tasks([name.strip() for name in tasks.split(",") if name.strip()], a)
    with waiting("comparing"):
        comparison = compare(a, b, chosen, corpora, seed)
        harm = against(a, b, chosen, seed)
        paths = write_comparison(comparison, out, (*roots(a), *roots(b), *(data or ()))) if out is not None else ()
    if as_json:
        typer.echo(json.dumps(to_json(comparison) | ({"harm": rows(harm)} if harm else {}), ensure_ascii=False))
    else:
        typer.echo(markdown(comparison), nl=False)
        typer.echo(table(harm), nl=False)
    for path in paths:
        typer.echo(f"wrote {path}", err=True)


def _tasks(wanted: Sequence[str], run: Path) -> tuple[tuple[str, ...], dict[str, Mapping[str, Corpus]]]:
    """The tasks' names, and their scores that are no means; a task of somebody's own is known by its file."""
    from sensorium.evaluation.kept import read_results
    from sensorium.evaluation.tasks import registry

    known = {*registry.names(), *registry.GROUPS}
    names: list[str] = []
    corpora: dict[str, Mapping[str, Corpus]] = {}
    for name in wanted or [row.task for row in read_results(run).tasks]:
        found = registry.find_tasks([name]) if name in known or name.endswith((".py", ".yaml", ".yml")) else []
        names += [task.name for task in found] or [name]
        corpora |= {task.name: task.corpus for task in found}
    return tuple(names) if wanted else (), corpora
