"""`sensorium demo`: one model is asked about a photo, a recording, a clip and a PDF page, offline."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli import options as opt
from sensorium.cli.answers import Result, waiting
from sensorium.cli.inputs import Row, conversation
from sensorium.cli.scene import lay_out
from sensorium.parts import Answer, Message, Use

ASKED = (
    (("photo", "Describe the photo in one sentence."), 3),
    (("photo", "Is there a person in the photo?"), 1),
    (("photo", "Is there a dog in the photo?"), 1),
    (("photo", "question"), 1),
    (("note", "When is the meeting?"), 1),
    (("clip", "Describe the clip in one sentence."), 3),
    (("page", "How many seats does the reading room have?"), 1),
)
"""What is asked: media by name and words, and the beams of the answer."""


def run(
    model: opt.Model = "nano",
    json_lines: opt.Json = False,
    keep: Annotated[Path | None, typer.Option("--keep", metavar="FOLDER", help="Leave the media here.")] = None,
) -> None:
    """Ask one model about a photo, a recording, a clip and a PDF page; print what was read and how long it took."""
    from sensorium.model.load import load

    begin = time.perf_counter()
    with waiting("putting the model together (the first time this takes about a minute)"):
        loaded = load(model)
    if not json_lines:
        typer.echo(f"{model} ready in {time.perf_counter() - begin:.1f} s\n")
    with tempfile.TemporaryDirectory() as scratch:
        folder = keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        paths = lay_out(folder)
        for words, beams in ASKED:
            row = conversation([str(paths.get(word, word)) for word in words])
            start = time.perf_counter()
            (answer,) = loaded.answer(
                [[Message("user", row.parts)]], opt.given(loaded.defaults, max_tokens=48, beams=beams, length_penalty=0.7)
            )
            seconds = time.perf_counter() - start
            if json_lines:
                typer.echo(json.dumps(Result(row, answer, None, seconds).to_json(with_id=False), ensure_ascii=False))
            else:
                _show(row, answer, seconds)
            sys.stdout.flush()
    if not json_lines:
        typer.echo(f"all in {time.perf_counter() - begin:.1f} s")


def _show(row: Row, answer: Answer, seconds: float) -> None:
    names = ", ".join(Path(name).name for name in row.media)
    typer.echo(f"{names}  {row.question or '(the question is spoken)'}")
    typer.echo(f"  {answer.text.strip()}")
    read = "; ".join(_read(use) for use in answer.usage.media)
    sure = "" if answer.confidence is None else f", confidence {answer.confidence:.2f}"
    typer.echo(
        f"  read: {read}; {answer.usage.input_tokens} tokens in, {answer.usage.output_tokens} out{sure}; {seconds:.1f} s\n"
    )


def _read(use: Use) -> str:
    """What was read of one medium, in a few words."""
    told = []
    if use.pages:
        told.append(f"{len(use.pages)} of {use.pages_total} pages")
    if use.frames:
        told.append(f"{len(use.frames)} of {use.frames_total} frames")
    if use.tiles:
        told.append(f"{use.tiles} picture{'s' * (use.tiles > 1)}")
    if use.seconds:
        told.append(f"{use.seconds:.1f} of {use.seconds_total:.1f} s of sound")
    if use.words:
        told.append(f"{use.words} words")
    return f"{Path(use.name).name} ({', '.join(told)}, {use.tokens} tokens)"
