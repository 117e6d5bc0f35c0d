"""A tiny joint model and three pairs for it."""

from __future__ import annotations

import torch
from torch import nn

from sensorium.fusion.pairs import Pairs, Regions
from sensorium.model.joint import Joint
from sensorium.model.joint_config import (
    BlockConfig,
    JointBlueprint,
    JointConfig,
    RegionConfig,
    SingleStream,
    Streams,
    word_tokenizer,
)
from sensorium.parts import Message, Sample, Text

TEXTS = ("a red circle", "two blue squares here", "ring")


def toy(streams: Streams | None = None, tags: bool = False) -> Joint:
    """With classes and answers, at random."""
    torch.manual_seed(0)
    tokenizer = word_tokenizer(TEXTS)
    config = JointConfig(
        vocabulary=tokenizer.get_vocab_size(),
        positions=24,
        blocks=BlockConfig(width=16, heads=4, mlp_width=24),
        regions=RegionConfig(dim=6, classes=("circle", "square", "ring")),
        streams=streams or SingleStream(depth=1),
        tags=tags,
        answers=("yes", "no"),
    )
    made = Joint(JointBlueprint(config, tokenizer))
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.2)
    return made


def pairs() -> Pairs:
    """Three texts; 2, 1 and 3 regions with their classes."""
    chance = torch.Generator().manual_seed(1)
    samples = [Sample(text, (Message("assistant", (Text(text),)),)) for text in TEXTS]
    valid_BG = torch.arange(3) < torch.tensor([[2], [1], [3]])
    x_BGD, boxes_BGX = torch.randn(3, 3, 6, generator=chance), torch.rand(3, 3, 4, generator=chance)
    classes_BGC = torch.randn(3, 3, 3, generator=chance).softmax(-1)
    return Pairs(toy().reader(samples, ("assistant",)), Regions(x_BGD, valid_BG, boxes_BGX, ((), (), ()), classes_BGC))
