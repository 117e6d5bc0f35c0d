"""Word-region transport: the plan against a linear programme, by hand, and what the objective teaches."""

from __future__ import annotations

import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor
from torch.nn import functional as F

from sensorium.batch import Features
from sensorium.nn.trace import Trace
from sensorium.objectives.word_region import Aligner, WordRegion, ipot, transport


def exact(cost_LG: Tensor) -> tuple[Tensor, float]:
    """The optimal plan between even distributions, as a linear programme."""
    words, regions = cost_LG.shape
    rows = torch.eye(words).repeat_interleave(regions, 1)
    columns = torch.eye(regions).repeat(1, words)
    wanted = [1 / words] * words + [1 / regions] * regions
    found = linprog(cost_LG.flatten().double().numpy(), A_eq=torch.cat([rows, columns]).numpy(), b_eq=wanted)
    return torch.tensor(found.x).view(words, regions).float(), float(found.fun)


@pytest.mark.parametrize(("words", "regions"), [(4, 4), (3, 5), (6, 2), (1, 3)])
def test_the_plan_is_the_linear_programmes(words: int, regions: int) -> None:
    cost_BLG = torch.rand(2, words, regions) * 2
    plan_BLG = ipot(cost_BLG, torch.ones(2, words, dtype=torch.bool), torch.ones(2, regions, dtype=torch.bool), rounds=1000)
    for row in range(2):
        plan_LG, distance = exact(cost_BLG[row])
        assert float((plan_BLG[row] * cost_BLG[row]).sum()) == pytest.approx(distance, abs=1e-3)
        torch.testing.assert_close(plan_BLG[row], plan_LG, atol=5e-3, rtol=0)


def test_fifty_rounds_come_near() -> None:
    cost_BLG = 1 - F.normalize(torch.randn(1, 8, 16), dim=-1) @ F.normalize(torch.randn(1, 4, 16), dim=-1).transpose(1, 2)
    plan_BLG = ipot(cost_BLG, torch.ones(1, 8, dtype=torch.bool), torch.ones(1, 4, dtype=torch.bool))
    assert float((plan_BLG * cost_BLG).sum()) == pytest.approx(exact(cost_BLG[0])[1], abs=0.02)


def test_a_plan_worked_by_hand() -> None:
    """Word 0 wants region 0, words 1 and 2 region 1; a region takes half of all, so one of them shares."""
    cost_BLG = torch.tensor([[[0.0, 1.0], [0.6, 0.0], [1.0, 0.0]]])
    plan_BLG = ipot(cost_BLG, torch.ones(1, 3, dtype=torch.bool), torch.ones(1, 2, dtype=torch.bool), rounds=1000)
    wanted = torch.tensor([[[1 / 3, 0.0], [1 / 6, 1 / 6], [0.0, 1 / 3]]])
    torch.testing.assert_close(plan_BLG, wanted, atol=1e-3, rtol=0)


def test_padding_gets_nothing_and_changes_nothing() -> None:
    cost_BLG = torch.rand(1, 3, 4)
    words_BL, regions_BG = torch.tensor([[True, True, False]]), torch.tensor([[True, False, True, True]])
    plan_BLG = ipot(cost_BLG, words_BL, regions_BG)
    assert float(plan_BLG[0, 2].sum()) == float(plan_BLG[0, :, 1].sum()) == 0.0
    cut_BLG = cost_BLG[:, :2][:, :, [0, 2, 3]]
    alone_BLG = ipot(cut_BLG, torch.ones(1, 2, dtype=torch.bool), torch.ones(1, 3, dtype=torch.bool))
    torch.testing.assert_close(plan_BLG[:, :2][:, :, [0, 2, 3]], alone_BLG)
    assert float(ipot(cost_BLG, torch.zeros(1, 3, dtype=torch.bool), regions_BG).sum()) == 0.0


def test_the_distance_is_of_cosines_and_its_gradient_leaves_the_plan_alone() -> None:
    words = Features(torch.randn(1, 2, 8, requires_grad=True), torch.ones(1, 2, dtype=torch.bool))
    regions = Features(3 * words.x_BTD.detach()[:, [1, 0]], torch.ones(1, 2, dtype=torch.bool))
    moved = transport(words, regions, rounds=200)
    torch.testing.assert_close(moved.plan_BLG, torch.tensor([[[0.0, 0.5], [0.5, 0.0]]]), atol=1e-3, rtol=0)
    assert float(moved.distance_B.detach()) == pytest.approx(0.0, abs=1e-3)
    assert not moved.plan_BLG.requires_grad
    moved.distance_B.sum().backward()
    assert words.x_BTD.grad is not None


def test_matched_pairs_come_near_and_mismatched_ones_go_far() -> None:
    words_BLD, regions_BGD = torch.randn(6, 3, 8), torch.randn(6, 2, 8)
    into = torch.nn.Linear(8, 8)
    matched_B = torch.arange(6) < 3
    objective, optimizer, terms = WordRegion(margin=0.8), torch.optim.Adam(into.parameters(), 0.02), []
    valid = [torch.ones(6, count, dtype=torch.bool) for count in (3, 2)]
    for _ in range(150):
        trace = Trace(["word_region.plan"])
        loss = objective(Features(into(words_BLD), valid[0]), Features(regions_BGD, valid[1]), matched_B, trace)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        terms.append({name: total / count for name, (total, count) in loss.terms.items()})
    assert loss.size == 3.0
    assert terms[-1]["word_region"] < 0.6 * terms[0]["word_region"]
    assert terms[-1]["word_region_wrong"] > terms[0]["word_region_wrong"]
    torch.testing.assert_close(trace.result()["word_region.plan"].sum((1, 2)), torch.ones(6), atol=1e-4, rtol=0)
    assert (
        "word_region_wrong"
        not in objective(Features(words_BLD, valid[0]), Features(regions_BGD, valid[1]), torch.ones(6, dtype=torch.bool)).terms
    )


def test_a_word_is_compared_with_those_beside_it_and_no_others() -> None:
    align, x_BTD = Aligner(8), torch.randn(1, 5, 8)
    there_BL = torch.tensor([[True, True, True, True, False]])
    regions = Features(torch.randn(1, 2, 8), torch.ones(1, 2, dtype=torch.bool))

    def said(x_BTD: torch.Tensor) -> torch.Tensor:
        return align(Features(x_BTD, there_BL), regions)[0].x_BTD[0]

    for changed, felt in ((0, [True, True, False, False]), (2, [False, True, True, True]), (4, [False] * 4)):
        other_BTD = x_BTD.clone()
        other_BTD[0, changed] += 1.0
        assert (said(x_BTD) - said(other_BTD)).abs().amax(-1)[:4].gt(1e-6).tolist() == felt
