"""One row of training data in the terminal, as the model sees it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import typer

from sensorium.parts import Use, sample_to_json, usage_to_json

if TYPE_CHECKING:
    from sensorium.data.row import Row
    from sensorium.data.view import Span

_STYLES = {"template": "dim", "words": "", "read": "yellow", "image": "cyan", "audio": "cyan", "video": "cyan"}
_LEARNED = "bold black on green"


def show_row(row: Row, shown: Sequence[Span], uses: Sequence[Use], as_json: bool) -> None:
    """Every span in order; learned ones highlighted, or between double brackets where the output is not a terminal."""
    from sensorium.data.view import counts

    total = counts(shown)
    share = total["learned"] / max(1, total["all"])
    if as_json:
        from sensorium.parts import Usage

        media = usage_to_json(Usage(total["all"], 0, tuple(uses)))["media"]
        said = {"file": row.file, "row": row.row, "id": row.sample.id, "positions": total, "learned_share": round(share, 4)}
        meta = sample_to_json(row.sample).get("meta", {})
        typer.echo(
            json.dumps(said | {"spans": [span.to_json() for span in shown], "media": media, "meta": meta}, ensure_ascii=False)
        )
        return
    typer.echo(f"{row.file}, row {row.row}, id {row.sample.id}")
    _print(shown)
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in total.items() if kind not in ("all", "learned"))
    typer.echo(f"{total['all']:,} positions: {kinds}; {total['learned']:,} learned ({share:.1%})")
    for use in uses:
        facts = [f"{use.tokens} positions", *use.notes]
        typer.echo(f"{use.kind} {use.name}: {', '.join(facts)}")
    for key, value in row.sample.meta.items():
        typer.echo(f"{key}: {json.dumps(value, ensure_ascii=False)}")


def _print(shown: Sequence[Span]) -> None:
    if not sys.stdout.isatty():
        stretches = (
            (learn, "".join(span.text for span in part)) for learn, part in groupby(shown, key=lambda span: span.learn)
        )
        typer.echo("".join(f"[[{text}]]" if learn else text for learn, text in stretches))
        return
    from rich.console import Console
    from rich.text import Text

    text = Text()
    for span in shown:
        text.append(span.text, style=_LEARNED if span.learn else _STYLES[span.kind])
    text.append("\n")
    for name, style in (
        ("template", "dim"),
        ("words", ""),
        ("read in media", "yellow"),
        ("media", "cyan"),
        ("learned", _LEARNED),
    ):
        text.append(name, style=style)
        text.append("  ")
    Console(highlight=False).print(text)
