"""Contrast on the synthetic world: naming 16 classes without training on their names, wrong captions, hallucinated things."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.estimate import Estimate, estimate
from benchmarks.synthetic.fit import batches, fit, pictures, scenes
from sensorium.data.synthetic import CLASSES, Dice, Scene, Thing, name
from sensorium.data.synthetic.captions import hallucinate
from sensorium.model.pair import Pair, tiny_dual
from sensorium.objectives.contrastive import Contrast, Doubt, Form, alike
from sensorium.objectives.hallucination import HallucinationContrast

RATE = 2e-3
NAMES = [[name(Thing(shape, colour, "large", (0.0, 0.0, 1.0, 1.0)), "en")] for colour, shape in CLASSES]


class Budget(NamedTuple):
    """How much is trained and measured: scenes, steps of `batch` pairs, and test scenes."""

    scenes: int = 6000
    steps: int = 500
    batch: int = 64
    test: int = 480


def naming(form: Form, wrong: float = 0.0, doubt: Doubt | None = None, budget: Budget | None = None) -> dict[str, Estimate]:
    """Trained on captions of scenes of the 16 classes' things, `wrong` of them shuffled; asked to name things of new scenes.

    Returns:
        `named`: the share of test scenes named rightly among 16 (chance 1/16); `fall`: by what share the loss fell.
    """
    budget = budget or Budget()
    train, test = scenes(budget.scenes, single=True), scenes(budget.test, "test", single=True)
    captions = [scene.captions() for scene in train]
    told = shuffled(captions, wrong)
    model, objective = _fresh(captions), Contrast(form, doubt)
    pixels_PCHW, rows, chance = pictures(train), batches(len(train), budget.batch), random.Random(0)

    def loss(step: int):  # type: ignore[no-untyped-def]
        which = rows(step)
        texts = [chance.choice(told[row]) for row in which]
        return objective(model.images(pixels_PCHW[which]), model.texts(texts), alike(texts))

    course = fit([*model.parameters(), *objective.parameters()], loss, budget.steps, RATE)
    gold_P = torch.tensor([CLASSES.index(scene.things[0].pair) for scene in test])
    named_P = model.eval().name(pictures(test), model.classes(NAMES)).best_P
    return {"named": estimate((named_P == gold_P).numpy()), "fall": _plain(course.fall())}


def shuffled(captions: Sequence[tuple[str, ...]], share: float, seed: int = 0) -> list[tuple[str, ...]]:
    """The captions of this share of the scenes changed places among them."""
    chance = random.Random(seed)
    some = chance.sample(range(len(captions)), round(share * len(captions)))
    told = list(captions)
    for row, other in zip(some, some[1:] + some[:1], strict=True):
        told[row] = captions[other]
    return told


def invented(budget: Budget | None = None) -> dict[str, Estimate]:
    """How often the caption that a model chooses names a thing that is not there, without and with hallucinated negatives.

    Each test scene offers five captions worded alike: the true list of its things, and four that name one thing more. CHAIR-i
    (Rohrbach et al. 2018) is counted over the chosen captions: things named that are not in the picture, of all things named.

    Returns:
        `plain`, `augmented`: CHAIR-i after equally many steps from the same start; `cut`: by what share it fell, with a
        paired interval over scenes; `fall`: of the augmented loss.
    """
    budget = budget or Budget()
    train, test = scenes(budget.scenes), scenes(budget.test, "test")
    captions = [scene.captions() for scene in train]
    pixels_PCHW, test_PCHW = pictures(train), pictures(test)
    offers = [offer(scene) for scene in test]
    counts: dict[str, np.ndarray] = {}
    for kind in ("plain", "augmented"):
        model, objective = _fresh(captions), HallucinationContrast()
        rows, chance = batches(len(train), budget.batch), random.Random(0)

        def loss(step: int, model: Pair = model, kind: str = kind):  # type: ignore[no-untyped-def]
            which = rows(step)  # noqa: B023 used within this turn only
            texts = [chance.choice(captions[row]) for row in which]  # noqa: B023
            images_PD = model.images(pixels_PCHW[which])
            if kind == "plain":
                return objective.contrast(images_PD, model.texts(texts), alike(texts))  # noqa: B023
            lies = [lie(train[row], step) for row in which]
            both_PD = model.texts([*texts, *lies])
            return objective(images_PD, both_PD[: len(which)], both_PD[len(which) :, None], alike(texts))  # noqa: B023

        course = fit([*model.parameters(), *objective.parameters()], loss, budget.steps, RATE)
        counts[kind] = chair(model.eval(), test_PCHW, test, offers)
    both = np.concatenate([counts["plain"], counts["augmented"]], axis=1)
    return {
        "plain": estimate(counts["plain"], _rate),
        "augmented": estimate(counts["augmented"], _rate),
        "cut": estimate(both, lambda rows: 1 - _rate(rows[:, 2:]) / max(_rate(rows[:, :2]), 1e-9)),
        "fall": _plain(course.fall()),
    }


def lie(scene: Scene, draw: int) -> str:
    """A caption with one thing too many, another one at each draw."""
    return hallucinate(scene.things, "en", Dice(*scene.key, "negative", draw)).caption


def offer(scene: Scene) -> list[str]:
    """The true list of things, then four with one thing too many."""
    return [
        scene.captions()[0],
        *(hallucinate(scene.things, "en", Dice(*scene.key, "offer", draw)).caption for draw in range(4)),
    ]


@torch.no_grad()
def chair(model: Pair, pixels_PCHW: Tensor, some: Sequence[Scene], offers: Sequence[Sequence[str]]) -> np.ndarray:
    """For each scene: things named by the chosen caption that are not there, and all that it names, `(P, 2)`."""
    rows = []
    for start in range(0, len(some), 32):
        images_PD = model.images(pixels_PCHW[start : start + 32])
        texts_XD = model.texts([text for row in offers[start : start + 32] for text in row])
        scores_PC = (texts_XD.view(len(images_PD), -1, images_PD.shape[1]) @ images_PD[:, :, None])[..., 0]
        for scene, best in zip(some[start : start + 32], scores_PC.argmax(1).tolist(), strict=True):
            rows.append((float(best > 0), float(len(scene.things) + (best > 0))))
    return np.array(rows)


def _rate(rows: np.ndarray) -> float:
    return float(rows[:, 0].sum() / rows[:, 1].sum())


def _fresh(captions: Sequence[tuple[str, ...]]) -> Pair:
    torch.manual_seed(0)
    lists = [text for row in captions for text in row]
    return tiny_dual([*lists, *(text for row in NAMES for text in row)])


def _plain(value: float) -> Estimate:
    """A number of the run itself, without items to draw from."""
    return Estimate(value, value, value, 1)


Measure = Callable[[], dict[str, Estimate]]
