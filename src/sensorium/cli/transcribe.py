"""`sensorium transcribe`: recordings and clips of any length to text, SRT, VTT or JSON."""

from __future__ import annotations

import json
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sensorium.cli import options as opt
from sensorium.cli.answers import error_to_json, progress, waiting
from sensorium.cli.inputs import access
from sensorium.errors import RequestError, SensoriumError

if TYPE_CHECKING:
    from sensorium.media.audio import Sound
    from sensorium.model.transcribe import Segment, Transcriber


class Format(StrEnum):
    """Forms of a transcript."""

    TEXT = "text"
    SRT = "srt"
    VTT = "vtt"
    JSON = "json"


def run(
    media: Annotated[list[str], typer.Argument(metavar="MEDIA...", help="Recordings or clips; - for standard input.")],
    model: opt.Model = "nano",
    form: Annotated[Format, typer.Option("--format", "-f", help="Of the transcript.")] = Format.TEXT,
    json_lines: opt.Json = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write here instead of printing.")
    ] = None,
    start: Annotated[float, typer.Option("--start", min=0.0, help="Seconds.")] = 0.0,
    stop: Annotated[float | None, typer.Option("--stop", min=0.0, help="Seconds; the end by default.")] = None,
    language: Annotated[
        str | None, typer.Option("--language", help="Of the speech, for multilingual models; heard by default.")
    ] = None,
    allow_url: opt.Urls = None,
) -> None:
    """Write down what is said; nothing of a long recording is left out."""
    from sensorium.model.load import load

    with waiting(f"loading {model}"):
        loaded = load(model, hosts=allow_url or ())
    speech = getattr(getattr(loaded, "model", None), "speech", None)
    if speech is None:
        raise RequestError(
            model, "has no speech recognition of ours", 'Use nano, or ask it: sensorium ask speech.wav "Transcribe."'
        )
    form = Format.JSON if json_lines else form
    texts: list[str] = []
    code = 0
    for name in media:
        begin = time.perf_counter()
        try:
            sound = _sound(name, start, stop, tuple(allow_url or ()))
            segments = _segments(speech, sound, language)
            texts.append(_written(form, name, sound, segments, time.perf_counter() - begin))
        except SensoriumError as error:
            code = error.exit_code
            if form is Format.JSON:
                texts.append(json.dumps({"media": [name], "error": error_to_json(error)}) + "\n")
            else:
                typer.echo(f"error: {error}", err=True)
        if output is None:
            typer.echo(texts[-1], nl=False) if texts else None
            texts = []
    if output is not None:
        output.write_text("".join(texts), "utf-8")
    if code:
        raise typer.Exit(code)
