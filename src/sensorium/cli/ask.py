"""`sensorium ask`: questions about media, in one turn, in a chat, or from a file of rows."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from sensorium.cli import options as opt
from sensorium.cli.answers import Result, answer_rows, run_batch, show, waiting
from sensorium.cli.inputs import Row, access, conversation, is_medium, lines_of, medium, rows_of
from sensorium.errors import RequestError, SensoriumError
from sensorium.parts import Answer, Message, Part, Text

if TYPE_CHECKING:
    from sensorium.protocols import Generates, Sampling

CAPTION = "Describe the photo in one sentence."


def run(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MEDIA]... QUESTION", help="Files, URLs or - for standard input, and words, in any order."),
    ] = None,
    model: opt.Model = "nano",
    chat: Annotated[bool, typer.Option("--chat", help="Go on asking; an empty line or end of input stops.")] = False,
    each: Annotated[bool, typer.Option("--each", help="Ask the question of each medium by itself.")] = False,
    json_lines: opt.Json = False,
    batch: opt.Batch = None,
    output: opt.Output = None,
    batch_size: opt.BatchSize = 8,
    choice: opt.Choices = None,
    max_tokens: opt.MaxTokens = None,
    temperature: opt.Temperature = 0.0,
    top_p: opt.TopP = 1.0,
    beams: opt.Beams = None,
    length_penalty: opt.LengthPenalty = None,
    seed: opt.Seed = None,
    words: Annotated[bool, typer.Option("--words/--no-words", help="Read the words in pictures.")] = True,
    quantize: opt.Weights = None,
    missing: opt.Absent = opt.Missing.REFUSE,
    allow_url: opt.Urls = None,
) -> None:
    """Ask about media. With no words, a recording given last is the question, spoken."""
    from sensorium.model.candid import Candid
    from sensorium.model.load import load

    urls, absent = tuple(allow_url or ()), missing is opt.Missing.SAY
    if batch is None and not arguments and not chat:
        raise RequestError("ask", "was given nothing", 'Try: sensorium ask photo.jpg "What is in the photo?"')
    row = None if batch is not None or not arguments else _row(arguments, urls, chat, absent)
    with waiting(f"loading {model}"):
        loaded = load(model, quantize=quantize.value if quantize else None, words=words, hosts=urls)
    drawn = replace(loaded.defaults, temperature=temperature, top_p=top_p, seed=seed, choices=tuple(choice or ()))
    sampling = opt.given(drawn, max_tokens=max_tokens, beams=beams, length_penalty=length_penalty)
    candid = Candid(loaded, absent, access=access(urls))
    if batch is not None:
        rows = rows_of(batch, CAPTION, urls, absent)
        run_batch(lambda todo: answer_rows(candid, todo, sampling, batch_size), rows, len(lines_of(batch)), output)
    elif chat:
        _chat(candid, row.parts if row else (), sampling, urls)
    elif row is not None and each:
        single = [Row("", (name,), row.question, (medium(name, urls, absent), Text(row.question))) for name in row.media]
        show(answer_rows(candid, single, sampling, batch_size), json_lines, label=True)
    elif row is not None:
        _one(candid, row, sampling, json_lines)


def _row(arguments: list[str], urls: tuple[str, ...], chat: bool, absent: bool) -> Row:
    """The arguments as one request; a chat may open with media alone."""
    if chat and all(is_medium(argument, absent) for argument in arguments):
        return Row("", tuple(arguments), "", tuple(medium(argument, urls, absent) for argument in arguments))
    return conversation(arguments, urls, absent)


def _one(model: Generates, row: Row, sampling: Sampling, as_json: bool) -> None:
    begin = time.perf_counter()
    answer = _stream(model, [Message("user", row.parts)], sampling, quiet=as_json)
    if as_json:
        result = Result(row, answer, None, time.perf_counter() - begin)
        typer.echo(json.dumps(result.to_json(with_id=False), ensure_ascii=False))


def _stream(model: Generates, messages: list[Message], sampling: Sampling, quiet: bool) -> Answer:
    """Prints the answer as it comes, and returns it."""
    with waiting("reading"):
        pieces = model.stream(messages, sampling)
        first = next(pieces)
    for piece in chain([first], pieces):
        if isinstance(piece, Answer):
            if not quiet:
                typer.echo("" if piece.finish != "length" else " [...]")
                _remark(piece)
            return piece
        if not quiet:
            typer.echo(piece, nl=False)
            sys.stdout.flush()
    raise AssertionError("a stream ends with its Answer")


def _remark(answer: Answer) -> None:
    """What a person should know of how the media were read, on standard error."""
    for use in answer.usage.media:
        for note in use.notes:
            typer.echo(f"note: {use.name}: {note}", err=True)
    for note in answer.usage.notes:
        if note not in answer.text:
            typer.echo(f"note: {note}", err=True)
    if answer.finish == "length":
        typer.echo("note: the answer was cut at --max-tokens", err=True)


def _chat(model: Generates, opening: tuple[Part, ...], sampling: Sampling, urls: tuple[str, ...]) -> None:
    """Turn after turn; media named in a turn (alone or before the words) are added to it."""
    messages: list[Message] = []
    pending = opening
    if any(isinstance(part, Text) for part in opening):
        messages = _turn(model, [Message("user", opening)], sampling)
        pending = ()
    while line := _line():
        try:
            words = line.split()
            named = [word for word in words if is_medium(word)]
            said = " ".join(word for word in words if word not in named)
            parts = (*pending, *(medium(name, urls) for name in named), *((Text(said),) if said else ()))
            if not said:
                pending = parts
                continue
            messages = _turn(model, [*messages, Message("user", parts)], sampling)
            pending = ()
        except SensoriumError as error:
            typer.echo(f"error: {error}", err=True)


def _turn(model: Generates, messages: list[Message], sampling: Sampling) -> list[Message]:
    answer = _stream(model, messages, sampling, quiet=False)
    return [*messages, replace(answer.message, parts=(Text(answer.text.strip()),))]


def _line() -> str:
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return ""
