"""`sensorium data`: what is wrong with training data, and what a model sees of it."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sensorium.cli import options as opt
from sensorium.cli.answers import progress, waiting
from sensorium.cli.faults import show_faults, show_summary
from sensorium.cli.view import show_row
from sensorium.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sensorium.data.checking.alignment import Embed, Vectors
    from sensorium.data.checking.check import Extra
    from sensorium.data.checking.policy import Identify
    from sensorium.data.fault import Fault
    from sensorium.data.reader import Dialect, Row, Source
    from sensorium.data.row import Remarks
    from sensorium.model.generate import Assistant
    from sensorium.parts import Message

app = typer.Typer(help="Check training data, and see what a model sees of it.", no_args_is_help=True)

Data = Annotated[Path, typer.Argument(metavar="PATH", help="A file, a folder, or a pattern of tar shards in quotes.")]
DialectName = Annotated[
    str | None,
    typer.Option("--dialect", metavar="NAME", help="Of the rows; told from them by default."),
]
Media = Annotated[
    Path | None,
    typer.Option("--media", metavar="FOLDER", help="Where relative media paths start; the file's folder by default."),
]
Words = Annotated[bool, typer.Option("--words/--no-words", help="Whether words in pictures are read into the row.")]


@dataclass(frozen=True, slots=True)
class _Stepped:
    """A source that tells how far it has been read."""

    inner: Source
    step: Callable[[], None]

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def remarks(self) -> Remarks:
        return self.inner.remarks

    def rows(self, start: int = 0) -> Iterator[Row | Fault]:
        for item in self.inner.rows(start):
            yield item
            self.step()

    def fingerprint(self) -> str:
        return self.inner.fingerprint()


@app.command()
def check(
    path: Data,
    media: Media = None,
    dialect: DialectName = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", metavar="NAME|FOLDER", help="Also check lengths, and captions against pictures, with it."
        ),
    ] = None,
    words: Words = False,
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="PATH", help="Other data, such as the test split, to share nothing with."),
    ] = None,
    licence: Annotated[
        list[str] | None,
        typer.Option("--licence", metavar="PATTERN", help="Allow only these, such as 'CC-BY*'; repeat the option."),
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", metavar="KIND", help="Leave out a kind of fault; repeat the option.")
    ] = None,
    longest: Annotated[int, typer.Option("--longest", min=1, help="Characters of a row at most.")] = 20_000,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Rows to look at; all by default.")] = None,
    fix: Annotated[
        Path | None,
        typer.Option("--fix", metavar="FILE.jsonl", help="Write a copy without the broken rows, characters repaired."),
    ] = None,
    json_lines: opt.Json = False,
) -> None:
    """Name every broken row: file, row, field, what is wrong and what would put it right. Exit code 1 if there is any."""
    from sensorium.data.checking.check import Checks, Report
    from sensorium.data.checking.check import check as run_checks
    from sensorium.data.checking.policy import Policy

    if fix is not None and limit is not None:
        raise RequestError("--fix", "copies all rows, but --limit looks at some only", "Leave one of them out")
    source = _open(path, dialect, media)
    other = _open(against, dialect, media) if against is not None else None
    extra, embed = _model_checks(model, words) if model is not None else (None, None)
    identify = _identifier()
    checks = Checks(longest, ignore or (), Policy(licence or (), identify), embed, extra)
    report = Report()
    if identify is None:
        report.notes.append("languages were not checked: pip install py3langid")
    faults: list[Fault] = []
    broken: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
    interrupted = False
    total = _count(source)
    with progress("checking", total if limit is None or total is None else min(limit, total)) as advance:
        try:
            for fault in run_checks(_Stepped(source, advance), checks, other, report, limit):
                if json_lines:
                    typer.echo(json.dumps(fault._asdict(), ensure_ascii=False))
                elif report.kinds[fault.kind] <= _SHOWN:
                    faults.append(fault)
                if fix is not None:
                    broken[fault.file, fault.row].add(fault.kind)
        except KeyboardInterrupt:
            interrupted = True
    if not json_lines:
        show_faults(faults, report.kinds)
    show_summary(report, path, interrupted, err=json_lines)
    if interrupted:
        raise typer.Exit(130)
    if fix is not None:
        from sensorium.data.checking.repair import write_repaired

        with progress("writing", total) as advance:
            copied = write_repaired(source, broken, fix, advance)
        said = f"{fix}: {copied.kept:,} rows as they were, {copied.repaired:,} put right, {copied.left_out:,} left out"
        typer.echo(said, err=json_lines)
    if report.kinds:
        raise typer.Exit(1)


@app.command()
def show(
    path: Data,
    row: Annotated[int, typer.Option("--row", "-n", min=1, help="Which row, counted from 1.")] = 1,
    media: Media = None,
    dialect: DialectName = None,
    model: opt.Model = "nano",
    words: Words = True,
    json_lines: opt.Json = False,
) -> None:
    """Show one row as the model sees it: every token, what is learned of it, and the grids of its media."""
    from itertools import islice

    from sensorium.data.fault import Fault, refuse
    from sensorium.data.view import spans

    source = _open(path, dialect, media)
    item = next(islice(source.rows(row - 1), 1), None)
    if item is None:
        raise RequestError(f"row {row}", f"is not in {path}, which is shorter", "Give a smaller number")
    if isinstance(item, Fault):
        refuse(item)
        return
    with waiting(f"loading {model}"):
        loaded = _trainable(model, words)
    batch = loaded.model.batch([item.sample])
    tokenizer = loaded.tokenizer
    shown = spans(batch, 0, lambda ids: str(tokenizer.decode(list(ids), skip_special_tokens=False)))
    show_row(item, shown, batch.uses[0], json_lines)


_SHOWN = 20
"""Faults of one kind in the table; --json lists all."""


def _open(path: Path, dialect: str | None, media: Path | None) -> Source:
    from sensorium.data.reader import DIALECTS, open_source

    known: Dialect | None = next((name for name in DIALECTS if name == dialect), None)
    if dialect is not None and known is None:
        raise RequestError(f"dialect {dialect!r}", "is not known", f"Use one of {', '.join(DIALECTS)}")
    return open_source(path, known, media)


def _count(source: Source) -> int | None:
    from sensorium.data.row import Indexed

    return len(source) if sys.stderr.isatty() and isinstance(source, Indexed) else None


def _identifier() -> Identify | None:
    from sensorium.data.checking.policy import load_identifier

    with waiting("loading the languages"):
        return load_identifier()


def _model_checks(name: str, words: bool) -> tuple[Extra | None, Embed | None]:
    """What a model can say of rows: whether they fit, and whether captions are of their pictures."""
    import numpy as np

    from sensorium.data.checking.fit import fits

    with waiting(f"loading {name}"):
        loaded = _trainable(name, words)

    def embed(messages: Sequence[Message]) -> Vectors:
        return np.asarray(loaded.embed(messages).detach(), dtype=np.float32)

    return fits(loaded.model), embed if loaded.model.dual is not None else None


def _trainable(name: str, words: bool) -> Assistant:
    from sensorium.model.generate import Assistant
    from sensorium.model.load import load

    loaded = load(name, words=words)
    if not isinstance(loaded, Assistant):
        raise RequestError(name, "is a foreign model, whose rows are laid out elsewhere", "Use nano, or a folder of ours")
    return loaded
