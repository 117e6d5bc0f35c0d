"""A comparison of two runs as Markdown and as one self-contained page with the items on which they differ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sensorium.estimate import Estimate
from sensorium.evaluation.comparison import Compared, Comparison, Pair, to_json
from sensorium.evaluation.report.album import Album
from sensorium.evaluation.report.markdown import escape, table
from sensorium.evaluation.report.page import render
from sensorium.evaluation.report.sample import Sample, sample_of
from sensorium.evaluation.report.view import BYTES, SAMPLES, number, said

NAMES = "compare.md", "compare.json", "compare.html"


class Shown(NamedTuple):
    """One item on which the runs differ: what B said stands in the sample's others."""

    sample: Sample
    side: str
    said_a: str
    said_b: str
    pair: Pair


def write_comparison(
    comparison: Comparison, folder: Path, roots: Sequence[Path], budget: int = BYTES, samples: int = SAMPLES
) -> tuple[Path, ...]:
    """`compare.md`, `compare.json` and `compare.html`.

    Args:
        roots: folders in which the items' media lie. budget: bytes of all media in the page. samples: items of each task.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole = json.dumps(to_json(comparison), indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    texts = (markdown(comparison), whole, page(comparison, roots, budget, samples))
    paths = tuple(folder / name for name in NAMES)
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, "utf-8")
    return paths


def names(comparison: Comparison) -> tuple[str, str]:
    """What the two are called: A and B with the models' names."""
    return f"A ({comparison.a.get('name', '')})", f"B ({comparison.b.get('name', '')})"


def probability(value: float) -> str:
    """A p-value."""
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"


def markdown(comparison: Comparison) -> str:
    """One table of all tasks, and for each task where the runs differ."""
    a, b = names(comparison)
    several = len(comparison.tasks) > 1
    head = ("task", "score", "A", "B", "A - B", "n", "p (Holm)" if several else "p", "test", "effect", "only A", "only B")
    rows = [
        (
            row.task,
            row.score,
            said(row.a),
            said(row.b),
            said(row.difference),
            str(row.difference.n),
            probability(row.p_holm),
            row.test,
            effect_said(row),
            str(row.only_a),
            str(row.only_b),
        )
        for row in comparison.tasks
    ]
    told = [f"# {escape(a)} against {escape(b)}", table(head, rows)]
    if several:
        told.append(f"p is corrected for {len(comparison.tasks)} tasks (Holm 1979).")
    notes = [*comparison.notes, *(f"{row.task}: {note}" for row in comparison.tasks for note in row.notes)]
    if notes:
        told.append("\n".join(f"- {escape(note)}" for note in notes))
    for row in comparison.tasks:
        if row.kinds:
            cells = [
                (kind.kind, said(kind.difference), str(kind.difference.n), str(kind.only_a), str(kind.only_b))
                for kind in row.kinds
            ]
            told += [f"## {escape(row.task)}", table(("kind of question", "A - B", "n", "only A", "only B"), cells)]
    return "\n\n".join(told) + "\n"


def effect_said(row: Compared) -> str:
    """The effect size with its interval and what it rests on."""
    return "none" if row.effect is None else f"{row.effect_name} {said(row.effect)} n={row.effect.n}"


def page(comparison: Comparison, roots: Sequence[Path], budget: int = BYTES, samples: int = SAMPLES) -> str:
    """The comparison as HTML."""
    album, left, shown = Album(tuple(roots), 0), budget, list[tuple[Shown, ...]]()
    for place, row in enumerate(comparison.tasks):
        share = left // (len(comparison.tasks) - place)
        album.left = share
        shown.append(tuple(_shown(pair, row, album) for pair in _both_sides(row.pairs, samples)))
        left -= share - album.left
    a, b = names(comparison)
    return render(
        "compared.jinja",
        title=f"{a} against {b}",
        a=a,
        b=b,
        comparison=comparison,
        shown=shown,
        album=album,
        span=_span([row.difference for row in comparison.tasks]),
        span_of=lambda row: _span([row.difference, *(kind.difference for kind in row.kinds)]),
        probability=probability,
        effect_said=effect_said,
        number=number,
    )


def _both_sides(pairs: Sequence[Pair], most: int) -> list[Pair]:
    """The widest apart of those that A won and of those that B won, half of each where there are enough."""
    won, lost = ([pair for pair in pairs if (pair.apart > 0) is side] for side in (True, False))
    few = min(len(won), max(most // 2, most - len(lost)))
    return [*won[:few], *lost[: most - few]]


def _shown(pair: Pair, row: Compared, album: Album) -> Shown:
    own = sample_of(pair.a, row.score, album, {}, "scored")
    other = pair.b.reply
    theirs = "\n".join(other.ranking[:10]) if other.ranking else other.text
    return Shown(own, "only A" if pair.apart > 0 else "only B", own.answer, theirs[:2000], pair)


def _span(values: Sequence[Estimate]) -> tuple[float, float]:
    """An axis with 0 in the middle."""
    ends = [abs(end) for value in values for end in value[:3] if abs(end) < float("inf")]
    widest = max([*ends, 0.05])
    step = next(step for step in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 50.0, 100.0, widest) if step >= widest)
    return -step, step
