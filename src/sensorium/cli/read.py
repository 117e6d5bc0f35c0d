"""`sensorium read`: the words in pictures and documents, with their boxes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from sensorium.cli import options as opt
from sensorium.cli.answers import error_to_json, progress
from sensorium.cli.inputs import access, medium
from sensorium.errors import RequestError, SensoriumError
from sensorium.parts import Document, Image, Reading


def run(
    media: Annotated[list[str], typer.Argument(metavar="MEDIA...", help="Pictures or PDF files; - for standard input.")],
    json_lines: opt.Json = False,
    boxes: Annotated[
        bool, typer.Option("--boxes", help="Print each line's box (y0 x0 y1 x1, in 0..1) and confidence.")
    ] = False,
    allow_url: opt.Urls = None,
) -> None:
    """Read the words in pictures and documents; a page without a text layer is recognised as a picture."""
    urls = tuple(allow_url or ())
    code = 0
    with progress("reading", len(media)) as advance:
        for name in media:
            begin = time.perf_counter()
            try:
                rows = list(_readings(name, urls))
            except SensoriumError as error:
                code = error.exit_code
                typer.echo(
                    json.dumps({"media": [name], "error": error_to_json(error)}) if json_lines else f"error: {error}",
                    err=not json_lines,
                )
                advance()
                continue
            if json_lines:
                text = "\n".join(row["text"] for row in rows)
                seconds = round(time.perf_counter() - begin, 3)
                typer.echo(
                    json.dumps({"media": [name], "text": text, "readings": rows, "seconds": seconds}, ensure_ascii=False)
                )
            else:
                for row in rows:
                    typer.echo(_line(row) if boxes else row["text"])
            advance()
    if code:
        raise typer.Exit(code)


def _readings(name: str, urls: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Lines as `{"text", "box", "confidence", "page"?}`."""
    from sensorium.media import document, image, ocr

    part = medium(name, urls)
    match part:
        case Image():
            for reading in ocr.read(image.decode(part.source, access=access(urls))):
                yield _row(reading)
        case Document():
            for page in document.decode(part.source, access=access(urls)):
                for reading in page.readings or ocr.read(page.picture):
                    yield _row(reading) | {"page": page.number}
        case _:
            raise RequestError(name, "is neither a picture nor a document", "Use transcribe for sound, ask for a clip")


def _row(reading: Reading) -> dict[str, Any]:
    box = [round(value, 4) for value in reading.extent]
    return {"text": reading.text, "box": box, "confidence": round(reading.confidence, 4)}


def _line(row: dict[str, Any]) -> str:
    place = " ".join(f"{value:.3f}" for value in row["box"])
    page = f"p{row['page']} " if "page" in row else ""
    return f"{page}{place}  {row['confidence']:.2f}  {row['text']}"
