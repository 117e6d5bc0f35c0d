"""The first lesson of sound: vectors for each word that make the frozen language model say it, whatever else it reads beside them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recipes.nano_model import EMBED_RMS, trainable
from sensorium.batch import Features
from sensorium.data.packing import Tree, pack
from sensorium.model.multimodal import MultimodalLM
from sensorium.objectives.loss import Loss
from sensorium.objectives.next_token import NextToken
from sensorium.training.loop import Group, Thunk, train
from sensorium.training.schedule import Plan

STEPS, RATE, MIXED, NOISE = 150, 5e-2, 0.3, 0.5
Ask = Callable[[MultimodalLM, Tensor, str, str], Tree]
"""The question about features, with words heard beside them, and its answer."""


class Codes(nn.Module):
    """Stands in for the connector: the "features" of a medium are the number of its word, `(1, 1)`."""

    def __init__(self, tokens_WD: Tensor, queries: int) -> None:
        super().__init__()
        start_WQD = F.rms_norm(tokens_WD, tokens_WD.shape[-1:])[:, None].repeat(1, queries, 1)
        self.codes = nn.Parameter(0.8 * start_WQD + 0.6 * torch.randn_like(start_WQD))
        self.gain = nn.Parameter(torch.full(tokens_WD.shape[-1:], EMBED_RMS))

    def grid(self, _: tuple[int, ...]) -> tuple[int, ...]:
        """As a resampler's."""
        return (1, self.codes.shape[1])

    def forward(self, features: Features) -> Features:
        """In training with some of another word's code and noise, as a connector that is not sure will give."""
        plain_WQD = F.rms_norm(self.codes, self.gain.shape)
        x_PQD = plain_WQD[features.x_BTD[:, 0, 0].long()]
        if self.training:
            other_PQD = plain_WQD[torch.randint(len(plain_WQD), (len(x_PQD),))]
            x_PQD = x_PQD.lerp(other_PQD, MIXED * torch.rand(len(x_PQD), 1, 1))
            x_PQD = x_PQD + NOISE * torch.rand(len(x_PQD), 1, 1) * torch.randn_like(x_PQD)
        x_PQD = F.rms_norm(x_PQD, self.gain.shape) * self.gain
        return Features(x_PQD, torch.ones(x_PQD.shape[:2], dtype=torch.bool))

    def all(self) -> Tensor:
        """`(W, Q, D)`, as the language model reads them."""
        return (F.rms_norm(self.codes, self.gain.shape) * self.gain).detach()


def learn(
    model: MultimodalLM,
    words: Sequence[str],
    heard: Mapping[str, Sequence[str]],
    ask: Ask,
    state: Path | None,
    say: Callable[[str], None],
    steps: int = STEPS,
) -> Codes:
    """Each step asks for every word twice: alone, and beside what was heard when it (or, as often, another word) was said."""
    tokenizer, embeddings_VD = model.layout.tokenizer, model.decoder.embed_tokens.weight.detach().float()
    ids = torch.tensor([tokenizer.encode(" " + word, add_special_tokens=False).ids[-1] for word in words])
    usual = model.connectors["audio"]
    codes = Codes(embeddings_VD[ids] - embeddings_VD.mean(0), usual.grid((1,))[-1])
    parameters, objective = trainable(codes, "codes."), NextToken()
    lines = [line for some in heard.values() for line in some] or [""]

    def loss(seed: int) -> Loss:
        chance = random.Random(seed)
        trees = [ask(model, torch.tensor([[float(number)]]), "", word) for number, word in enumerate(words)]
        for number, word in enumerate(words):
            own = heard.get(word) or lines
            trees.append(ask(model, torch.tensor([[float(number)]]), chance.choice(own if seed % 2 else lines), word))
        return objective(model, pack(trees))

    def epoch(number: int) -> list[Sequence[Thunk]]:
        return [[partial(loss, 100 * number + step)] for step in range(100)]

    model.connectors["audio"] = codes
    groups = [Group({"codes.codes": parameters["codes.codes"]}, RATE), Group({"codes.gain": parameters["codes.gain"]}, RATE / 20)]
    train(groups, epoch, Plan(steps, warmup=8, floor=0.05), state=state, say=say, every=10)
    model.connectors["audio"] = usual
    return codes.eval()
