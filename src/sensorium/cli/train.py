"""`sensorium train`: run a recipe, ours by name or your own by path."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from sensorium.cli.answers import progress
from sensorium.errors import RequestError


def run(
    recipe: Annotated[str, typer.Argument(help="connect, finetune, instruct, speak, ...; or a path to your own copy.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; repeat, or give several at once.")
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="More settings.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="The folder of the run.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    keys: Annotated[bool, typer.Option("--keys", help="Print every setting with its default and stop.")] = False,
    copy: Annotated[Path | None, typer.Option("--copy", metavar="FILE.py", help="Copy the recipe there and stop.")] = None,
    search: Annotated[
        list[str] | None,
        typer.Option("--search", metavar="KEY=RANGE", help="Search settings: key=log(1e-5,1e-2), float(..), int(..) or a|b."),
    ] = None,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Runs of a search.")] = 10,
) -> None:
    """Train by a recipe; all about the run is kept in one folder."""
    from sensorium.training import recipe as recipes
    from sensorium.training.config import parse
    from sensorium.training.runlog import command_line

    if copy is not None:
        if copy.exists():
            raise RequestError(str(copy), "is there already", "Name a new file")
        shutil.copyfile(recipes.find(recipe), copy)
        typer.echo(str(copy))
        return
    if keys:
        _show_keys(recipes.load(recipes.find(recipe))[0]())
        return
    if out is None:
        raise RequestError("--out", "is missing", "Name a new folder for the run")
    sets = [*(settings or ()), *(more or ())]
    if search:
        from sensorium.training.tuning import search as look

        best = look(recipe, sets, search, trials, out, command=command_line())
        typer.echo(f"{best.folder}\tloss {best.loss:.4f}\t{' '.join(best.sets)}")
        return
    with _told(_steps(parse(recipes.load(recipes.find(recipe))[0], sets))) as listen:
        recipes.execute(recipe, sets, out, resume=resume, command=command_line(), listen=listen)


def _show_keys(config: Any) -> None:
    def lines(row: Mapping[str, Any], prefix: str) -> Iterator[str]:
        for key, value in row.items():
            if isinstance(value, Mapping) and value:
                yield from lines(value, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}={'none' if value is None else value}"

    for line in lines(config.to_json(), ""):
        typer.echo(line)


def _steps(config: Any) -> int:
    return int(config.training.steps)


@contextmanager
def _told(steps: int) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A progress bar for the steps; evaluations and what a person should know as lines."""
    with progress("training", steps) as advance:

        def listen(row: Mapping[str, Any]) -> None:
            match row["event"]:
                case "step":
                    advance()
                case "evaluation":
                    typer.echo(f"step {row['step']}  {_figures(row['values'])}{_left_out(row['dropped'])}")
                case "warning":
                    typer.echo(f"warning: {row['text']}", err=True)
                case "end" if row["early"] or row["best"] not in (None, row["step"]):
                    typer.echo(f"{row['training']}: {_ended(row)}")
                case "export":
                    typer.echo(row["folder"])

        yield listen


def _figures(values: Mapping[str, Any]) -> str:
    return "  ".join(f"{name} {value:.4f}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items())


def _ended(row: Mapping[str, Any]) -> str:
    how = f"ended early at step {row['step']}, without progress" if row["early"] else f"ended at step {row['step']}"
    return how if row["best"] is None else f"{how}; the weights are those of step {row['best']}, the best evaluation"


def _left_out(dropped: Mapping[str, Any]) -> str:
    counts = {kind: count for told in dropped.values() for kind, count in told["kinds"].items()}
    return f"  dropped {', '.join(f'{count} {kind}' for kind, count in counts.items())}" if counts else ""
