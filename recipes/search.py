"""Search: a dual encoder learns pictures and captions from the ground up, so that either finds the other.

sensorium train search --set data.train=captions.json --out runs/search
sensorium train search --set data.train=web.jsonl form=sigmoid trim=0.3 data.rows=512 chunk=64 --out runs/noisy
"""

from __future__ import annotations

from sensorium.model.pair import Pair, tiny_dual
from sensorium.objectives.contrastive import Contrast, Doubt, Form
from sensorium.objectives.paired import Paired
from sensorium.training.config import Settings
from sensorium.training.corpus import Data, corpus
from sensorium.training.optimizer import Part
from sensorium.training.run import Recipe, Run
from sensorium.training.shown import LayShown, blind_shown, caption_of, join_shown, texts_of
from sensorium.training.task import Task


class Fresh(Settings):
    """The shape of a fresh dual encoder: pixels of a picture's and a patch's side, width and depth of the towers; its words are
    those of so many captions.
    """

    size: int = 64
    patch: int = 8
    width: int = 128
    depth: int = 4
    words: int = 2000


class Config(Recipe):
    """What can be set.

    Args:
        model: the folder of a dual encoder to train on; none makes a fresh one.
        form: `softmax` or `sigmoid`. trim, soft: where captions are doubtful (see `objectives.contrastive.Doubt`).
        chunk: pairs encoded with gradients at once, for batches that do not fit (0: all).
    """

    model: str | None = None
    fresh: Fresh = Fresh()
    data: Data = Data(rows=128, judge=128, pixels=64)
    towers: Part = Part(rate=1e-3, decay=0.1)
    form: Form = "softmax"
    trim: float = 0.0
    soft: float = 0.0
    chunk: int = 0


def main(config: Config, run: Run) -> None:
    # The model: one to go on with, or a fresh one that knows the words of the captions
    shape = config.fresh
    if config.model is None:
        captions = corpus(config.data, caption_of, list)  # all of them: every process knows the same words
        texts = texts_of(captions.feed.draw, shape.words)
        model = tiny_dual(texts, size=shape.size, patch=shape.patch, width=shape.width, depth=shape.depth)
    else:
        model = Pair.load(config.model)
    model.train()

    # The data: pictures with captions; the same picture or the same words twice in a batch are no negatives
    data = corpus(config.data, LayShown(model), join_shown, run.place)

    # The objective: each finds its own among the batch, that of all processes together
    objective = Paired(Contrast(config.form, Doubt(config.trim, config.soft)), config.chunk, run.gather)

    stuck = config.form == "softmax"
    task = Task("pairs", objective, data.feed, data.held, blind=blind_shown, contrastive=stuck, gathered=True)
    run.train(model, [task], {"*": config.towers}, config.training, data=data.fingerprint)
    if run.world.first:
        model.eval().save(run.folder / "model")
        run.log("export", folder=str(run.folder / "model"))
