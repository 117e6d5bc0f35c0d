"""Faults of training data in the terminal: a table for people, plain lines for programs, and what was gone through."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from sensorium.data.checking.check import Report
    from sensorium.data.fault import Fault


def show_faults(faults: Sequence[Fault], kinds: Mapping[str, int]) -> None:
    """A table, or `file:row: field: kind: reason. fix` where standard output is not a terminal."""
    if not faults:
        return
    if not sys.stdout.isatty():
        for fault in faults:
            typer.echo(f"{fault.file}:{fault.row}: {fault.field}: {fault.kind}: {fault.reason}. {fault.fix}")
        _more(faults, kinds)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    table.add_column("row", justify="right", no_wrap=True)
    table.add_column("field", overflow="fold")
    table.add_column("fault", style="bold red", overflow="fold")
    table.add_column("what is wrong", ratio=3, overflow="fold")
    table.add_column("what to do", style="dim", ratio=2, overflow="fold")
    console = Console(highlight=False)
    file = None
    for fault in faults:
        if fault.file != file:
            file = fault.file
            table.add_row("", "", "", Text(file, "bold underline"), "")
        table.add_row(str(fault.row), Text(fault.field), fault.kind, Text(fault.reason), Text(fault.fix))
    console.print(table)
    _more(faults, kinds)


def _more(faults: Sequence[Fault], kinds: Mapping[str, int]) -> None:
    for kind, count in kinds.items():
        hidden = count - sum(fault.kind == kind for fault in faults)
        if hidden:
            typer.echo(f"... and {hidden:,} more of {kind}; --json lists all")


def show_summary(report: Report, path: Path, interrupted: bool, err: bool) -> None:
    """Rows, media, faults by kind, and notes; on standard error with `err`."""
    media = ", ".join(f"{count:,} {kind}" for kind, count in sorted(report.media.items()) if kind != "not fetched")
    went = f"{path}: {report.rows:,} rows" + (f" with {media}" if media else "")
    went += ", interrupted" if interrupted else "" if report.finished else ", the first of more"
    total = sum(report.kinds.values())
    if total:
        by_kind = ", ".join(f"{count:,} {kind}" for kind, count in report.kinds.most_common())
        typer.echo(f"{went}; {total:,} faults: {by_kind}", err=err)
    else:
        typer.echo(f"{went}; no faults", err=err)
    for note in report.notes:
        typer.echo(f"note: {note}", err=err)
