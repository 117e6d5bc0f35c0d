"""Speak: the connector of sound, and if asked for its encoder, learn to answer about recordings; the language model is frozen.

sensorium train speak --set data.train=recordings/ --out runs/speak
"""

from __future__ import annotations

from sensorium.batch import Modality
from sensorium.objectives.next_token import NextToken
from sensorium.training.corpus import Data, Lay, corpus, join_flat
from sensorium.training.optimizer import Part
from sensorium.training.run import Recipe, Run
from sensorium.training.start import fresh_connector, open_model
from sensorium.training.task import Task


class Config(Recipe):
    """What can be set.

    Args:
        model: what to begin from. fresh: the connector begins from random weights, not from those it has.
        words: whether the words heard stand beside the sound; none leaves the model's own way.
        encoder: of sound, if it is to learn too.
    """

    model: str = "nano"
    words: bool | None = None
    fresh: bool = False
    data: Data = Data()
    connector: Part = Part(rate=5e-4, decay=0.05)
    encoder: Part | None = None
    smoothing: float = 0.0


def main(config: Config, run: Run) -> None:
    # The model: the connector of sound learns, and perhaps the encoder
    model = open_model(config.model, words=config.words)
    if config.fresh:
        fresh_connector(model, Modality.AUDIO, run.seed)
    parts = {"connectors.audio": config.connector, "encoders.audio": config.encoder}

    # The data: recordings, and what is to be answered about them
    data = corpus(config.data, Lay(model), join_flat, run.place)

    # The objective: the next word of the answers
    objective = NextToken(config.smoothing, encoders=model.encoders)

    run.train(model, [Task("answers", objective, data.feed, data.held)], parts, config.training, data=data.fingerprint)
    run.export(model, config.model, [row.sample for row in data.judged[:4]])
