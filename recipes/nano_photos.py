"""Pictures: image connector and language adapter learn captions and questions about photos, rooms and drawings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from recipes.nano_asked import Asked, Turn, alike
from recipes.nano_course import Course
from recipes.nano_model import adapter_of, trainable
from sensorium.batch import Batch, Modality, Piece, Shown
from sensorium.data.packing import Tree, grow, pack
from sensorium.model.multimodal import MultimodalLM
from sensorium.objectives.loss import Loss
from sensorium.objectives.next_token import NextToken
from sensorium.parts import Image, Message, Sample, Text, Use
from sensorium.training.feed import Thunk
from sensorium.training.loop import train
from sensorium.training.optimizer import Group
from sensorium.training.schedule import Plan

EPOCHS, BATCH = 4, 16
CONNECTOR_RATE, ADAPTER_RATE, DECAY, SMOOTHING, RARE = 1e-3, 8e-4, 0.05, 0.05, 2048


class Ask(NamedTuple):
    """A question about a picture, whose features are given, and its answer; None where that is to be found."""

    features_TD: Tensor
    question: str
    reply: str | None = None


def rows(model: MultimodalLM, asked: Sequence[Ask]) -> Batch:
    """A row each, all with an answer or all without; these end where it is to begin."""
    samples, shown = [], []
    for features_TD, question, reply in asked:
        side = math.isqrt(len(features_TD))
        piece = Piece(Modality.IMAGE, (0.0, 0.0, 1.0, 1.0), model.connectors["image"].grid((side, side)), tensor=features_TD)
        shown.append({(0, 0): Shown((piece,), Use(0, 0, "image", "photo"))})
        answer = () if reply is None else (Message("assistant", (Text(reply),), learn=True),)
        samples.append(Sample(question, (Message("user", (Image("photo"), Text(question))), *answer)))
    return model.layout(samples, shown, reply=asked[0].reply is None)


def tree(model: MultimodalLM, features_TD: Tensor, turns: Sequence[Turn]) -> Tree:
    """Everything asked about one picture, laid out and merged."""
    batch = rows(model, [Ask(features_TD, question, reply) for question, reply, _ in turns])
    return grow(batch, [weight for *_, weight in turns])


def vocabulary(model: MultimodalLM, texts: Iterable[str]) -> list[int]:
    """The tokens of all answers, and what ends them."""
    encode = model.layout.tokenizer.encode
    return [*{token for text in texts for token in encode(text, add_special_tokens=False).ids}, *model.layout.ends]


def pupils(model: MultimodalLM) -> tuple[dict[str, nn.Parameter], dict[str, nn.Parameter]]:
    """What is trained, by its shipped names: the connector and the adapter."""
    return trainable(model.connectors["image"], "connectors.image."), adapter_of(model)


def run(
    model: MultimodalLM,
    course: Course,
    plan: Plan,
    state: Path | None,
    say: Callable[[str], None],
    workers: int = 2,
    every: int = 20,
) -> Mapping[str, Tensor]:
    """Train; the tensors by their shipped names. The decoder's weights may be in bf16."""
    objective = NextToken(SMOOTHING, vocabulary(model, course.texts()), RARE)
    connector, adapter = pupils(model)

    def loss(some: Sequence[Asked]) -> Loss:
        return objective(model, pack([tree(model, asked.store[asked.view], asked.turns) for asked in some]))

    def epoch(number: int) -> list[Sequence[Thunk]]:
        batches = alike(course.asked(number), BATCH, number)
        return [[partial(loss, batch[part::workers]) for part in range(workers) if batch[part::workers]] for batch in batches]

    groups = [Group(connector, CONNECTOR_RATE, DECAY), Group(adapter, ADAPTER_RATE, DECAY)]
    train(groups, epoch, plan, state=state, workers=workers, say=say, every=every)
    return {**connector, **adapter}
