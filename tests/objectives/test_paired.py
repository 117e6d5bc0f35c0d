"""A dual encoder's step: chunks change nothing, near-duplicates are found, hallucinated texts are learned from."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sensorium.model.pair import Pair, tiny_dual
from sensorium.objectives.contrastive import Contrast, alike
from sensorium.objectives.hallucination import HallucinationContrast
from sensorium.objectives.paired import PairBatch, Paired

TEXTS = ["A red star.", "a blue star", "the red star", "a green ring above it", "a ring"]


@pytest.fixture(scope="module")
def model() -> Pair:
    return tiny_dual(TEXTS, size=32, patch=8, width=32, depth=1).double()


def batch(**more: object) -> PairBatch:
    pixels_PCHW = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return PairBatch(pixels_PCHW, TEXTS, **more)  # type: ignore[arg-type]


def gradients(model: Pair, objective: Contrast | HallucinationContrast, chunk: int, given: PairBatch) -> list[Tensor]:
    step = Paired(objective.double(), chunk)
    parameters = [*(parameter for parameter in model.parameters() if parameter.requires_grad), *step.parameters()]
    return list(torch.autograd.grad(step(model, given).total, parameters))


@pytest.mark.parametrize("form", ["softmax", "sigmoid"])
def test_chunks_through_real_towers_give_the_whole_batchs_gradient(model: Pair, form: str) -> None:
    whole = gradients(model, Contrast(form), 0, batch())  # type: ignore[arg-type]
    parts = gradients(model, Contrast(form), 2, batch())  # type: ignore[arg-type]
    assert max(float((one - other).abs().max()) for one, other in zip(whole, parts, strict=True)) < 1e-6
    assert max(float(one.abs().max()) for one in whole) > 1e-3


def test_near_duplicates_are_found_in_the_batch(model: Pair) -> None:
    images_PD, texts_PD = model.images(batch().pixels_PCHW), model.texts(TEXTS)
    same = [0, 1, 2, 3, 3]
    objective = Contrast().double()
    found = Paired(objective)(model, batch(pictures=same)).total
    assert torch.allclose(found, objective(images_PD, texts_PD, alike(TEXTS, same)).total)
    assert not torch.allclose(found, objective(images_PD, texts_PD).total)


def test_hallucinated_texts_are_learned_from(model: Pair) -> None:
    lies = ["a red ring", "a blue ring", "a ring", "a star", "a star"]
    objective = HallucinationContrast().double()
    found = Paired(objective, 3)(model, batch(hallucinated=lies))
    wanted = objective(model.images(batch().pixels_PCHW), model.texts(TEXTS), model.texts(lies)[:, None], alike(TEXTS))
    assert torch.allclose(found.total, wanted.total)
    assert set(found.terms) == {"loss", "resisted"}
