"""Instruct: conversations first, then, if there are any, pairs of answers of which one is preferred.

sensorium train instruct --set data.train=messages.jsonl --out runs/instruct
sensorium train instruct --set data.train=messages.jsonl pairs.train=preferences.jsonl --out runs/preferred
"""

from __future__ import annotations

import copy

from pydantic import Field

from sensorium.objectives.next_token import NextToken
from sensorium.objectives.preference import Form, Preference
from sensorium.training.corpus import Data, Lay, corpus, join_for
from sensorium.training.optimizer import Part
from sensorium.training.pairs import LayPair, Prefer, blind_pairs, join_pairs
from sensorium.training.run import Recipe, Run, Training
from sensorium.training.schedule import Cosine
from sensorium.training.start import open_model
from sensorium.training.task import Task


class Preferring(Training):
    """The second training."""

    form: Form = "simpo"
    anchor: float = 0.2


class Config(Recipe):
    """What can be set.

    Args:
        model: what to begin from. words: whether words in media are read too; none leaves the model's own way.
        parts: what learns, by path. pairs: rows with a chosen and a rejected answer; preferring: how they are learned, where
            `form` is one of `objectives.preference` and `anchor` the weight of the chosen answers' own loss.
    """

    model: str = "nano"
    words: bool | None = None
    data: Data = Data()
    pairs: Data = Data(rows=8)
    parts: dict[str, Part | None] = Field(default={"connectors.image": Part(rate=1e-4), "decoder": Part(rate=2e-5)})
    preferring: Preferring = Preferring(steps=200, schedule=Cosine(warmup=10))


def main(config: Config, run: Run) -> None:
    model = open_model(config.model, words=config.words)

    # First: the next word of the answers
    data = corpus(config.data, Lay(model), join_for(model), run.place)
    answers = Task("answers", NextToken(encoders=run.encoders(model)), data.feed, data.held)
    run.train(model, [answers], config.parts, config.training, data=data.fingerprint, name="answers")

    # Then: the preferred answers above the others
    pairs, preferring = config.pairs, config.preferring
    if pairs.train:
        some = corpus(pairs, LayPair(model), join_pairs, run.place)
        reference = None if preferring.form == "simpo" else copy.deepcopy(model).requires_grad_(False).eval()
        objective = Prefer(Preference(preferring.form), reference, preferring.anchor)
        task = Task("pairs", objective, some.feed, some.held, blind=blind_pairs)
        run.train(model, [task], config.parts, preferring, data=some.fingerprint, name="pairs")

    run.export(model, config.model, [row.sample for row in data.judged[:4]])
