"""Regions of boxes by hand, and the origin of every position."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sensorium.batch import Modality, Placement
from sensorium.errors import RequestError
from sensorium.fusion.pairs import Pairs, Regions, Words, cells, geometry, pad, pool_boxes

WHOLE = (0.0, 0.0, 1.0, 1.0)


def pairs() -> Pairs:
    """Row 0: [CLS] two words [SEP], two regions. Row 1: [CLS] one word [SEP], one region."""
    text = [
        Placement(0, 1, 0, Modality.TEXT, 1, (2,), (0.0, 8.0), cuts=(0, 4, 8)),
        Placement(0, 1, 0, Modality.TEXT, 1, (1,), (0.0, 3.0)),
    ]
    valid_BL = torch.tensor([[True] * 4, [True] * 3 + [False]])
    words = Words(
        torch.tensor([[1, 5, 6, 2], [1, 7, 2, 0]]), valid_BL, torch.zeros(2, 4, dtype=torch.bool), ((text[0],), (text[1],))
    )
    boxes_BGX = torch.tensor([[[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]], [[0.1, 0.2, 0.3, 0.4], [0.0] * 4]])
    spots = tuple(
        tuple(Placement(0, 0, 0, Modality.IMAGE, g, (1, 1), tuple(boxes_BGX[b, g].tolist())) for g in range(2 - b))
        for b in range(2)
    )
    regions = Regions(torch.arange(12.0).view(2, 2, 3), torch.tensor([[True, True], [True, False]]), boxes_BGX, spots)
    return Pairs(words, regions)


def test_every_position_knows_where_it_comes_from() -> None:
    both = pairs()
    assert both.origin(0, 0) is None
    assert both.origin(1, 3) is None
    word = both.origin(0, 2)
    assert word is not None
    assert (word.message, word.cell(2)) == (1, (4.0, 8.0))
    region = both.origin(0, 5)
    assert region is not None
    assert (region.sample, region.modality, region.cell(5)) == (0, Modality.IMAGE, (0.5, 0.5, 1.0, 1.0))
    assert both.origin(1, 5) is None


def test_rows_can_be_put_together_anew() -> None:
    mixed = pairs().take([1, 0, 0], [0, 0, 1])
    assert mixed.words.ids_BL[:, 1].tolist() == [7, 5, 5]
    assert mixed.regions.valid_BG.tolist() == [[True, True], [True, True], [True, False]]
    word, region = mixed.origin(0, 1), mixed.origin(2, 4)
    assert word is not None
    assert region is not None
    assert (word.sample, region.sample) == (0, 2)
    assert region.cell(4) == pytest.approx((0.1, 0.2, 0.3, 0.4))


def test_blind_regions_keep_their_number_and_show_nothing() -> None:
    blind = pairs().regions.blind()
    assert float(blind.x_BGD.abs().max()) == float(blind.boxes_BGX.abs().max()) == 0.0
    assert blind.valid_BG.tolist() == pairs().regions.valid_BG.tolist()


def test_texts_without_a_picture_each_are_refused() -> None:
    both = pairs()
    with pytest.raises(RequestError, match="are 1 texts with 2 pictures"):
        Pairs(both.words.take([0]), both.regions)


def test_a_box_is_the_mean_of_what_it_covers() -> None:
    cells_TX = cells((2, 2), WHOLE)
    assert cells_TX.tolist() == [[0.0, 0.0, 0.5, 0.5], [0.0, 0.5, 0.5, 1.0], [0.5, 0.0, 1.0, 0.5], [0.5, 0.5, 1.0, 1.0]]
    x_TD = torch.tensor([[1.0], [2.0], [4.0], [8.0]])
    boxes_GX = torch.tensor([WHOLE, (0.0, 0.0, 0.5, 0.5), (0.0, 0.25, 0.5, 0.625), (0.25, 0.0, 0.75, 1.0)])
    wanted = [15 / 4, 1.0, (2 * 1 + 1 * 2) / 3, 15 / 4]
    assert pool_boxes(x_TD, cells_TX, boxes_GX)[:, 0].tolist() == pytest.approx(wanted)


@given(st.integers(1, 4), st.integers(1, 4), st.floats(0.0, 0.8), st.floats(0.0, 0.8), st.floats(0.05, 0.2))
def test_pooling_keeps_what_is_the_same_everywhere(rows: int, cols: int, y: float, x: float, side: float) -> None:
    box_GX = torch.tensor([[y, x, y + side, x + side]])
    pooled = pool_boxes(torch.full((rows * cols, 1), 3.0), cells((rows, cols), WHOLE), box_GX)
    assert float(pooled) == pytest.approx(3.0, abs=1e-4)


def test_a_box_outside_the_picture_is_refused() -> None:
    with pytest.raises(RequestError, match=r"box \[1.5, 1.5, 2.0, 2.0\]: covers nothing"):
        pool_boxes(torch.ones(4, 1), cells((2, 2), WHOLE), torch.tensor([WHOLE, (1.5, 1.5, 2.0, 2.0)]))


def test_geometry_is_uniters_seven_numbers() -> None:
    seven = geometry(torch.tensor([0.1, 0.2, 0.5, 0.8]))
    assert seven.tolist() == pytest.approx([0.2, 0.1, 0.8, 0.5, 0.6, 0.4, 0.24])


def test_rows_of_different_lengths_are_padded_and_marked() -> None:
    padded = pad([torch.ones(1, 2), torch.ones(3, 2)])
    assert padded.valid_BT.tolist() == [[True, False, False], [True, True, True]]
    assert padded.x_BTD[0, 1:].abs().sum() == 0
