"""Sound: the resampler learns to say spoken digits to the frozen language model, with and without the words heard beside it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from recipes import nano_naming
from recipes.nano_data import Digit, as_sentence
from recipes.nano_model import trainable
from sensorium.batch import Modality, Piece, Shown
from sensorium.data.packing import Tree, grow, pack
from sensorium.model.multimodal import MultimodalLM
from sensorium.objectives.loss import Loss
from sensorium.objectives.next_token import NextToken
from sensorium.parts import Audio, Message, Sample, Text, Use
from sensorium.training.features import FeatureStore
from sensorium.training.loop import Group, Thunk, train
from sensorium.training.schedule import Plan

QUESTION = "Which digit is spoken?"
EPOCHS, NAMING_EPOCHS, BATCH, RATE, DECAY = 3, 12, 32, 5e-4, 0.05


class Clip(NamedTuple):
    """Features of a recording, the words heard in it ("" for none), and the digit."""

    features_TD: Tensor
    heard: str
    word: str


def tree(model: MultimodalLM, clip: Clip) -> Tree:
    """The question about one recording, laid out."""
    grid = model.connectors["audio"].grid((len(clip.features_TD),))
    pieces = [Piece(Modality.AUDIO, (0.0, 1.0), grid, tensor=clip.features_TD)]
    if clip.heard:
        pieces.append(Piece(Modality.TEXT, (0.0, 1.0), text=clip.heard + "\n"))
    ask = Message("user", (Audio("digit"), Text(QUESTION)))
    reply = Message("assistant", (Text(as_sentence(clip.word)),), learn=True)
    shown = {(0, 0): Shown(tuple(pieces), Use(0, 0, "audio", "digit"))}
    return grow(model.layout([Sample("digit", (ask, reply))], [shown], reply=False), [1.0])


def run(
    model: MultimodalLM,
    digits: Sequence[Digit],
    store: FeatureStore,
    heard: Mapping[int, str],
    kept: Sequence[int],
    folder: Path,
    say: Callable[[str], None],
    epochs: int = EPOCHS,
    workers: int = 2,
) -> dict[str, Tensor]:
    """Train on the recordings `kept`; the tensors by their shipped names. The adapter of pictures stays off.

    Args:
        heard: what speech recognition made of some of the recordings; they are shown half of the time with it.
    """
    connector = model.connectors["audio"]
    texts = [digits[index].word for index in kept]
    embeddings_VD = model.decoder.embed_tokens.weight.detach()
    tokenizer = model.layout.tokenizer
    nano_naming.run(
        connector,
        embeddings_VD,
        tokenizer,
        texts,
        lambda i, _: store[kept[i]],
        NAMING_EPOCHS,
        folder / "sound-naming.state",
        say,
    )
    parameters = trainable(connector, "connectors.audio.")
    objective = NextToken()

    def loss(clips: Sequence[Clip]) -> Loss:
        return objective(model, pack([tree(model, clip) for clip in clips]))

    def epoch(number: int) -> list[Sequence[Thunk]]:
        chance = random.Random(number)
        order = chance.sample(list(kept), len(kept))
        clips = [Clip(store[i], heard.get(i, "") if chance.random() < 0.5 else "", digits[i].word) for i in order]
        batches = [clips[start : start + BATCH] for start in range(0, len(clips), BATCH)]
        return [[partial(loss, batch[part::workers]) for part in range(workers) if batch[part::workers]] for batch in batches]

    plan = Plan(steps=epochs * -(-len(kept) // BATCH), warmup=20)
    assert model.switch is not None
    with model.switch.rows(False):
        train([Group(parameters, RATE, DECAY)], epoch, plan, state=folder / "sound", workers=workers, say=say)
    return dict(parameters)
