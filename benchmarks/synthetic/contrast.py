"""Contrast on the synthetic world: naming 16 classes without training on their names, wrong captions, hallucinated things."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.judged import On
from benchmarks.synthetic.fit import Course, batches, fit, pictures, scenes
from sensorium.data.synthetic import CLASSES, Dice, Scene, Thing, name
from sensorium.data.synthetic.captions import hallucinate
from sensorium.estimate import Estimate, estimate
from sensorium.media.image import resize
from sensorium.model.pair import Pair, tiny_dual
from sensorium.objectives.contrastive import Contrast, Doubt, Form, alike, holding
from sensorium.objectives.hallucination import HallucinationContrast

WINDOW = 32
NAMES = [[name(Thing(shape, colour, "large", (0.0, 0.0, 1.0, 1.0)), "en")] for colour, shape in CLASSES]


class Budget(NamedTuple):
    """How much is trained and measured: scenes, steps of `batch` pairs, and how many scenes it is judged by, of which.

    Args:
        patch, width, depth: of the pictures' tower. rate: of learning.
    """

    scenes: int = 4000
    steps: int = 1000
    batch: int = 64
    test: int = 480
    on: On = "test"
    patch: int = 8
    width: int = 64
    depth: int = 2
    rate: float = 3e-3


WHOLE = Budget(48000, 4000, 64, rate=2e-3)
"""For whole pictures, in which a thing is anywhere."""


class Lesson(NamedTuple):
    """How naming is learned.

    Args:
        form, doubt: of the objective. wrong: the share of captions that change places. whole: pictures of 64 pixels;
            otherwise a window of 32 around the thing, which keeps its size.
    """

    form: Form = "softmax"
    wrong: float = 0.0
    doubt: Doubt | None = None
    whole: bool = False


def naming(lesson: Lesson, budget: Budget | None = None) -> dict[str, Estimate]:
    """A model that has learned captions of scenes of one thing is asked to name the things of new scenes.

    Returns:
        `named`: the share of scenes named rightly among 16 (chance 1/16); `fall`: by what share the loss fell.
    """
    budget = budget or (WHOLE if lesson.whole else Budget())
    model, course = taught(lesson, budget)
    return {"named": named(model, lesson, scenes(budget.test, budget.on, single=True)), "fall": _plain(course.fall())}


def taught(lesson: Lesson, budget: Budget) -> tuple[Pair, Course]:
    """Each caption is one of two, of which one says more; a caption that says no more than a picture's own is right for it."""
    train = scenes(budget.scenes, single=True)
    captions = [(said[0], said[3]) for said in (scene.captions() for scene in train)]
    told = shuffled(captions, lesson.wrong)
    pixels_PCHW, rows, chance = _shown(lesson, train), batches(len(train), budget.batch), random.Random(0)
    model, objective = _fresh(captions, budget, pixels_PCHW.shape[-1]), Contrast(lesson.form, lesson.doubt)

    def loss(step: int):  # type: ignore[no-untyped-def]
        which = rows(step)
        texts = [chance.choice(told[row]) for row in which]
        return objective(model.images(pixels_PCHW[which]), model.texts(texts), holding(texts))

    course = fit([*model.parameters(), *objective.parameters()], loss, budget.steps, budget.rate)
    return model.eval(), course


def named(model: Pair, lesson: Lesson, some: Sequence[Scene]) -> Estimate:
    """The share of scenes of one thing that are named rightly among 16."""
    gold_P = torch.tensor([CLASSES.index(scene.things[0].pair) for scene in some])
    best_P = model.name(_shown(lesson, some), model.classes(NAMES)).best_P
    return estimate((best_P == gold_P).numpy())


def _shown(lesson: Lesson, some: Sequence[Scene]) -> Tensor:
    return pictures(some) if lesson.whole else windows(some)


def windows(some: Sequence[Scene]) -> Tensor:
    """The surroundings of each scene's first thing, uint8 `(P, 3, 32, 32)`, at the scale of the picture."""
    return torch.stack([_window(scene) for scene in some])


def sheets(some: Sequence[Scene]) -> Tensor:
    """Each scene's things, 16 pixels wide, in the order of the scene on a sheet of four, uint8 `(P, 3, 32, 32)`."""
    made = torch.zeros(len(some), 3, WINDOW, WINDOW, dtype=torch.uint8)
    half = WINDOW // 2
    for sheet_CHW, scene in zip(made, some, strict=True):
        picture_CHW = pictures([scene])[0]
        for place, thing in enumerate(scene.things):
            y0, x0, y1, x1 = thing.cells(scene.size)
            cut_CHW = resize(picture_CHW[:, y0:y1, x0:x1], half, half)
            top, left = place // 2 * half, place % 2 * half
            sheet_CHW[:, top : top + half, left : left + half] = cut_CHW
    return made


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

    The model sees each thing cut out at its box, up to four on a sheet. Each scene offers five captions worded alike: the
    true list of its things, and four that name one thing more. CHAIR-i (Rohrbach et al. 2018) is counted over the captions
    that the model finds nearest: things named that are not in the picture, of all things named.

    Returns:
        `plain`, `augmented`: CHAIR-i after equally many steps from the same start; `scenes, ...`: the share of scenes with
        anything invented, whose interval has a width where that is none; `cut`: by what share CHAIR-i fell, with a paired
        interval over scenes; `fall`: of the augmented loss.
    """
    budget = budget or Budget()
    train, test = scenes(budget.scenes), scenes(budget.test, budget.on)
    captions = [scene.captions() for scene in train]
    pixels_PCHW, test_PCHW = sheets(train), sheets(test)
    offers = [offer(scene) for scene in test]
    counts: dict[str, np.ndarray] = {}
    for kind in ("plain", "augmented"):
        model, objective = _fresh(captions, budget, WINDOW), HallucinationContrast()
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

        course = fit([*model.parameters(), *objective.parameters()], loss, budget.steps, budget.rate)
        counts[kind] = chair(model.eval(), test_PCHW, test, offers)
    both = np.concatenate([counts["plain"], counts["augmented"]], axis=1)
    return {
        "plain": estimate(counts["plain"], _rate),
        "augmented": estimate(counts["augmented"], _rate),
        "scenes, plain": estimate(counts["plain"][:, 0] > 0),
        "scenes, augmented": estimate(counts["augmented"][:, 0] > 0),
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


def _window(scene: Scene) -> Tensor:
    y, x = (round(value * scene.size) - WINDOW // 2 for value in scene.things[0].centre)
    top, left = min(max(0, y), scene.size - WINDOW), min(max(0, x), scene.size - WINDOW)
    return pictures([scene])[0][:, top : top + WINDOW, left : left + WINDOW].clone()


def _rate(rows: np.ndarray) -> float:
    return float(rows[:, 0].sum() / rows[:, 1].sum())


def _fresh(captions: Sequence[tuple[str, ...]], budget: Budget, size: int) -> Pair:
    torch.manual_seed(0)
    texts = [*(text for row in captions for text in row), *(text for row in NAMES for text in row)]
    return tiny_dual(texts, size=size, patch=budget.patch, width=budget.width, depth=budget.depth)


def _plain(value: float) -> Estimate:
    """A number of the run itself, without items to draw from."""
    return Estimate(value, value, value, 1)
