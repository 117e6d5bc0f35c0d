"""Placements: each position's own piece of the medium; together the pieces are the whole."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.batch import Modality, Placement

side = st.integers(1, 8)


def place(modality: Modality, grid: tuple[int, ...], extent: tuple[float, ...], **rest: object) -> Placement:
    return Placement(0, 0, 0, modality, 5, grid, extent, **rest)  # type: ignore[arg-type]


def area(box: tuple[float, ...]) -> float:
    top, left, bottom, right = box
    return (bottom - top) * (right - left)


@given(side, side)
def test_the_cells_of_a_picture_tile_it(rows: int, cols: int) -> None:
    image = place(Modality.IMAGE, (rows, cols), (0.5, 0.0, 1.0, 0.5))
    cells = [image.cell(position) for position in range(image.start, image.stop)]
    assert sum(map(area, cells)) == pytest.approx(0.25)
    assert cells[0][:2] == pytest.approx((0.5, 0.0))
    assert cells[-1][2:] == pytest.approx((1.0, 0.5))


@given(st.integers(1, 50))
def test_the_steps_of_a_sound_follow_one_another(steps: int) -> None:
    sound = place(Modality.AUDIO, (steps,), (10.0, 14.0))
    cells = [sound.cell(position) for position in range(sound.start, sound.stop)]
    assert cells[0][0] == 10.0
    assert cells[-1][1] == pytest.approx(14.0)
    assert all(before[1] == pytest.approx(after[0]) for before, after in pairwise(cells))


def test_a_cell_of_a_clip_is_a_time_and_a_box() -> None:
    clip = place(Modality.VIDEO, (2, 2, 2), (0.0, 8.0))
    assert clip.cell(clip.start) == (0.0, 4.0, 0.0, 0.0, 0.5, 0.5)
    assert clip.cell(clip.stop - 1) == (4.0, 8.0, 0.5, 0.5, 1.0, 1.0)


def test_a_token_of_a_text_is_its_characters_and_a_word_read_in_a_picture_its_line() -> None:
    text = place(Modality.TEXT, (2,), (0.0, 9.0), cuts=(0, 4, 9))
    assert [text.cell(5), text.cell(6)] == [(0.0, 4.0), (4.0, 9.0)]
    line = place(Modality.TEXT, (2,), (0.1, 0.0, 0.2, 1.0))
    assert line.cell(6) == (0.1, 0.0, 0.2, 1.0)


@pytest.mark.parametrize("position", [4, 11])
def test_a_position_outside_is_refused(position: int) -> None:
    with pytest.raises(IndexError, match=r"5\.\.10"):
        place(Modality.IMAGE, (2, 3), (0.0, 0.0, 1.0, 1.0)).cell(position)
