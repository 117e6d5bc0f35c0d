"""A number with how many items it rests on and its 95 % interval: no score stands without them."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from fractions import Fraction
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]

_NORMAL = NormalDist()
_Z = _NORMAL.inv_cdf(0.975)
_LEVEL = 0.95
_LEAVE_OUT, _STEP, _FEW, _WIDEST, _COARSE = 100, 50, 30, 1.25, 20


class Estimate(NamedTuple):
    """`value` and the interval from `low` to `high`, over `n` items."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] n={self.n}"


class NotMeasured(NamedTuple):
    """Stands where an `Estimate` would, and says why there is none."""

    reason: str

    def __str__(self) -> str:
        return f"not measured: {self.reason}"


def mean(rows: Rows) -> float:
    """The plain average; nan of nothing."""
    return float(np.mean(rows)) if len(rows) else math.nan


def median(rows: Rows) -> float:
    """The middle one; nan of nothing."""
    return float(np.median(rows)) if len(rows) else math.nan


def estimate(
    items: Sequence[float] | NDArray[Any],
    measure: Callable[[Rows], float] = mean,
    *,
    clusters: Sequence[Hashable] | None = None,
    rounds: int = 1000,
    seed: int = 0,
) -> Estimate:
    """`measure` of the items, whose first axis counts them, with its 95 % interval.

    The interval is a bootstrap's: BCa (Efron 1987), since skewed scores have lopsided intervals, with the quantiles moved
    outwards as Student's t asks for the number of clusters (Hesterberg 2015, arXiv:1411.5279) and as far as leaving clusters
    out one by one shows a wider spread than drawing does. Of few clusters the shape of the draws is mostly noise: that interval
    counts in the share n / (n + 30), and Student's, of the same spread, in the rest. The plain percentile interval is too
    narrow for few items or clusters; `benchmarks/coverage.py` counts how often each holds the truth. The mean of scores that
    are all 0 or 1 gets Wilson's interval (1927), which does not shrink to a point when all are right; with clusters it is of
    the effective number of items of Korn and Graubard (1998). A `median` lies between two of the items, counted from both ends
    (see `_middle`): of the bootstrap's draws, which can only be items, too many intervals would be too wide.

    Scores other than 0 and 1 that are all alike still give a point, for nothing in them says how others may differ. One cluster
    alone gives an interval without bounds. Draws for which `measure` is nan (no item of one class, say) are left out.

    Args:
        clusters: for each item what it belongs to, such as its picture; items of one cluster are drawn together, since their
            scores depend on one another.
    """
    rows = np.asarray(items, dtype=np.float64)
    groups = _groups(clusters, len(rows))
    value = float(measure(rows))
    if measure is mean and rows.ndim == 1 and len(rows) and np.isin(rows, (0.0, 1.0)).all():
        return Estimate(value, *_wilson(rows, groups), len(rows))
    if math.isnan(value):
        return Estimate(value, value, value, len(rows))
    if len(groups) == 1:
        return Estimate(value, -math.inf, math.inf, len(rows))
    if measure is median and rows.ndim == 1:
        return Estimate(value, *_middle(rows, groups), len(rows))
    drawn = _draws(rows, groups, measure, rounds, np.random.default_rng(seed))
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return Estimate(value, -math.inf, math.inf, len(rows))
    return Estimate(value, *_ends(drawn, value, _without(rows, groups, measure), len(groups)), len(rows))


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> float:
    """The two-sided p of McNemar's exact test: how odd so uneven a split of the items where the two differ would be."""
    better = sum(one and not other for one, other in zip(first, second, strict=True))
    worse = sum(other and not one for one, other in zip(first, second, strict=True))
    total, least = better + worse, min(better, worse)
    tail = sum(math.comb(total, count) for count in range(least + 1))
    return min(1.0, float(Fraction(2 * tail, 2**total)))


def _groups(clusters: Sequence[Hashable] | None, count: int) -> list[NDArray[np.int64]]:
    """The places of each cluster's items; without clusters each item is its own."""
    if clusters is None:
        return list(np.arange(count)[:, None])
    assert len(clusters) == count, "every item belongs to a cluster"
    places: dict[Hashable, list[int]] = {}
    for place, name in enumerate(clusters):
        places.setdefault(name, []).append(place)
    return [np.array(group) for group in places.values()]


def _draws(
    rows: Rows, groups: Sequence[NDArray[np.int64]], measure: Callable[[Rows], float], rounds: int, chance: np.random.Generator
) -> Rows:
    """The measure of as many clusters as there are, drawn with replacement, so many times."""
    count, alone = len(groups), len(groups) == len(rows)
    if measure is mean and rows.ndim == 1:  # each cluster's sum and size are enough, and many draws fit one step
        sums = np.array([rows[group].sum() for group in groups])
        sizes = np.array([len(group) for group in groups])
        picks = [chance.integers(0, count, (min(_STEP, rounds - start), count)) for start in range(0, rounds, _STEP)]
        return np.concatenate([sums[picked].sum(1) / sizes[picked].sum(1) for picked in picks])
    drawn = np.empty(rounds)
    for turn in range(rounds):
        picked = chance.integers(0, count, count)
        drawn[turn] = measure(rows[picked if alone else np.concatenate([groups[index] for index in picked])])
    return drawn


def _wilson(rows: Rows, groups: Sequence[NDArray[np.int64]]) -> tuple[float, float]:
    right = float(rows.mean())
    if len(groups) == 1 < len(rows):
        return 0.0, 1.0
    size = _effective(rows, groups)
    middle = (right + _Z**2 / (2 * size)) / (1 + _Z**2 / size)
    half = _Z / (1 + _Z**2 / size) * math.sqrt(right * (1 - right) / size + _Z**2 / (4 * size**2))
    return max(0.0, min(middle - half, right)), min(1.0, max(middle + half, right))


def _effective(rows: Rows, groups: Sequence[NDArray[np.int64]]) -> float:
    """As how many items without clusters these count for their mean (Korn and Graubard 1998), two clusters at least."""
    count, middle = len(rows), float(rows.mean())
    if len(groups) == count:
        return float(count)
    sums = np.array([rows[group].sum() - middle * len(group) for group in groups])
    variance = float((sums**2).sum()) / count**2 * len(groups) / (len(groups) - 1)
    plain = float(((rows - middle) ** 2).mean()) / count
    kept = min(count, count * plain / variance) if variance else float(len(groups))
    return kept * (_Z / _student(len(groups) - 1)) ** 2


def _middle(rows: Rows, groups: Sequence[NDArray[np.int64]]) -> tuple[float, float]:
    """Where the median is: how many of n items lie below it is a coin thrown n times, so the k-th items from both ends bound it
    with a known chance, and between those of two k Hettmansperger and Sheather (1986) interpolate to 95 %. With clusters n is
    the effective number of items for the share below the median (Woodruff 1952). Without bounds where the outermost items
    would not do: of fewer than six.
    """
    ordered = np.sort(rows)
    size = math.floor(_effective((rows > np.median(rows)) + (rows == np.median(rows)) / 2, groups) + 1e-9)
    tails = np.cumsum([math.comb(size, below) / 2**size for below in range(size // 2 + 1)])
    fit = [end for end, tail in enumerate(tails, 1) if 1 - 2 * tail >= _LEVEL]
    if not fit:
        return -math.inf, math.inf
    end = fit[-1]
    sure, less = 1 - 2 * tails[end - 1], 1 - 2 * tails[end]
    part = (sure - _LEVEL) / (sure - less)
    place = (end + (size - end) * part / (end + (size - 2 * end) * part)) * (len(rows) + 1) / (size + 1)
    outer = math.floor(place)
    inside = place - outer

    def at(outer: float, inner: float) -> float:
        return float(outer + inside * (inner - outer)) if math.isfinite(inner) and math.isfinite(outer) else float(outer)

    return at(ordered[outer - 1], ordered[outer]), at(ordered[-outer], ordered[-outer - 1])


def _without(rows: Rows, groups: Sequence[NDArray[np.int64]], measure: Callable[[Rows], float]) -> Rows:
    """The measure when each cluster is left out in turn, or each of a hundred bunches of clusters where there are more."""
    bunches = np.array_split(np.arange(len(groups)), min(len(groups), _LEAVE_OUT))
    keep = np.ones(len(rows), dtype=bool)
    values = []
    for bunch in bunches:
        places = np.concatenate([groups[index] for index in bunch])
        keep[places] = False
        values.append(measure(rows[keep]))
        keep[places] = True
    return np.array(values)


def _ends(drawn: Rows, value: float, without: Rows, groups: int) -> tuple[float, float]:
    """The mean of the BCa interval and Student's, the first counting the more the more clusters there are."""
    below = (float((drawn < value).mean()) + float((drawn <= value).mean())) / 2
    bias = _NORMAL.inv_cdf(min(max(below, 0.5 / len(drawn)), 1 - 0.5 / len(drawn)))
    off = np.nanmean(without) - without[~np.isnan(without)]
    spread, drawn_spread = math.sqrt(float((off**2).sum())), float(drawn.std())
    skew = float((off**3).sum()) / (6 * spread**3) if spread else 0.0
    wider = math.sqrt(groups / (groups - 1))
    if drawn_spread and groups == len(off):
        wider = min(max(wider, spread * math.sqrt((groups - 1) / groups) / drawn_spread), _WIDEST)
    wide = _student(groups - 1) * wider
    if len(np.unique(drawn)) <= _COARSE:  # few and coarse: only a value that can be drawn bounds it
        low, high = np.quantile(drawn, [_NORMAL.cdf(-wide), _NORMAL.cdf(wide)])
        return float(low), float(high)
    trust = groups / (groups + _FEW)

    def end(edge: float) -> float:
        level = _NORMAL.cdf(bias + (bias + edge) / max(1 - skew * (bias + edge), 0.1))
        both = trust * float(np.quantile(drawn, level)) + (1 - trust) * (value + edge * drawn_spread)
        return min(max(both, float(drawn.min())), float(drawn.max()))

    return end(-wide), end(wide)


def _student(freedom: int) -> float:
    """The 97.5 % point of Student's t: exact for 1 and 2 degrees of freedom, else by Abramowitz and Stegun's 26.7.5."""
    if freedom <= 2:
        return math.tan(0.475 * math.pi) if freedom == 1 else 0.95 / math.sqrt(2 * 0.975 * 0.025)
    z = _Z
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / float(freedom) ** power for power, term in enumerate(terms, 1))
