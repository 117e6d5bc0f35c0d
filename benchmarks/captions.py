"""Captions of Flickr8k photos: CIDEr-D and BLEU-4 as pycocoevalcap computes them (Java is needed), beside swapped photos."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from recipes.nano_course import CAPTION
from recipes.nano_data import Photo
from sensorium.estimate import Estimate, estimate
from sensorium.model.generate import Assistant
from sensorium.parts import Image, Message, Text
from sensorium.protocols import Sampling

SAMPLING = Sampling(max_tokens=24, beams=3, length_penalty=0.7)


def measure(model: Assistant, photos: Sequence[Photo], sampling: Sampling = SAMPLING) -> tuple[dict[str, Estimate], list[str]]:
    """Scores by name, and the captions."""
    said: list[str] = []
    for start in range(0, len(photos), 25):
        asked = [[Message("user", (Image(photo.path), Text(CAPTION)))] for photo in photos[start : start + 25]]
        said += [answer.text for answer in model.answer(asked, sampling)]
    own, swapped = score(said, photos), score([*said[1:], said[0]], photos)
    swapped_names = {f"{name}, photos swapped": value for name, value in swapped.items()}
    return own | swapped_names, said


def score(said: Sequence[str], photos: Sequence[Photo]) -> dict[str, Estimate]:
    """CIDEr-D (1 is a hundred in papers) and BLEU-4 of one caption a photo."""
    tokenizer = PTBTokenizer()
    right = tokenizer.tokenize({i: [{"caption": text} for text in photo.captions] for i, photo in enumerate(photos)})
    given = tokenizer.tokenize({i: [{"caption": text}] for i, text in enumerate(said)})
    _, ciders = Cider().compute_score(right, given)
    scorer = BleuScorer(n=4)
    for i in range(len(said)):
        scorer += (given[i][0], right[i])
    scorer.compute_score(option="closest", verbose=0)
    counts = [[row["testlen"], _closest(row), *row["guess"], *row["correct"]] for row in scorer.ctest]
    return {"CIDEr-D": estimate(ciders), "BLEU-4": estimate(counts, _bleu)}


def _closest(row: dict[str, list[int] | int]) -> int:
    lengths, own = row["reflen"], row["testlen"]
    assert isinstance(own, int)
    return min((abs(length - own), length) for length in (lengths if isinstance(lengths, list) else [lengths]))[1]


def _bleu(rows: np.ndarray) -> float:
    """Corpus BLEU-4 from summed counts: own length, reference length, four guesses, four matches."""
    own, other, *counts = rows.sum(0)
    precisions = (np.array(counts[4:]) + 1e-15) / (np.array(counts[:4]) + 1e-9)
    return float(np.exp(np.log(precisions).mean() + min(0.0, 1 - other / own)))
