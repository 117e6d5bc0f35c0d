"""Speak: the connector of sound, and what else is asked for, learns to answer about recordings; the language model is frozen.

sensorium train speak --set data.train=recordings/ --out runs/speak
"""

from __future__ import annotations

from pydantic import Field

from sensorium.batch import Modality
from sensorium.objectives.next_token import NextToken
from sensorium.training.corpus import Data, Lay, corpus, join_for
from sensorium.training.optimizer import Part
from sensorium.training.run import Recipe, Run
from sensorium.training.start import fresh_connector, open_model
from sensorium.training.task import Task


class Config(Recipe):
    """What can be set.

    Args:
        model: what to begin from. fresh: the connector begins from random weights, not from those it has.
        words: whether the words heard stand beside the sound; none leaves the model's own way.
        parts: what learns, by path; `parts.encoders.audio.rate=1e-5` lets the encoder learn too.
    """

    model: str = "nano"
    words: bool | None = None
    fresh: bool = False
    data: Data = Data()
    parts: dict[str, Part | None] = Field(default={"connectors.audio": Part(rate=5e-4, decay=0.05)})
    smoothing: float = 0.0


def main(config: Config, run: Run) -> None:
    # The model, and which parts of it learn
    model = open_model(config.model, words=config.words)
    if config.fresh:
        fresh_connector(model, Modality.AUDIO, run.seed)

    # The data: recordings, and what is to be answered about them
    data = corpus(config.data, Lay(model), join_for(model), run.place)

    # The objective: the next word of the answers
    objective = NextToken(config.smoothing, encoders=run.encoders(model))

    run.train(model, [Task("answers", objective, data.feed, data.held)], config.parts, config.training, data=data.fingerprint)
    run.export(model, config.model, [row.sample for row in data.judged[:4]])
