"""Distil: a language model with fewer layers learns from the whole one what to say about media.

sensorium train distill --set data.train=rows.jsonl layers=12 --out runs/small
"""

from __future__ import annotations

from pydantic import Field

from sensorium.objectives.distillation import Lessons
from sensorium.training.config import Settings
from sensorium.training.corpus import Data, Lay, corpus, join_flat
from sensorium.training.optimizer import Part
from sensorium.training.run import Recipe, Run
from sensorium.training.start import open_model
from sensorium.training.task import Task
from sensorium.training.taught import Taught, thin


class Weights(Settings):
    """How much each comparison with the teacher counts, and the right answers themselves; `temperature` of both sides."""

    logits: float = 1.0
    hidden: float = 0.1
    gold: float = 0.5
    temperature: float = 2.0


class Config(Recipe):
    """What can be set.

    Args:
        teacher: nano, tiny or a folder. words: whether words in media are read too; none leaves the teacher's own way.
        layers: how many of its decoder's layers the student keeps. parts: what of the student learns, by path.
    """

    teacher: str = "nano"
    words: bool | None = None
    layers: int = 12
    data: Data = Data()
    weights: Weights = Weights()
    parts: dict[str, Part | None] = Field(default={"decoder": Part(rate=2e-4)})


def main(config: Config, run: Run) -> None:
    # The teacher as it is, and a student that begins with some of its layers
    teacher = open_model(config.teacher, words=config.words)
    student = thin(teacher, config.layers)

    # The data, end to end, none of the conversations seeing another
    data = corpus(config.data, Lay(student), join_flat, run.place)

    # The objective: say what the teacher would say, with the right answers beside it
    weights = config.weights
    lessons = Lessons(weights.logits, weights.hidden, gold=weights.gold, temperature=weights.temperature)
    objective = Taught(teacher, student, lessons)

    run.train(student, [Task("answers", objective, data.feed, data.held)], config.parts, config.training, data=data.fingerprint)
    run.export(student, config.teacher, [row.sample for row in data.judged[:4]])
