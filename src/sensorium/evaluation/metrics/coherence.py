"""Whether media and words belong together: alignment in a shared space, order of stories, and captions in time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from sensorium.errors import RequestError
from sensorium.evaluation.metrics.similarity import cosine
from sensorium.parts import Message
from sensorium.protocols import Embeds

Span = tuple[float, float]
"""Start and end in seconds."""


def alignment(model: Embeds, media: Sequence[Message], texts: Sequence[Message]) -> list[float]:
    """Of each pair the cosine in the model's shared space, -1..1. It means something only beside that of the same texts with
    other media (`exchanged`), since every space has its own level.

    Raises:
        RequestError: not equally many.
    """
    if len(media) != len(texts):
        raise RequestError("alignment", f"got {len(media)} media for {len(texts)} texts", "Give pairs")
    if not media:
        return []
    return [float(value) for value in cosine(model.embed(media).cpu().numpy(), model.embed(texts).cpu().numpy())]


def exchanged(pairs: int) -> list[int]:
    """For each of so many pairs the number of another: half the list on, so that neighbours, often alike, do not meet."""
    return [(place + max(pairs // 2, 1)) % pairs for place in range(pairs)]


def kendall_tau(told: Sequence[str], right: Sequence[str]) -> float:
    """How far two orders of the same things agree: pairs in the same order less those in the other, over all; -1..1
    (Kendall 1938; Lapata 2006 for stories). Of fewer than two things every order is right: 1.

    Raises:
        RequestError: the two do not hold the same things, each once.
    """
    return 2 * order_accuracy(told, right) - 1


def order_accuracy(told: Sequence[str], right: Sequence[str]) -> float:
    """The share of pairs told in the right order, 0..1; chance has 0.5.

    Raises:
        RequestError: the two do not hold the same things, each once.
    """
    if len(set(right)) < len(right) or sorted(told) != sorted(right):
        problem = f"has {len(told)} things, not the {len(right)} different ones of the right order"
        raise RequestError("order", problem, "Give each of them once")
    where = {name: place for place, name in enumerate(told)}
    pairs = [where[first] < where[second] for first, second in combinations(right, 2)]
    return sum(pairs) / len(pairs) if pairs else 1.0


def span_overlap(one: Span, other: Span) -> float:
    """Intersection over union of two stretches of time, 0..1; a stretch without length overlaps nothing."""
    shared = min(one[1], other[1]) - max(one[0], other[0])
    return shared / (max(one[1], other[1]) - min(one[0], other[0])) if shared > 0 else 0.0


def moment_hit(found: Span | None, right: Span, threshold: float = 0.5) -> float:
    """R@1 at an overlap (Gao et al. 2017, arXiv:1705.02101): 1 when it is at least the threshold; no span is a miss."""
    return float(found is not None and span_overlap(found, right) >= threshold)


def moment_recall(ranked: Sequence[Span], right: Span, depth: int, threshold: float = 0.5) -> float:
    """R@n: 1 when any of the first `depth` spans hits."""
    return max((moment_hit(span, right, threshold) for span in ranked[:depth]), default=0.0)


def captions_in_time(told: Sequence[Span], right: Sequence[Span], thresholds: Sequence[float] = (0.3, 0.5, 0.7, 0.9)) -> float:
    """F of the captions' spans of one clip: precision is the share of spans told that hit a right one, recall the share of the
    right ones that are hit, both averaged over the thresholds (ActivityNet Captions, Krishna et al. 2017, arXiv:1705.00754).

    1 where there is nothing to tell and nothing told.
    """
    if not told or not right:
        return float(not told and not right)
    near = np.array([[span_overlap(one, other) for other in right] for one in told])
    edges = np.asarray(thresholds)[:, None]
    precision = float((near.max(1) >= edges).mean())
    recall = float((near.max(0) >= edges).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
