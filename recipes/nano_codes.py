"""The first lesson of sound: for each word a vector that makes the frozen language model say it, whatever stands beside it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recipes.nano_data import LINES
from recipes.nano_features import Say
from recipes.nano_model import EMBED_RMS, trainable
from sensorium.batch import Features, Modality, Piece, Shown
from sensorium.data.packing import Tree, grow, pack
from sensorium.data.sentences import as_sentence
from sensorium.model.multimodal import MultimodalLM
from sensorium.objectives.loss import Loss
from sensorium.objectives.next_token import NextToken
from sensorium.parts import Audio, Message, Sample, Text, Use
from sensorium.training.feed import Thunk
from sensorium.training.loop import train
from sensorium.training.optimizer import Group
from sensorium.training.schedule import Plan

QUESTION, OTHER = "Which digit is spoken?", "What is said?"
STEPS, RATE, MIXED, NOISE, TALK = 100, 5e-2, 0.35, 0.6, 4
"""`MIXED` and `NOISE`: how far a code is moved to another word's, and by chance. `TALK`: rows a step about other speech."""


class Codes(nn.Module):
    """Stands in for the connector: the "features" of a medium are the number of its word, `(1, 1)`."""

    def __init__(self, tokens_WD: Tensor, queries: int) -> None:
        super().__init__()
        self.words = nn.Parameter(F.rms_norm(tokens_WD, tokens_WD.shape[-1:]))
        self.slots = nn.Parameter(0.5 * torch.randn(queries, tokens_WD.shape[-1]))
        self.gain = nn.Parameter(torch.full(tokens_WD.shape[-1:], EMBED_RMS))

    def grid(self, _: tuple[int, ...]) -> tuple[int, ...]:
        """As a resampler's."""
        return (1, len(self.slots))

    def forward(self, features: Features) -> Features:
        """In training with some of another word's code and noise, as a connector that is not sure will give."""
        words_PD = self.words[features.x_BTD[:, 0, 0].long()]
        if self.training:
            other_PD = self.words[torch.randint(len(self.words), (len(words_PD),))]
            words_PD = words_PD.lerp(other_PD, MIXED * torch.rand(len(words_PD), 1))
        x_PQD = words_PD[:, None] + self.slots
        if self.training:
            x_PQD = x_PQD + NOISE * torch.rand(len(x_PQD), 1, 1) * torch.randn_like(x_PQD)
        x_PQD = F.rms_norm(x_PQD, self.gain.shape) * self.gain
        return Features(x_PQD, torch.ones(x_PQD.shape[:2], dtype=torch.bool))

    def all(self) -> Tensor:
        """`(W, Q, D)`, as the language model reads them."""
        return (F.rms_norm(self.words[:, None] + self.slots, self.gain.shape) * self.gain).detach()


def ask(model: MultimodalLM, features_TD: Tensor, heard: str, question: str, answer: str) -> Tree:
    """A question about one sound, with the words heard in it ("" for none), laid out as the product does."""
    pieces = [Piece(Modality.AUDIO, (0.0, 1.0), model.connectors["audio"].grid((len(features_TD),)), tensor=features_TD)]
    if heard:
        pieces.append(Piece(Modality.TEXT, (0.0, 1.0), text=heard + "\n"))
    turns = (Message("user", (Audio("sound"), Text(question))), Message("assistant", (Text(answer),), learn=True))
    shown = {(0, 0): Shown(tuple(pieces), Use(0, 0, "audio", "sound"))}
    return grow(model.layout([Sample("sound", turns)], [shown], reply=False), [1.0])


def learn(model: MultimodalLM, words: Sequence[str], state: Path | None, say: Say, steps: int = STEPS) -> Codes:
    """Each step asks for every word, alone and beside a line (often another word), and what other lines say."""
    tokenizer, embeddings_VD = model.layout.tokenizer, model.decoder.embed_tokens.weight.detach().float()
    ids = torch.tensor([tokenizer.encode(" " + word, add_special_tokens=False).ids[-1] for word in words])
    usual, objective = model.connectors["audio"], NextToken()
    codes = Codes(embeddings_VD[ids] - embeddings_VD.mean(0), usual.grid((1,))[-1])
    beside = [*map(as_sentence, words), *LINES, *("- " + as_sentence(word) for word in words)]

    def loss(seed: int) -> Loss:
        chance = random.Random(seed)
        rows = [(number, heard, QUESTION, word) for number, word in enumerate(words) for heard in ("", chance.choice(beside))]
        rows += [(chance.randrange(len(words)), line, OTHER, line) for line in chance.sample(LINES, TALK)]
        trees = [ask(model, torch.tensor([[float(number)]]), *row, as_sentence(word)) for number, *row, word in rows]
        return objective(model, pack(trees))

    def epoch(number: int) -> list[Sequence[Thunk]]:
        return [[partial(loss, 100 * number + step)] for step in range(100)]

    assert model.switch is not None
    model.connectors["audio"] = codes
    parameters = trainable(codes, "codes.")
    gain = {"codes.gain": parameters.pop("codes.gain")}
    with model.switch.rows(False):
        train([Group(parameters, RATE), Group(gain, RATE / 20)], epoch, Plan(steps, warmup=8), state=state, say=say, every=10)
    model.connectors["audio"] = usual
    return codes.eval()
