"""Objectives against the plain formula, and what their options change."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sensorium.batch import Features
from sensorium.objectives.contrastive import contrast
from sensorium.objectives.naming import Naming


def test_contrast_is_the_symmetric_cross_entropy_where_a_picture_has_one_text() -> None:
    torch.manual_seed(0)
    images_PD, texts_PD = F.normalize(torch.randn(5, 8), dim=-1), F.normalize(torch.randn(5, 8), dim=-1)
    loss = contrast(images_PD, texts_PD[:, None], torch.tensor(10.0))
    scores_PP, own_P = 10 * images_PD @ texts_PD.t(), torch.arange(5)
    wanted = (F.cross_entropy(scores_PP, own_P) + F.cross_entropy(scores_PP.t(), own_P)) / 2
    assert float(loss.total) / loss.size == pytest.approx(float(wanted), abs=1e-5)


def test_contrast_takes_all_texts_of_a_picture_for_right() -> None:
    images_PD = torch.eye(3)
    right = contrast(images_PD, images_PD[:, None].expand(-1, 2, -1), torch.tensor(20.0))
    wrong = contrast(images_PD, images_PD.roll(1, 0)[:, None].expand(-1, 2, -1), torch.tensor(20.0))
    assert float(right.total) / 3 < 0.7  # two equally right texts: ln 2 in one direction, 0 in the other
    assert float(wrong.total) / 3 > 10
    assert right.terms["found"] == (3.0, 3)


def test_naming_teaches_outputs_to_resemble_the_words() -> None:
    torch.manual_seed(0)
    embeddings_VD = torch.randn(20, 16)
    naming = Naming(embeddings_VD, [3, 5, 7], [0.3, 0.3, 0.3])
    outputs_PTD = torch.randn(2, 4, 16, requires_grad=True)
    valid_PT = torch.ones(2, 4, dtype=torch.bool)
    present_PV = torch.tensor([[1, 0, 0], [0, 1, 1]])
    optimizer = torch.optim.Adam([outputs_PTD], 0.1)
    first = float(naming(Features(outputs_PTD, valid_PT), present_PV).total.detach())
    for _ in range(60):
        optimizer.zero_grad()
        naming(Features(outputs_PTD, valid_PT), present_PV).total.backward()
        optimizer.step()
    assert float(naming(Features(outputs_PTD, valid_PT), present_PV).total.detach()) < 0.3 * first
    nearest = F.normalize(outputs_PTD[0], dim=-1) @ F.normalize(embeddings_VD[3] - embeddings_VD.mean(0), dim=-1)
    assert float(nearest.max().detach()) > 0.5
