"""Connect: a fresh connector learns to show a frozen language model what a frozen encoder sees (LLaVA's first stage).

sensorium train connect --set data.train=captions.json --out runs/connect
"""

from __future__ import annotations

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
        model: what to begin from. words: whether words in media are read too; none leaves the model's own way.
        modality: whose connector learns. fresh: from random weights, not from those it has.
    """

    model: str = "nano"
    words: bool | None = None
    modality: Modality = Modality.IMAGE
    fresh: bool = True
    data: Data = Data(rows=32)
    connector: Part = Part(rate=1e-3, decay=0.05)
    smoothing: float = 0.0


def main(config: Config, run: Run) -> None:
    # The model: everything frozen but one connector
    model = open_model(config.model, words=config.words)
    if config.fresh:
        fresh_connector(model, config.modality, run.seed)
    parts = {f"connectors.{config.modality}": config.connector}

    # The data: pictures (or sounds) and what is said about them, end to end, none seeing another
    data = corpus(config.data, Lay(model), join_for(model), run.place)

    # The objective: the next word of the answers
    objective = NextToken(config.smoothing, encoders=run.encoders(model))

    run.train(model, [Task("answers", objective, data.feed, data.held)], parts, config.training, data=data.fingerprint)
    run.export(model, config.model, [row.sample for row in data.judged[:4]])
