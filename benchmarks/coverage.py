"""Whether 95 % intervals are honest: how often they hold a truth that is known.

    python -m benchmarks.coverage [--experiments 2000] [--only accuracy] [--percentile]

Each kind of score has a population of 20,000 items made by chance, so its true value is that of the whole population. An
experiment draws a few items from it, or a few clusters, and asks `estimate` for the interval. The share of experiments whose
interval holds the truth should be 95 %, here between 93 and 97 %. The median of small whole numbers is listed apart: many of
them are equal to the true median, an interval that ends among those holds it too, and so no end could be right for 95 %; what
bounds of that kind hold at most is reckoned beside it. `--percentile` puts the plain percentile bootstrap (Efron 1979) beside
all, which costs as much again.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sensorium.estimate import Rows, estimate, mean
from sensorium.evaluation.metrics import confidence, ngram, objects, ranking, speech

SIZE, ROUNDS = 20000, 1000
LOW, HIGH = 0.93, 0.97
TIED = "median of small ranks, 60 queries"
Chance = np.random.Generator


class Kind(NamedTuple):
    """A population: its items, their clusters' numbers where they have some, and how many items or clusters are drawn."""

    rows: Rows
    drawn: int
    measure: Callable[[Rows], float] = mean
    clusters: NDArray[np.int64] | None = None


def kinds(chance: Chance) -> dict[str, Kind]:
    """By the name under which the share is printed."""
    right = chance.random(SIZE)
    easy, hard = (right < 0.85).astype(float), (right < 0.6).astype(float)
    pictures = np.repeat(np.arange(SIZE), chance.integers(1, 9, SIZE))[:SIZE]
    skill = chance.beta(2, 1, SIZE)[pictures]
    shared = (chance.random(SIZE) < skill).astype(float)
    better = (chance.random(SIZE) < np.clip(skill + 0.05, 0, 1)).astype(float) - shared
    said = chance.poisson(12, SIZE) + 1
    words = np.stack([chance.binomial(said, chance.beta(0.5, 4, SIZE)), said], 1).astype(float)
    ranks = np.floor(chance.lognormal(1.2, 1.2, SIZE)) + 1
    sure = chance.beta(3, 2, SIZE)
    known = np.stack([sure, (chance.random(SIZE) < sure).astype(float)], 1)
    named = chance.poisson(3, SIZE)
    absent = np.stack([named, chance.binomial(named, 0.15)], 1).astype(float)
    sentences = _sentences(chance, 4000)
    far = np.floor(chance.lognormal(4, 1.2, SIZE)) + 1
    shift = chance.normal(0, 0.9, SIZE)[pictures]
    alike = np.floor(np.exp(4 + shift + chance.normal(0, 0.8, SIZE))) + 1
    return {
        "accuracy, 20 items": Kind(hard, 20),
        "accuracy, 40 items": Kind(easy, 40),
        "accuracy, 300 items": Kind(easy, 300),
        "clustered accuracy, 12 pictures": Kind(shared, 12, clusters=pictures),
        "clustered accuracy, 60 pictures": Kind(shared, 60, clusters=pictures),
        "paired difference, 60 items": Kind(better, 60),
        "clustered paired difference, 15 pictures": Kind(better, 15, clusters=pictures),
        "clustered paired difference, 60 pictures": Kind(better, 60, clusters=pictures),
        "mean of a skewed score, 40 items": Kind(chance.gamma(1.0, 0.6, SIZE), 40),
        "mean of a score, 10 items": Kind(chance.beta(2, 3, SIZE), 10),
        "BLEU-4, 60 captions": Kind(sentences, 60, ngram.bleu(4)),
        "BLEU-4, 300 captions": Kind(sentences, 300, ngram.bleu(4)),
        "word error rate, 40 recordings": Kind(words, 40, speech.error_rate),
        "R@5, 100 queries": Kind((ranks <= 5).astype(float), 100),
        "mean reciprocal rank, 50 queries": Kind(1 / ranks, 50),
        "median rank, 60 queries": Kind(far, 60, ranking.median_rank),
        "AUROC of confidence, 80 answers": Kind(known, 80, confidence.auroc),
        "Brier score, 80 answers": Kind(known, 80, confidence.brier),
        "risk-coverage area, 80 answers": Kind(known, 80, confidence.aurc),
        "CHAIR-i, 60 captions": Kind(absent, 60, objects.chair_i),
        "clustered median rank, 15 pictures": Kind(alike, 15, ranking.median_rank, pictures),
        TIED: Kind(ranks, 60, ranking.median_rank),
    }


def _sentences(chance: Chance, count: int) -> Rows:
    """BLEU's counts of captions that copy their references more or less well."""
    words = [f"w{number}" for number in range(400)]
    odds = 1 / np.arange(1, 401)
    said, references = [], []
    for _ in range(count):
        base = chance.choice(400, chance.integers(6, 14), p=odds / odds.sum())
        skill = chance.beta(4, 1.5)
        copies = [
            np.where(chance.random(len(base)) < keep, base, chance.integers(0, 400, len(base))) for keep in (0.9, 0.9, skill)
        ]
        copies[2] = copies[2][: chance.integers(4, len(base) + 1)]
        texts = [[words[number] for number in copy] for copy in copies]
        said.append(texts[2])
        references.append(texts[:2])
    return ngram.bleu_rows(said, references)


def covered(kind: Kind, experiments: int, seed: int) -> list[bool]:
    """Whether each experiment's interval holds the truth."""
    truth = kind.measure(kind.rows)
    found = (
        estimate(rows, kind.measure, clusters=None if clusters is None else clusters.tolist(), rounds=ROUNDS, seed=number)
        for number, (rows, clusters) in enumerate(_experiments(kind, experiments, seed))
    )
    return [one.low - 1e-12 <= truth <= one.high + 1e-12 for one in found]


def covered_by_percentile(kind: Kind, experiments: int, seed: int) -> list[bool]:
    """The same of the plain percentile bootstrap, in the same experiments."""
    truth, held = kind.measure(kind.rows), []
    for number, (rows, clusters) in enumerate(_experiments(kind, experiments, seed)):
        chance, drawn = np.random.default_rng(number), []
        groups = None if clusters is None else _places(clusters)
        for _ in range(ROUNDS):
            if groups is None:
                picked = chance.integers(0, len(rows), len(rows))
            else:
                picked = np.concatenate([groups[index] for index in chance.integers(0, len(groups), len(groups))])
            drawn.append(kind.measure(rows[picked]))
        low, high = np.nanquantile(drawn, [0.025, 0.975])
        held.append(bool(low - 1e-12 <= truth <= high + 1e-12))
    return held


def _experiments(kind: Kind, count: int, seed: int) -> Iterator[tuple[Rows, NDArray[np.int64] | None]]:
    """Items drawn from the population, with their clusters' numbers."""
    chance = np.random.default_rng(seed)
    groups = None if kind.clusters is None else _places(kind.clusters)
    for _ in range(count):
        if groups is None:
            yield kind.rows[chance.integers(0, len(kind.rows), kind.drawn)], None
        else:
            chosen = [groups[index] for index in chance.integers(0, len(groups), kind.drawn)]
            yield kind.rows[np.concatenate(chosen)], np.repeat(np.arange(len(chosen)), [len(group) for group in chosen])


def tied(kind: Kind) -> float:
    """How often the k-th items from both ends hold the median, were k chosen for 95 % of ranks without ties, with these ties.

    The lower one lies above the truth only where fewer than k items are at most it, the upper one below only where fewer are at
    least it.
    """
    truth, count = kind.measure(kind.rows), kind.drawn

    def fewer(end: int, share: float) -> float:
        return sum(math.comb(count, some) * share**some * (1 - share) ** (count - some) for some in range(end))

    end = max(end for end in range(1, count // 2) if 1 - 2 * fewer(end, 0.5) >= 0.95)
    return 1 - sum(fewer(end, float(side.mean())) for side in (kind.rows <= truth, kind.rows >= truth))


def _places(clusters: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    edges = np.flatnonzero(np.diff(clusters)) + 1
    return np.split(np.arange(len(clusters)), edges)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", default=[], help="a kind, by a part of its name")
    parser.add_argument("--percentile", action="store_true", help="the plain percentile bootstrap beside it")
    parser.add_argument("--out", type=Path, default=Path("build/scores/coverage.json"))
    args = parser.parse_args()
    table = kinds(np.random.default_rng(args.seed))
    wanted = [pair for pair in enumerate(table) if not args.only or any(part in pair[1] for part in args.only)]
    found: dict[str, dict[str, object]] = {}
    print("share of 95 % intervals that hold the truth", flush=True)
    for number, name in wanted:
        share = estimate(np.array(covered(table[name], args.experiments, args.seed + number), float))
        fair = LOW <= share.value <= HIGH
        found[name] = {"held": share._asdict(), "fair": fair}
        beside = f"ties alone: {tied(table[name]):.3f}" if name == TIED else ""
        if args.percentile:
            plain = estimate(np.array(covered_by_percentile(table[name], args.experiments, args.seed + number), float))
            found[name]["percentile"] = plain._asdict()
            beside += f"percentile {plain}"
        print(f"{name:42} {share!s:30} {'' if fair or name == TIED else 'OUT'} {beside}", flush=True)
    judged = [bool(row["fair"]) for name, row in found.items() if name != TIED]
    print(f"{sum(judged)} of {len(judged)} between {LOW:.0%} and {HIGH:.0%}")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(found, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
