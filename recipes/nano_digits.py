"""Sound: the resampler learns to turn a spoken digit into the code that makes the language model say it, whoever speaks."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from recipes import nano_features
from recipes.nano_codes import Codes
from recipes.nano_data import Digit
from recipes.nano_features import PERTURBED
from recipes.nano_model import trainable
from sensorium.batch import Features
from sensorium.fusion.resampler import Resampler
from sensorium.model.multimodal import MultimodalLM
from sensorium.objectives.loss import Loss
from sensorium.objectives.nearness import nearness
from sensorium.training.features import FeatureStore
from sensorium.training.feed import Thunk
from sensorium.training.loop import train
from sensorium.training.optimizer import Group
from sensorium.training.schedule import Plan

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
STEPS, BATCH, AHEAD, RATE, DECAY, TIMES = 350, 64, 8, 1.5e-3, 0.05, 8
DROPOUT, FORGOTTEN, LONGEST = 0.2, 0.15, 60
"""`FORGOTTEN`: the share of the features set to zero in training. `LONGEST`: steps of a recording that are read, 1.2 s."""


def features(
    model: MultimodalLM, digits: Sequence[Digit], folder: Path, say: Callable[[str], None], times: int = TIMES
) -> FeatureStore:
    """Of all recordings, and of those to train on perturbed, so many times each."""
    taught = [digit.path for digit in digits if digit.split == "train"]
    return nano_features.recordings(model, [digit.path for digit in digits], folder, say, taught, times)


def run(
    model: MultimodalLM,
    codes: Codes,
    digits: Sequence[Digit],
    store: FeatureStore,
    kept: Sequence[int],
    state: Path | None,
    say: Callable[[str], None],
    steps: int = STEPS,
) -> dict[str, Tensor]:
    """Train on the recordings `kept`, as they are and perturbed; the tensors by their shipped names. No language model runs.

    Args:
        codes: of `WORDS`, see `nano_codes.learn`.
        store: features of all recordings by path, and of the perturbed ones by their names.
    """
    connector = model.connectors["audio"]
    assert isinstance(connector, Resampler)
    parameters = trainable(connector, "connectors.audio.")
    book = connector.codebook
    assert book is not None
    connector.get_parameter("norm_out.weight").data.copy_(codes.gain.detach())
    book.codes.data.copy_(codes.all())
    for module in connector.modules():
        if isinstance(module, nn.Dropout):
            module.p = DROPOUT
    learned = {name: value for name, value in parameters.items() if not name.endswith(("norm_out.weight", "codebook.codes"))}
    views: dict[str, list[int]] = {}
    for place, name in enumerate(store.names):
        views.setdefault(name.split(PERTURBED)[0], []).append(place)
    lengths = [end - start for start, end in zip([0, *store.ends], store.ends, strict=False)]

    def loss(rows: Sequence[tuple[int, int]], seed: int) -> Loss:
        torch.manual_seed(seed)
        x_PTD = nn.utils.rnn.pad_sequence([store[view][:LONGEST].float() for view, _ in rows], batch_first=True)
        valid_PT = torch.arange(x_PTD.shape[1]) < torch.tensor([[min(lengths[view], LONGEST)] for view, _ in rows])
        x_PTD = nn.functional.dropout(x_PTD, FORGOTTEN)
        with torch.autocast("cpu", torch.bfloat16):
            x_PQD = connector.gather(Features(x_PTD, valid_PT))
        return nearness(book.cosines(x_PQD), torch.tensor([word for _, word in rows]))

    def epoch(number: int) -> list[Sequence[Thunk]]:
        """`AHEAD` batches, each of recordings about equally long."""
        chance = random.Random(number)
        some = [digits[index] for index in chance.choices(kept, k=AHEAD * BATCH)]
        rows = [(chance.choice(views[digit.path]), WORDS.index(digit.word)) for digit in some]
        rows.sort(key=lambda row: lengths[row[0]])
        batches = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
        chance.shuffle(batches)
        return [[partial(loss, batch, AHEAD * number + place)] for place, batch in enumerate(batches)]

    train([Group(learned, RATE, DECAY)], epoch, Plan(steps, warmup=20), state=state, say=say, every=50)
    connector.eval()
    return {name: parameter.detach() for name, parameter in parameters.items()}
