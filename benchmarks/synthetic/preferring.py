"""Preference on the synthetic world: a model that answers in either of two wordings learns to prefer one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from benchmarks.judged import On
from benchmarks.synthetic.fit import batches, fit, scenes
from sensorium.data.packing import Packed, grow, pack
from sensorium.estimate import Estimate, estimate
from sensorium.model.multimodal import MultimodalLM
from sensorium.model.presets import tiny
from sensorium.objectives.next_token import NextToken
from sensorium.objectives.preference import Answers, Form, Preference, log_probabilities
from sensorium.parts import Message, Sample, Text

BETAS: dict[Form, float] = {"dpo": 0.1, "ln-dpo": 5.0, "simpo": 2.0}


class Budget(NamedTuple):
    """Scenes; steps of plain learning, in which both wordings occur alike, and of preference; pairs a step; judged by."""

    scenes: int = 600
    test: int = 120
    plain_steps: int = 300
    steps: int = 100
    batch: int = 12
    on: On = "test"


class Asked(NamedTuple):
    """A question with its answer in both wordings, which are equally long."""

    question: str
    chosen: str
    rejected: str


def prefer(form: Form, budget: Budget | None = None) -> dict[str, Estimate]:
    """How likely the chosen wording is where only the two compete, over the test scenes' questions about a colour.

    Returns:
        `before`, `after`: the mean of p(chosen) / (p(chosen) + p(rejected)); `preferred`: how often the chosen
        wording is ahead, after; `fall`: of the preference loss.
    """
    budget = budget or Budget()
    train, test = _asked(budget.scenes, "train"), _asked(budget.test, budget.on)
    model = tiny(dim=48, layers=2)
    rows = batches(len(train), budget.batch)
    plain = NextToken()

    def learn(step: int):  # type: ignore[no-untyped-def]
        which = rows(step)
        return plain(model.train(), packed(model, [train[row] for row in which], ["chosen", "rejected"][step % 2]))

    fit(list(model.decoder.parameters()), learn, budget.plain_steps, 3e-3)
    model.eval()
    reference = [
        (_score(model, [item], "chosen"), _score(model, [item], "rejected")) for item in train[: budget.steps * budget.batch]
    ]
    before = _share(model, test)
    objective = Preference(form, BETAS[form])

    def prefer_step(step: int):  # type: ignore[no-untyped-def]
        which = [(step * budget.batch + place) % len(reference) for place in range(budget.batch)]
        some = [train[row] for row in which]
        pair = (
            log_probabilities(model, packed(model, some, "chosen")),
            log_probabilities(model, packed(model, some, "rejected")),
        )
        kept = None if form == "simpo" else tuple(_join([reference[row][side] for row in which]) for side in range(2))
        return objective(*pair, kept)  # type: ignore[arg-type]

    course = fit(list(model.decoder.parameters()), prefer_step, budget.steps, 5e-4, decay=0.0)
    after = _share(model.eval(), test)
    return {
        "before": estimate(before.numpy()),
        "after": estimate(after.numpy()),
        "preferred": estimate((after > 0.5).double().numpy()),
        "fall": Estimate(course.fall(), course.fall(), course.fall(), 1),
    }


def packed(model: MultimodalLM, some: Sequence[Asked], form: str) -> Packed:
    """One answer a row."""
    samples = [
        Sample(
            item.question,
            (Message("user", (Text(item.question),)), Message("assistant", (Text(getattr(item, form)),), learn=True)),
        )
        for item in some
    ]
    return pack([grow(model.batch([sample]), [1.0]) for sample in samples])


def _asked(count: int, on: On | Literal["train"]) -> list[Asked]:
    found = []
    for scene in scenes(count, on):
        for item in scene.questions():
            if item.kind == "colour":
                found.append(Asked(item.question, f"I see {item.answer}.", f"It is {item.answer}."))
    return found


@torch.no_grad()
def _score(model: MultimodalLM, some: Sequence[Asked], form: str) -> Answers:
    return log_probabilities(model, packed(model, some, form))


def _share(model: MultimodalLM, some: Sequence[Asked]) -> Tensor:
    gaps = []
    for start in range(0, len(some), 32):
        part = some[start : start + 32]
        gaps.append(_score(model, part, "chosen").total_B - _score(model, part, "rejected").total_B)
    return torch.cat(gaps).sigmoid().double()


def _join(rows: Sequence[Answers]) -> Answers:
    return Answers(torch.cat([row.total_B for row in rows]), torch.cat([row.length_B for row in rows]))
