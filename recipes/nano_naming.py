"""The first lesson of a connector: to name the words that belong to a medium, in the language model's own embeddings."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from recipes.nano_model import trainable
from sensorium.batch import Features
from sensorium.objectives.loss import Loss
from sensorium.objectives.naming import Naming
from sensorium.training.feed import Thunk
from sensorium.training.loop import train
from sensorium.training.optimizer import Group
from sensorium.training.schedule import Plan

RATE, BATCH, LEAST, MOST = 1e-3, 64, 8, 0.42
Show = Callable[[int, random.Random], Tensor]
"""One view `(T, D)` of medium i."""


def run(
    connector: nn.Module,
    embeddings_VD: Tensor,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    show: Show,
    epochs: int,
    state: Path | None,
    say: Callable[[str], None],
) -> None:
    """Train a connector on media by number.

    Args:
        texts: of each medium, all that is said about it; words rarer than `LEAST` or in over `MOST` of them are not learned.
    """
    said = [set(tokenizer.encode(" " + text.lower(), add_special_tokens=False).ids) for text in texts]
    counts = Counter(token for tokens in said for token in tokens)
    words = sorted(token for token, count in counts.items() if LEAST <= count <= MOST * len(texts))
    naming = Naming(embeddings_VD, words, [counts[token] / len(texts) for token in words])
    place = {token: column for column, token in enumerate(words)}
    present_IV = torch.zeros(len(texts), len(words), dtype=torch.bool)
    for row, tokens in enumerate(said):
        present_IV[row, [place[token] for token in tokens if token in place]] = True

    def loss(rows: Sequence[int], seed: int) -> Loss:
        chance = random.Random(seed)
        views = [show(row, chance).float() for row in rows]
        lengths = torch.tensor([len(view) for view in views])
        x_PTD = nn.utils.rnn.pad_sequence(views, batch_first=True)
        features: Features = connector(Features(x_PTD, torch.arange(x_PTD.shape[1]) < lengths[:, None]))
        return naming(features, present_IV[torch.tensor(rows)])

    def epoch(number: int) -> list[Sequence[Thunk]]:
        order = random.Random(number).sample(range(len(texts)), len(texts))
        starts = range(0, len(order) - BATCH + 1, BATCH)
        return [[partial(loss, order[start : start + BATCH], hash((number, start)))] for start in starts]

    groups = [Group(trainable(connector, "connector."), RATE, 0.01), Group(dict(naming.named_parameters()), 10 * RATE)]
    plan = Plan(steps=epochs * (len(texts) // BATCH), warmup=20, floor=0.1)
    train(groups, epoch, plan, state=state, say=say, every=max(1, len(texts) // BATCH))
