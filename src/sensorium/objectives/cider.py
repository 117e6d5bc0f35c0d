"""CIDEr-D: how well a caption agrees with people's (Vedantam et al. 2015, arXiv:1411.5726), as pycocoevalcap counts it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

Grams = tuple[Counter[tuple[str, ...]], ...]
"""Counts of a caption's n-grams, by n."""

_ORDERS, _SIGMA, _SCALE = 4, 6.0, 10.0


def words(text: str) -> list[str]:
    """Lower-case words as the Penn treebank cuts them, and "." for a full stop at the end.

    The stop counts as a word: a caption that breaks off then loses against one that ends.
    """
    found = re.findall(r"'s|n't|[a-z]+(?=n't)|[a-z0-9]+(?:-[a-z0-9]+)*", text.lower())
    return [*found, "."] if text.rstrip().endswith(".") else found


class CiderD:
    """Scores captions against references; the rarer an n-gram among the photos, the more it counts.

    Args:
        references: of every photo, its captions in words; rarity is counted over them.
    """

    def __init__(self, references: Sequence[Sequence[Sequence[str]]]) -> None:
        counted = [[_grams(caption) for caption in captions] for captions in references]
        self.frequency = Counter(gram for rows in counted for gram in {gram for grams in rows for n in grams for gram in n})
        self.log_photos = math.log(len(references))
        self.references = [[self._vectors(grams) for grams in rows] for rows in counted]

    def __call__(self, photo: int, caption: Sequence[str]) -> float:
        """The score of a caption in words for photo number `photo`; 0 to 10, where people reach about 0.8."""
        own, norms, length = self._vectors(_grams(caption))
        total = 0.0
        for other, other_norms, other_length in self.references[photo]:
            penalty = math.exp(-((length - other_length) ** 2) / (2 * _SIGMA**2))
            for mine, theirs, norm, other_norm in zip(own, other, norms, other_norms, strict=True):
                if norm and other_norm:
                    shared = sum(min(value, theirs[gram]) * theirs[gram] for gram, value in mine.items() if gram in theirs)
                    total += shared / (norm * other_norm) * penalty
        return _SCALE * total / (_ORDERS * len(self.references[photo]))

    def _vectors(self, grams: Grams) -> tuple[list[dict[tuple[str, ...], float]], list[float], int]:
        """For each n the weighted n-grams and their norm; and the length, in pairs of words as the reference code has it."""
        weighted = [
            {gram: count * (self.log_photos - math.log(max(1.0, self.frequency[gram]))) for gram, count in n.items()}
            for n in grams
        ]
        return weighted, [math.sqrt(sum(value**2 for value in n.values())) for n in weighted], sum(grams[1].values())


def _grams(caption: Sequence[str]) -> Grams:
    return tuple(
        Counter(tuple(caption[start : start + n]) for start in range(len(caption) - n + 1)) for n in range(1, _ORDERS + 1)
    )
