"""Options that several verbs share, each said once."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sensorium.protocols import Sampling


class Quantize(StrEnum):
    """Forms of the language model's weights."""

    INT8 = "int8"
    INT4 = "int4"


class Missing(StrEnum):
    """What is done with a medium that cannot be read."""

    REFUSE = "refuse"
    SAY = "say"


Model = Annotated[
    str, typer.Option("--model", "-m", metavar="NAME|FOLDER", help="nano, or a checkpoint folder: ours or a transformers one.")
]
Weights = Annotated[
    Quantize | None, typer.Option("--quantize", help="Pack the language model's weights: faster, slightly less exact.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line, in input order.")]
Batch = Annotated[
    Path | None,
    typer.Option("--batch", metavar="FILE.jsonl", help='Rows {"id", "media": [...], "question"}; answers carry the same ids.'),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE.jsonl", help="Append answers here; rows already there are skipped."),
]
Urls = Annotated[
    list[str] | None, typer.Option("--allow-url", metavar="HOST", help="Hosts whose URLs may be fetched; none by default.")
]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Rows answered together.")]
MaxTokens = Annotated[
    int | None, typer.Option("--max-tokens", min=1, help="Tokens of an answer at most; the model's own by default.")
]
Temperature = Annotated[float, typer.Option("--temperature", min=0.0, help="0 is greedy.")]
TopP = Annotated[
    float, typer.Option("--top-p", min=0.0, max=1.0, help="Draw from the likeliest tokens that hold this probability.")
]
Beams = Annotated[int | None, typer.Option("--beams", min=1, help="Beam search; 1 is off.")]
LengthPenalty = Annotated[
    float | None, typer.Option("--length-penalty", help="Of beam search: a score is divided by length to this power.")
]
Absent = Annotated[
    Missing, typer.Option("--missing", help="A medium that cannot be read: refuse, or answer without it and say so.")
]
Seed = Annotated[int | None, typer.Option("--seed", help="Of the draw.")]
Choices = Annotated[
    list[str] | None, typer.Option("--choice", metavar="TEXT", help="The answer is one of these; repeat the option.")
]


def given(sampling: Sampling, **options: float | None) -> Sampling:
    """The sampling with those options that were given on the command line."""
    return replace(sampling, **{name: value for name, value in options.items() if value is not None})  # type: ignore[arg-type]
