"""Vectors of a text's tokens from a local text encoder, nano's MiniLM, for `similarity.greedy_match`."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sensorium.encoders.text import BertEncoder
from sensorium.evaluation.metrics.similarity import Match, Tokens, best_match


@torch.no_grad()
def token_vectors(encoder: BertEncoder, texts: Sequence[str], batch: int = 32) -> list[Tokens]:
    """The last hidden states of each text's tokens without the special ones; long texts are read in windows."""
    pieces = [(row, piece.tensor) for row, text in enumerate(texts) for piece in encoder.prepare(text)]
    windows = [(row, ids_T) for row, ids_T in pieces if ids_T is not None]
    ids: list[list[int]] = [[] for _ in texts]
    states: list[list[torch.Tensor]] = [[] for _ in texts]
    special = _special(encoder)
    for start in range(0, len(windows), batch):
        some = windows[start : start + batch]
        x_BTD = encoder([ids_T for _, ids_T in some]).x_BTD
        for (row, ids_T), x_TD in zip(some, x_BTD, strict=True):
            kept = [place for place, token in enumerate(ids_T.tolist()) if token not in special]
            ids[row] += ids_T[kept].tolist()
            states[row].append(x_TD[kept])
    return [Tokens(own, torch.cat(x).double().numpy()) for own, x in zip(ids, states, strict=True)]


def token_match(encoder: BertEncoder, said: Sequence[str], references: Sequence[Sequence[str]]) -> list[Match]:
    """`MiniLM token match`: BERTScore's formula with this encoder's last layer, unweighted and not rescaled.

    Raises:
        RequestError: a text without reference.
    """
    different = list(dict.fromkeys([*said, *(text for own in references for text in own)]))
    tokens = dict(zip(different, token_vectors(encoder, different), strict=True))
    return [best_match(tokens[text], [tokens[one] for one in own]) for text, own in zip(said, references, strict=True)]


def _special(encoder: BertEncoder) -> frozenset[int]:
    """The ids that frame every text."""
    return frozenset(encoder.tokenizer.encode("").ids)
