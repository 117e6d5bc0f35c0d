"""Fine-tune: the whole model, or a low-rank adapter of its language model, on conversations about media.

sensorium train finetune --set data.train=rows.jsonl --out runs/all
sensorium train finetune --set data.train=rows.jsonl adapter.r=16 --out runs/lora
"""

from __future__ import annotations

from pydantic import Field

from sensorium.objectives.next_token import NextToken
from sensorium.training.corpus import Data, Lay, corpus, join_for
from sensorium.training.optimizer import Part
from sensorium.training.run import Recipe, Run
from sensorium.training.start import Adapter, fresh_adapter, open_model
from sensorium.training.task import Task


class Config(Recipe):
    """What can be set.

    Args:
        model: what to begin from. words: whether words in media are read too; none leaves the model's own way.
        adapter: a fresh low-rank adapter, at work on rows with pictures; the language model itself then stays as it is.
        parts: what learns, by path; with an adapter, `decoder` is left out of it.
    """

    model: str = "nano"
    words: bool | None = None
    adapter: Adapter | None = None
    data: Data = Data()
    parts: dict[str, Part | None] = Field(default={"connectors.image": Part(rate=2e-4), "decoder": Part(rate=2e-5)})
    smoothing: float = 0.0


def main(config: Config, run: Run) -> None:
    # The model, and which parts of it learn
    model = open_model(config.model, words=config.words)
    parts = dict(config.parts)
    if config.adapter is not None:
        fresh_adapter(model, config.adapter)
        parts |= {"decoder": None, "adapter": Part(rate=config.adapter.rate, decay=0.0)}

    # The data, end to end, none of the conversations seeing another
    data = corpus(config.data, Lay(model), join_for(model), run.place)

    # The objective: the next word of the answers
    objective = NextToken(config.smoothing, encoders=run.encoders(model))

    run.train(model, [Task("answers", objective, data.feed, data.held)], parts, config.training, data=data.fingerprint)
    run.export(model, config.model, [row.sample for row in data.judged[:4]])
