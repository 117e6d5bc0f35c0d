"""Joint: one encoder of pictures and captions learns masked words and regions, what belongs together, which word is where.

sensorium train joint --set data.train=synthetic:captions data.pixels=64 --out runs/joint
sensorium train joint --set data.train=captions.json streams=vilbert weights.word_region=0 --out runs/two
"""

from __future__ import annotations

from typing import Literal

from sensorium.encoders.processing import ImageProcessing
from sensorium.encoders.vit_config import ViTConfig
from sensorium.model import joint_checkpoint
from sensorium.model.config import ViTTower
from sensorium.model.joint import Joint
from sensorium.model.joint_config import (
    BlockConfig,
    CoAttentive,
    JointBlueprint,
    JointConfig,
    RegionConfig,
    SingleStream,
    word_tokenizer,
)
from sensorium.objectives.pretraining import Pretraining, Weights
from sensorium.training.config import Settings
from sensorium.training.corpus import Data, corpus
from sensorium.training.joint import LayJoint, blind_joint, join_joint
from sensorium.training.optimizer import Part
from sensorium.training.run import Recipe, Run
from sensorium.training.shown import caption_of, texts_of
from sensorium.training.task import Task

FRESH = "fresh"


class Terms(Settings, Weights):
    """See `objectives.pretraining.Weights`."""


class Config(Recipe):
    """What can be set.

    Args:
        model: `fresh`, or the folder of a joint model to train on. Of a fresh one: streams; size of the picture and of its
            patches; width, depth, heads; tags: object names as anchors; vocabulary: how many captions its words come from;
            regions: the picture's patches, or the boxes of its objects.
        weights: of the terms. share: of the words and regions that are hidden.
    """

    model: str = FRESH
    streams: Literal["single", "vilbert"] = "single"
    size: int = 64
    patch: int = 8
    width: int = 96
    depth: int = 3
    heads: int = 4
    tags: bool = False
    vocabulary: int = 2000
    regions: Literal["cells", "boxes"] = "cells"
    weights: Terms = Terms()
    share: float = 0.15
    data: Data = Data(rows=32, judge=128, pixels=64)
    blocks: Part = Part(rate=1e-3, decay=0.01)


def main(config: Config, run: Run) -> None:
    # The model: one to go on with, or a fresh one. Its eyes are patches through a fixed random map, one to one: what is learned
    # of pixels is learned in the model's own embedding (ViLT), and masked regions have targets that stand still.
    if config.model == FRESH:
        captions = corpus(config.data, caption_of, list)  # all of them: every process knows the same words
        tokenizer = word_tokenizer(texts_of(captions.feed.draw, config.vocabulary))
        dim = 3 * config.patch**2
        eyes = ViTConfig("siglip", dim, 0, 1, dim, image_size=config.size, patch=config.patch)
        form = SingleStream(depth=config.depth) if config.streams == "single" else CoAttentive(depth=config.depth)
        joint = JointConfig(
            vocabulary=tokenizer.get_vocab_size(),
            blocks=BlockConfig(width=config.width, heads=config.heads, mlp_width=2 * config.width),
            regions=RegionConfig(dim=dim, at=config.regions),
            streams=form,
            tags=config.tags,
            image=ViTTower(config=eyes, norm=False),
        )
        model = Joint(JointBlueprint(joint, tokenizer, ImageProcessing(size=(config.size, config.size))))
    else:
        model = joint_checkpoint.load(config.model)

    # The data: one picture and one caption a row; the objective: everything at once
    data = corpus(config.data, LayJoint(model), join_joint, run.place)
    objective = Pretraining(model.config.blocks.width, config.weights, share=config.share)

    task = Task("pairs", objective, data.feed, data.held, blind=blind_joint)
    run.train(model, [task], {"*": config.blocks, "encoder": None}, config.training, data=data.fingerprint)
    if run.world.first:
        joint_checkpoint.save(model.eval(), run.folder / "model")
        run.log("export", folder=str(run.folder / "model"))
