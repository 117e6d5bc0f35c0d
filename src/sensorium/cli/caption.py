"""`sensorium caption`: one sentence about each picture or clip."""

from __future__ import annotations

from typing import Annotated

import typer

from sensorium.cli import options as opt
from sensorium.cli.answers import answer_rows, progress, run_batch, show, waiting
from sensorium.cli.ask import CAPTION
from sensorium.cli.inputs import Row, lines_of, medium, rows_of
from sensorium.errors import RequestError
from sensorium.parts import Text


def run(
    media: Annotated[
        list[str] | None, typer.Argument(metavar="MEDIA...", help="Pictures or clips; - for standard input.")
    ] = None,
    model: opt.Model = "nano",
    json_lines: opt.Json = False,
    batch: opt.Batch = None,
    output: opt.Output = None,
    batch_size: opt.BatchSize = 8,
    max_tokens: opt.MaxTokens = 40,
    beams: opt.Beams = 3,
    length_penalty: opt.LengthPenalty = 0.7,
    quantize: opt.Weights = None,
    allow_url: opt.Urls = None,
) -> None:
    """Describe each picture or clip in one sentence; words in a picture are not read (ask does)."""
    from sensorium.model.load import load

    urls = tuple(allow_url or ())
    if batch is None and not media:
        raise RequestError("caption", "was given no media", "Try: sensorium caption photo.jpg")
    rows = [Row("", (name,), CAPTION, (medium(name, urls), Text(CAPTION))) for name in media or ()]
    with waiting(f"loading {model}"):
        loaded = load(model, quantize=quantize.value if quantize else None, words=False, hosts=urls)
    sampling = opt.given(loaded.defaults, max_tokens=max_tokens, beams=beams, length_penalty=length_penalty)
    if batch is not None:
        todo = rows_of(batch, CAPTION, urls)
        run_batch(lambda part: answer_rows(loaded, part, sampling, batch_size), todo, len(lines_of(batch)), output)
        return
    with progress("captioning", len(rows)) as advance:
        show(answer_rows(loaded, rows, sampling, batch_size), json_lines, label=len(rows) > 1, after=advance)
