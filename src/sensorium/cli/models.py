"""`sensorium models`: what there is, what it holds, and how it comes here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli.answers import waiting

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, inspect, convert, merge and assemble models.")


@app.command("list")
def list_models() -> None:
    """The models at hand: the embedded default and what has been assembled in the cache."""
    from sensorium.cache import cache_folder
    from sensorium.model.nano import assembled

    typer.echo("nano\tthe embedded default; assembled on first use")
    for folder in assembled():
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        typer.echo(f"{folder}\t{size / 1e6:.0f} MB")
    typer.echo(f"cache: {cache_folder()}", err=True)


@app.command()
def info(model: Annotated[str, typer.Argument(metavar="NAME|FOLDER")] = "nano") -> None:
    """What a checkpoint holds: its parts, their parameters, its configuration."""
    from sensorium.model.describe import describe
    from sensorium.model.load import folder_of

    typer.echo(json.dumps(describe(folder_of(model)), indent=2, ensure_ascii=False))


@app.command()
def convert(
    source: Annotated[str, typer.Argument(help="A folder in the Hugging Face layout, or a GGUF file.")],
    destination: Annotated[Path, typer.Argument(help="The new checkpoint folder.")],
) -> None:
    """Convert a public model's folder or GGUF file into a checkpoint of ours."""
    from sensorium.model.convert import convert as convert_folder

    with waiting(f"converting {source}"):
        convert_folder(Path(source), destination)
    typer.echo(str(destination))


@app.command()
def merge(
    model: Annotated[Path, typer.Argument(help="A checkpoint folder of ours.")],
    adapter: Annotated[Path, typer.Argument(help="A folder with adapter_config.json, as peft writes it.")],
    destination: Annotated[Path, typer.Argument(help="The new checkpoint folder.")],
) -> None:
    """Merge a low-rank adapter of the language model into its weights."""
    from sensorium.model.merge import merge_adapter

    with waiting(f"merging {adapter}"):
        merge_adapter(model, adapter, destination)
    typer.echo(str(destination))


@app.command()
def assemble() -> None:
    """Put nano together from its packages, once; prints the folder."""
    from sensorium.model.nano import assemble as assemble_nano

    with waiting("assembling nano"):
        folder = assemble_nano()
    typer.echo(str(folder))
