"""Rows answered in batches and shown: as text, or as one JSON object a line; one bad row never stops the rest."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sensorium.cli.inputs import Failed, Row, lines_of, parse
from sensorium.errors import SensoriumError
from sensorium.parts import Answer, Message, usage_to_json

if TYPE_CHECKING:
    from sensorium.protocols import Generates, Sampling


@dataclass(frozen=True, slots=True)
class Result:
    """One row answered or failed; `seconds` is its share of its batch's time."""

    row: Row
    answer: Answer | None
    error: SensoriumError | None
    seconds: float

    def to_json(self, with_id: bool) -> dict[str, Any]:
        """`{"id"?, "media", "question", "text", "usage", "confidence", "seconds"}`, or `{"id"?, "error"}`."""
        head: dict[str, Any] = {"id": self.row.id} if with_id else {}
        head |= {"media": list(self.row.media), "question": self.row.question}
        if self.error is not None:
            return head | {"error": error_to_json(self.error)}
        assert self.answer is not None
        confidence = None if self.answer.confidence is None else round(self.answer.confidence, 4)
        return head | {
            "text": self.answer.text.strip(),
            "finish": self.answer.finish,
            "usage": usage_to_json(self.answer.usage),
            "confidence": confidence,
            "confidence_source": self.answer.confidence_source,
            "seconds": round(self.seconds, 3),
        }


def error_to_json(error: SensoriumError) -> dict[str, str]:
    """An error as its three parts."""
    return {"kind": type(error).__name__, "thing": error.thing, "problem": error.problem, "remedy": error.remedy}


def answer_rows(model: Generates, rows: Iterable[Row | Failed], sampling: Sampling, size: int) -> Iterator[Result]:
    """Answers in input order, `size` rows at a time; where a batch fails, its rows are answered one by one."""
    remaining = iter(rows)
    while chunk := list(islice(remaining, size)):
        good = [row for row in chunk if isinstance(row, Row)]
        answered = iter(_answer_together(model, good, sampling))
        for row in chunk:
            yield next(answered) if isinstance(row, Row) else Result(row.row, None, row.error, 0.0)


def _answer_together(model: Generates, rows: Sequence[Row], sampling: Sampling) -> list[Result]:
    begin = time.perf_counter()
    try:
        answers = model.answer([[Message("user", row.parts)] for row in rows], sampling)
    except SensoriumError as error:
        if len(rows) == 1:
            return [Result(rows[0], None, error, time.perf_counter() - begin)]
        return [result for row in rows for result in _answer_together(model, [row], sampling)]
    share = (time.perf_counter() - begin) / max(1, len(rows))
    return [Result(row, answer, None, share) for row, answer in zip(rows, answers, strict=True)]


def run_batch(
    answer: Callable[[Iterable[Row | Failed]], Iterator[Result]], rows: Iterable[Row | Failed], total: int, output: Path | None
) -> None:
    """Answers a batch file, to standard output or appended to `output`, where rows already answered are skipped.

    Raises:
        typer.Exit: with code 1 when a row failed.
    """
    done = answered_ids(output) if output is not None and output.exists() else set()
    todo = (row for row in rows if (row if isinstance(row, Row) else row.row).id not in done)
    failed = 0
    with progress("answering", total - len(done)) as advance:
        for result in answer(todo):
            failed += result.error is not None
            line = json.dumps(result.to_json(with_id=True), ensure_ascii=False)
            if output is None:
                typer.echo(line)
            else:
                with output.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")
            advance()
    if failed:
        typer.echo(f"{failed} of {total} rows failed; each says why", err=True)
        raise typer.Exit(1)


def answered_ids(output: Path) -> set[str]:
    """The ids answered in an output file; a last line cut short by an interruption is removed, failed rows are tried again."""
    text = output.read_text("utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        output.write_text(whole, "utf-8")
    rows = [parse(line, str(output)) for line in lines_of(output)]
    kept = [row for row in rows if "error" not in row]
    if len(kept) < len(rows):
        output.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept), "utf-8")
    return {str(row.get("id")) for row in kept}


def show(results: Iterable[Result], as_json: bool, label: bool, after: Callable[[], None] = lambda: None) -> None:
    """Prints results as they come; with `label` each text is preceded by its medium's name; `after` runs after each.

    Raises:
        typer.Exit: with the error's code when a row failed.
    """
    code = 0
    for result in results:
        if as_json:
            typer.echo(json.dumps(result.to_json(with_id=False), ensure_ascii=False))
        elif result.answer is not None:
            typer.echo((f"{' '.join(result.row.media)}\t" if label else "") + result.answer.text.strip())
        if result.error is not None:
            code = result.error.exit_code
            if not as_json:
                typer.echo(f"error: {result.error}", err=True)
        after()
    if code:
        raise typer.Exit(code)


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[], None]]:
    """A progress bar on standard error, when that is a terminal; call what it yields once a step."""
    if not sys.stderr.isatty() or total == 0:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """A spinner on standard error for a wait without steps."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield
