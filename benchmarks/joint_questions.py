"""Questions about the synthetic world's scenes: families of joint models side by side, sighted and blind."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from benchmarks.joint_world import Result, Shown, Splits, build, draw, fall, read, train
from sensorium.estimate import estimate
from sensorium.fusion.pairs import Pairs
from sensorium.model.joint import Joint
from sensorium.model.joint_config import CoAttentive, Modular, SingleStream, Streams
from sensorium.objectives.answering import answering, places
from sensorium.objectives.loss import Loss

KINDS = ("counting", "colour", "shape", "existence", "negation")
FAMILIES: dict[str, tuple[Streams, int]] = {
    "single stream": (SingleStream(depth=3), 128),
    "two streams (ViLBERT)": (CoAttentive(depth=1), 64),
    "two streams (MCAN)": (Modular(depth=1), 128),
}
"""Streams and the width of their MLPs, which makes their parameters as many."""


def asked(shown: Shown) -> list[tuple[int, str, str]]:
    """Scene, question, answer, of the kinds that an answer of one word settles."""
    return [
        (row, one.question, one.answer)
        for row, scene in enumerate(shown.scenes)
        for one in scene.questions()
        if one.kind in KINDS
    ]


def questions(data: Splits, family: str, steps: int, *, batch: int = 64, rate: float = 2e-3, seed: int = 0) -> Result:
    """One family learns to answer; with its regions, and with nothing in them."""
    torch.manual_seed(seed)
    taught, tested = asked(data.train), asked(data.test)
    answers = sorted({answer for _, _, answer in taught})
    streams, mlp = FAMILIES[family]
    model = build([text for _, text, _ in (*taught, *tested)], streams, 64, mlp, answers)
    said, begun = read(model, [text for _, text, _ in taught]), time.process_time()

    def loss(step: int) -> Loss:
        which = draw(step + 10**6 * seed, len(taught), batch)
        pairs = Pairs(said.take(which), data.train.regions.take([taught[row][0] for row in which]))
        return answering(model, pairs, [taught[row][2] for row in which])

    curves = train(model, loss, steps, rate)
    spent = time.process_time() - begun
    tested = [one for one in tested if one[2] in answers]
    pairs = Pairs(read(model, [text for _, text, _ in tested]), data.test.regions.take([row for row, _, _ in tested]))
    wanted_B = places(model, [answer for _, _, answer in tested])
    assert model.answer is not None
    with torch.no_grad():
        model.eval()
        seen_B, blind_B = (
            (model.answer(model(Pairs(pairs.words, shown)).pooled_BD).argmax(-1) == wanted_B).float()
            for shown in (pairs.regions, pairs.regions.blind())
        )
    scores = {"right": estimate(seen_B.tolist()), "right, blind": estimate(blind_B.tolist())}
    scores["parameters"] = estimate([float(sum(parameter.numel() for parameter in core(model)))])
    return Result(scores, {"answering": fall(curves["answering"])}, spent)


def core(model: Joint) -> list[Tensor]:
    """What the families differ in, and the head that they share: the heads for pretraining are not trained here."""
    assert model.answer is not None
    return [*model.embedding.parameters(), *model.streams.parameters(), *model.answer.parameters()]
