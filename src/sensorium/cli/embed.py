"""`sensorium embed`: pictures, texts, sound and documents as unit vectors of one space."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from sensorium.cli import options as opt
from sensorium.cli.answers import error_to_json, progress, waiting
from sensorium.cli.inputs import lines_of, medium
from sensorium.errors import RequestError, SensoriumError
from sensorium.parts import Message, Part, Text


def run(
    media: Annotated[list[str] | None, typer.Argument(metavar="[MEDIA]...", help="Files; - for standard input.")] = None,
    text: Annotated[list[str] | None, typer.Option("--text", "-t", metavar="TEXT", help="A text; repeat the option.")] = None,
    texts: Annotated[Path | None, typer.Option("--texts", metavar="FILE", help="A file of texts, one a line.")] = None,
    model: opt.Model = "nano",
    allow_url: opt.Urls = None,
) -> None:
    """Print one JSON object a line: {"media" or "text", "vector"}; vectors of pictures and words can be compared."""
    from sensorium.model.load import load

    urls = tuple(allow_url or ())
    said = [*(text or ()), *(lines_of(texts) if texts else ())]
    if not media and not said:
        raise RequestError(
            "embed", "was given neither media nor texts", 'Try: sensorium embed photo.jpg --text "a dog on a beach"'
        )
    with waiting(f"loading {model}"):
        loaded = load(model, hosts=urls)
    if not hasattr(loaded, "embed"):
        raise RequestError(model, "has no shared space", "Use nano")
    code = 0
    with progress("embedding", len(media or ()) + len(said)) as advance:
        for key, value in [*(("media", name) for name in media or ()), *(("text", words) for words in said)]:
            row: dict[str, Any] = {key: value}
            try:
                part: Part = medium(value, urls) if key == "media" else Text(value)
                (vector_D,) = loaded.embed([Message("user", (part,))]).tolist()
                row["vector"] = [round(number, 6) for number in vector_D]
            except SensoriumError as error:
                row["error"], code = error_to_json(error), error.exit_code
            typer.echo(json.dumps(row, ensure_ascii=False))
            advance()
    if code:
        raise typer.Exit(code)
