"""`sensorium rate`: people judge two runs' answers blind on a small local page; and what their votes say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sensorium.cli.answers import waiting
from sensorium.errors import RequestError

if TYPE_CHECKING:
    from sensorium.evaluation.preference import Preference


def run(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="A B", help="Two folders that `sensorium evaluate` wrote.")
    ] = None,
    votes: Annotated[
        Path, typer.Option("--votes", metavar="FILE", help="Where votes are kept; those in it count as given.")
    ] = Path("votes.jsonl"),
    results: Annotated[
        Path | None, typer.Option("--results", metavar="FILE", help="Say what the votes in a file mean, and stop.")
    ] = None,
    tasks: Annotated[str, typer.Option("--tasks", metavar="A,B", help="Which; all that both have by default.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=0, help="Pairs at most, drawn by chance; 0 is all.")] = 0,
    data: Annotated[
        list[Path] | None, typer.Option("--data", metavar="FOLDER", help="Where the pictures and recordings lie.")
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Of the page, on this machine only.")] = 8017,
    seed: Annotated[int, typer.Option("--seed", help="Of the order, the sides and the intervals.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="With --results: JSON.")] = False,
) -> None:
    """Let people choose between two runs' answers without knowing whose they are; or sum up their votes."""
    if results is not None:
        if runs:
            raise RequestError("--results", "is given beside run folders", "Give either the folders or --results FILE")
        _sum_up(results, seed, as_json)
        return
    if not runs or len(runs) != 2:
        raise RequestError("sensorium rate", f"is given {len(runs or ())} run folders, and needs 2", "Name two, A and B")
    from sensorium.apps.rating.ballot import Ballot
    from sensorium.apps.rating.server import HOST, open_server

    chosen = tuple(name.strip() for name in tasks.split(",") if name.strip())
    with waiting("reading answers"):
        ballot = Ballot(runs[0], runs[1], votes, chosen, limit, seed, tuple(data or ()))
    with open_server(ballot, port) as server:
        same = f"; {ballot.same} items with the same words from both are left out" if ballot.same else ""
        typer.echo(f"{len(ballot.duels)} pairs{same}\nopen http://{HOST}:{server.server_address[1]}/ and stop with Ctrl-C")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo(f"\nvotes are in {votes}; sum them up with: sensorium rate --results {votes}")


def _sum_up(path: Path, seed: int, as_json: bool) -> None:
    from sensorium.evaluation.preference import prefer
    from sensorium.evaluation.votes import read_votes

    with waiting("drawing intervals"):
        found = prefer(read_votes(path), seed=seed)
    typer.echo(json.dumps(found.to_json(), ensure_ascii=False) if as_json else _table(found))


def _table(found: Preference) -> str:
    raters = len(found.raters)
    lines = [f"{found.votes} votes by {raters} rater{'s' * (raters != 1)}, {found.ties} of them ties; {found.skipped} skipped"]
    lines.append("strength (Bradley-Terry, log; a tie is half a win; half a win either way added to each pair of models):")
    lines += [f"  {name}: {value}" for name, value in found.strengths.items()]
    lines.append("preferred:")
    lines += [f"  {one} to {other}: {value}" for (one, other), value in found.wins.items()]
    if found.left is not None:
        lines.append(f"left side among decided votes: {found.left} (far from 0.5, the place has decided)")
    agreed = "not measured: no pair was judged twice" if found.agreement is None else f"{found.agreement} pairs"
    lines.append(f"agreement of raters (Krippendorff's alpha): {agreed}")
    return "\n".join(lines)
