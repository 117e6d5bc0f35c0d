"""Image-text matching: which wrong partners are drawn, and the loss by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sensorium.errors import RequestError
from sensorium.objectives.matching import Matching, Partners, judge, mine
from tests.objectives.joint_toys import pairs, toy


def test_wrong_partners_are_drawn_by_their_similarity() -> None:
    similar_PP = torch.tensor([[9.0, 1.0, 0.0, -1.0], [0.0, 9.0, 2.0, 0.0], [0.0, 0.0, 9.0, 0.0], [0.5, 0.0, 0.0, 9.0]])
    alike_PP = torch.eye(4, dtype=torch.bool)
    drawn = [mine(similar_PP, alike_PP, seed) for seed in range(1500)]
    texts = torch.tensor([partners.texts for partners in drawn])
    pictures = torch.tensor([partners.pictures for partners in drawn])
    for row in range(4):
        for found, scores in ((texts[:, row], similar_PP[row]), (pictures[:, row], similar_PP[:, row])):
            wanted = scores.masked_fill(alike_PP[row], float("-inf")).softmax(0)
            share = torch.bincount(found, minlength=4) / len(drawn)
            torch.testing.assert_close(share, wanted, atol=0.05, rtol=0)
    assert mine(similar_PP, alike_PP, 7) == mine(similar_PP, alike_PP, 7)


def test_what_fits_as_well_never_passes_for_wrong() -> None:
    alike_PP = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])
    for seed in range(50):
        partners = mine(torch.zeros(3, 3), alike_PP, seed)
        assert (partners.texts[:2], partners.pictures[:2]) == ([2, 2], [2, 2])
    with pytest.raises(RequestError, match="finds no wrong partner"):
        mine(torch.zeros(3, 3), torch.ones(3, 3, dtype=torch.bool), 0)


def test_the_loss_is_the_binary_cross_entropy_of_three_judgements_a_pair() -> None:
    model, both = toy(), pairs()
    partners = Partners([1, 2, 0], [2, 0, 1])
    loss, output, matched_B = judge(model, both, partners)
    assert matched_B.tolist() == [True] * 3 + [False] * 6
    logits = [float(model.match(model(both.take([text], [picture])).pooled_BD)) for text, picture in (
        (0, 0), (1, 1), (2, 2), (1, 0), (2, 1), (0, 2), (0, 2), (1, 0), (2, 1)
    )]  # fmt: skip
    wanted = F.binary_cross_entropy_with_logits(torch.tensor(logits), matched_B.float(), reduction="sum")
    assert float(loss.total.detach()) == pytest.approx(float(wanted), abs=1e-4)
    assert (loss.size, len(output.pairs)) == (9.0, 9)


def test_by_default_partners_are_drawn_evenly() -> None:
    model, both = toy(), pairs()
    loss = Matching()(model, both, 3)
    wanted = judge(model, both, mine(torch.zeros(3, 3), torch.eye(3, dtype=torch.bool), 3))[0]
    assert float(loss.total.detach()) == float(wanted.total.detach())
