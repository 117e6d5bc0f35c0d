from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sensorium.batch import Features, Modality, Placement
from sensorium.errors import RequestError
from sensorium.fusion.splice import splice

WIDTH = 4


def place(row: int, start: int, grid: tuple[int, ...], kind: Modality = Modality.IMAGE, part: int = 0) -> Placement:
    return Placement(row, 0, part, kind, start, grid, (0.0, 0.0, 1.0, 1.0))


def ramp(pieces: int, steps: int, first: float = 100.0) -> Tensor:
    return torch.arange(pieces * steps * WIDTH, dtype=torch.float).view(pieces, steps, WIDTH) + first


def full(x: Tensor) -> Features:
    return Features(x, torch.ones(x.shape[:2], dtype=torch.bool))


def test_each_position_gets_its_own_feature_and_text_stays() -> None:
    embeds = torch.zeros(2, 8, WIDTH)
    pictures, sound = ramp(2, 4), ramp(1, 2, first=1000.0)
    placements = [place(0, 1, (2, 2)), place(1, 0, (2, 2)), place(1, 6, (2,), Modality.AUDIO, part=1)]
    out = splice(embeds, placements, {Modality.IMAGE: full(pictures), Modality.AUDIO: full(sound)})
    expected = embeds.clone()
    expected[0, 1:5], expected[1, :4], expected[1, 6:8] = pictures[0], pictures[1], sound[0]
    assert torch.equal(out, expected)
    assert torch.equal(embeds, torch.zeros(2, 8, WIDTH))


def test_only_valid_steps_are_written_wherever_the_gaps_are() -> None:
    x = ramp(2, 4)
    valid = torch.tensor([[True, False, True, True], [False, True, False, False]])
    placements = [place(0, 2, (3,), Modality.AUDIO), place(0, 6, (1,), Modality.AUDIO)]
    out = splice(torch.zeros(1, 8, WIDTH), placements, {Modality.AUDIO: Features(x, valid)})
    assert torch.equal(out[0, 2:5], x[0, [0, 2, 3]])
    assert torch.equal(out[0, 6], x[1, 1])


def test_words_read_in_a_picture_need_no_features() -> None:
    embeds = torch.randn(1, 4, WIDTH)
    assert torch.equal(splice(embeds, [place(0, 1, (2,), Modality.TEXT)], {}), embeds)


def test_gradients_reach_features_and_kept_text_but_not_overwritten_text() -> None:
    embeds = torch.randn(1, 5, WIDTH, requires_grad=True)
    x = ramp(1, 4).requires_grad_()
    splice(embeds, [place(0, 1, (2, 2))], {Modality.IMAGE: full(x)}).sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))
    assert embeds.grad is not None
    assert embeds.grad[0, :, 0].tolist() == [1, 0, 0, 0, 0]


def test_features_take_the_dtype_of_the_text() -> None:
    out = splice(torch.zeros(1, 4, WIDTH, dtype=torch.bfloat16), [place(0, 0, (2, 2))], {Modality.IMAGE: full(ramp(1, 4))})
    assert out.dtype is torch.bfloat16


@pytest.mark.parametrize(
    ("placements", "features", "words"),
    [
        ([place(0, 0, (2, 2), part=3)], {}, ["image", "row 0", "part 3", "1 placements", "0 pieces"]),
        ([], {Modality.IMAGE: full(ramp(1, 4))}, ["image", "0 placements", "1 pieces"]),
        (
            [place(0, 0, (2, 2)), place(1, 0, (2, 2), part=5)],
            {Modality.IMAGE: full(ramp(1, 4))},
            ["row 1", "part 5", "2 placements", "1 pieces"],
        ),
        ([place(1, 0, (2, 3), part=2)], {Modality.IMAGE: full(ramp(1, 4))}, ["row 1", "part 2", "6 positions", "4 valid"]),
        ([place(0, 5, (2, 2))], {Modality.IMAGE: full(ramp(1, 4))}, ["row 0", "positions 5..8", "rows of 8"]),
        ([place(2, 0, (2, 2))], {Modality.IMAGE: full(ramp(1, 4))}, ["row 2", "2 rows"]),
        ([place(0, 0, (2, 2))], {Modality.IMAGE: full(torch.zeros(1, 4, 7))}, ["width 7", "text has 4"]),
        ([place(1, 1, (2, 2)), place(1, 3, (2, 2))], {Modality.IMAGE: full(ramp(2, 4))}, ["overlap", "position 3", "row 1"]),
    ],
)
def test_what_does_not_fit_is_named_with_both_counts(
    placements: list[Placement], features: dict[Modality, Features], words: list[str]
) -> None:
    with pytest.raises(RequestError) as caught:
        splice(torch.zeros(2, 8, WIDTH), placements, features)
    assert [word for word in words if word not in str(caught.value)] == []


@given(st.lists(st.tuples(st.sampled_from([Modality.IMAGE, Modality.AUDIO]), st.integers(1, 5), st.integers(0, 3)), max_size=6))
def test_what_is_spliced_can_be_read_back(pieces: list[tuple[Modality, int, int]]) -> None:
    """Pieces of any length with any gap before each, alternating between two rows."""
    ends, placements = [0, 0], []
    for number, (kind, length, gap) in enumerate(pieces):
        row = number % 2
        placements.append(place(row, ends[row] + gap, (1, length) if kind is Modality.IMAGE else (length,), kind))
        ends[row] += gap + length
    features = {}
    for kind in {kind for kind, _, _ in pieces}:
        lengths = torch.tensor([item.length for item in placements if item.modality is kind])
        features[kind] = Features(torch.randn(len(lengths), 6, WIDTH), torch.arange(6)[None] < lengths[:, None])
    embeds = torch.randn(2, max(*ends, 1), WIDTH)
    out, left = splice(embeds, placements, features), torch.ones(embeds.shape[:2], dtype=torch.bool)
    for kind, given_ in features.items():
        for number, item in enumerate(item for item in placements if item.modality is kind):
            assert torch.equal(out[item.sample, item.start : item.stop], given_.x_BTD[number, : item.length])
            left[item.sample, item.start : item.stop] = False
    assert torch.equal(out[left], embeds[left])
