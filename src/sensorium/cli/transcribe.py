"""`sensorium transcribe`: recordings and clips of any length to text, SRT, VTT or JSON."""

from __future__ import annotations

import json
import math
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sensorium.cli import options as opt
from sensorium.cli.answers import error_to_json, progress, waiting
from sensorium.cli.inputs import STDIN, access
from sensorium.errors import RequestError, SensoriumError
from sensorium.media import subtitles
from sensorium.parts import Usage, Use, usage_to_json

if TYPE_CHECKING:
    from sensorium.media.audio import Sound
    from sensorium.model.segments import Segment
    from sensorium.model.transcribe import Hearing, SpeechModel


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
    careful: Annotated[
        bool,
        typer.Option("--careful", help="Hear everything three times; the language model helps to choose."),
    ] = False,
    allow_url: opt.Urls = None,
) -> None:
    """Write down what is said; nothing of a long recording is left out."""
    from sensorium.media import audio
    from sensorium.model.hearings import Careful, judge_of
    from sensorium.model.load import load
    from sensorium.model.transcribe import Hearing

    with waiting(f"loading {model}"):
        loaded = load(model, hosts=allow_url or ())
    whole: Any = getattr(loaded, "model", None)
    speech = getattr(whole, "speech", None)
    if speech is None:
        raise RequestError(
            model, "has no speech recognition of ours", 'Use nano, or ask it: sensorium ask speech.wav "Transcribe."'
        )
    hearing = Hearing(language=language, careful=Careful(judge_of(whole)) if careful else None)
    form = Format.JSON if json_lines else form
    written: list[str] = []
    code = 0
    for name in media:
        begin = time.perf_counter()
        try:
            sound = audio.decode(_source(name), start, stop, access=access(allow_url or ()))
            segments = _segments(speech, sound, hearing)
            text = _written(form, name, sound, segments, time.perf_counter() - begin)
        except SensoriumError as error:
            code = error.exit_code
            if form is not Format.JSON:
                typer.echo(f"error: {error}", err=True)
                continue
            text = json.dumps({"media": [name], "error": error_to_json(error)}, ensure_ascii=False) + "\n"
        if output is None:
            typer.echo(text, nl=False)
        written.append(text)
    if output is not None:
        output.write_text("".join(written), "utf-8")
    if code:
        raise typer.Exit(code)


def _source(name: str) -> str | bytes:
    return sys.stdin.buffer.read() if name == STDIN else name


def _segments(speech: SpeechModel, sound: Sound, hearing: Hearing) -> list[Segment]:
    """Every segment, with a bar of the seconds heard."""
    whole = math.ceil(sound.stop - sound.start)
    with progress("listening (s)", whole) as advance:
        shown = 0

        def heard(seconds: float, _: float) -> None:
            nonlocal shown
            for _step in range(shown, int(seconds)):
                advance()
            shown = int(seconds)

        return list(speech.transcribe(sound, hearing, heard))


def _written(form: Format, name: str, sound: Sound, segments: list[Segment], seconds: float) -> str:
    match form:
        case Format.SRT:
            return subtitles.write_srt(_cues(segments))
        case Format.VTT:
            return subtitles.write_vtt(_cues(segments))
        case Format.TEXT:
            return _text(segments) + "\n"
        case Format.JSON:
            heard = sound.stop - sound.start
            words = sum(len(segment.text.split()) for segment in segments)
            use = Use(
                0, 0, "audio", sound.name, seconds=heard, seconds_total=sound.seconds_total, words=words, notes=sound.notes
            )
            spoken = sum(len(segment.tokens) for segment in segments)
            row = {
                "media": [name],
                "text": _text(segments),
                "segments": [_row(segment) for segment in segments],
                "usage": usage_to_json(Usage(0, spoken, (use,))),
                "seconds": round(seconds, 3),
            }
            return json.dumps(row, ensure_ascii=False) + "\n"


def _text(segments: list[Segment]) -> str:
    return " ".join(segment.text.strip() for segment in segments if segment.text.strip())


def _cues(segments: list[Segment]) -> list[subtitles.Segment]:
    return [subtitles.Segment(segment.start, segment.stop, segment.text) for segment in segments]


def _row(segment: Segment) -> dict[str, Any]:
    return {
        "start": round(segment.start, 3),
        "stop": round(segment.stop, 3),
        "text": segment.text.strip(),
        "confidence": round(math.exp(segment.logprob), 4),
        "no_speech": round(segment.no_speech, 4),
        "times": segment.times,
    }
