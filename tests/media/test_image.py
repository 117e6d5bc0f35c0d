"""Pictures: formats, orientation, tiles, limits."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sensorium.errors import LimitError, MediaError
from sensorium.media.animation import animation
from sensorium.media.image import (
    Picture,
    Resampling,
    crop,
    decode,
    draw_boxes,
    encode_png,
    is_animated,
    resize,
    tile_grid,
    tiles,
    to_pillow,
)
from sensorium.media.source import Limits

from .damage import png
from .made import HEIGHT, WIDTH, drawing, filmed, moving, saved, valid

GREEN, BLUE, RED = (20, 180, 60), (30, 60, 210), (200, 30, 40)


def near(pixels_CHW: torch.Tensor, y: int, x: int, colour: tuple[int, int, int], within: int = 0) -> bool:
    return (pixels_CHW[:, y, x].int() - torch.tensor(colour)).abs().max().item() <= within


@pytest.mark.parametrize(
    ("form", "within"),
    [("PNG", 0), ("BMP", 0), ("TIFF", 0), ("GIF", 16), ("JPEG", 60), ("WEBP", 60)],
    ids=str,
)
def test_every_format(form: str, within: int) -> None:
    picture = decode(saved(drawing(), form))
    assert picture.pixels_CHW.shape == (3, HEIGHT, WIDTH)
    assert picture.pixels_CHW.dtype == torch.uint8
    assert (picture.width, picture.height, picture.notes) == (WIDTH, HEIGHT, ())
    for place, colour in (((5, 5), GREEN), ((20, 44), BLUE), ((20, 20), RED)):
        assert near(picture.pixels_CHW, *place, colour, within)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_orientation_is_obeyed(form: str, turn: int) -> None:
    """The stored picture is turned so that the tag brings it back upright: corners must be where they were drawn."""
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    upright = drawing()
    stored = upright.transpose(back[turn]) if turn in back else upright
    exif = Image.Exif()
    exif[0x0112] = turn
    picture = decode(saved(stored, form, exif=exif, **({"quality": 95} if form in ("JPEG", "WEBP") else {})))
    assert picture.pixels_CHW.shape == (3, HEIGHT, WIDTH)
    assert (picture.width, picture.height) == stored.size or form == "TIFF"
    assert picture.turned == (turn in back) or form == "TIFF"
    for place, colour in (((5, 5), GREEN), ((20, 44), BLUE), ((28, 5), RED)):
        assert near(picture.pixels_CHW, *place, colour, 60)


@pytest.mark.parametrize("turn", [0, 9, 65535])
def test_an_orientation_that_is_none_changes_nothing(turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    picture = decode(saved(drawing(), "PNG", exif=exif))
    assert near(picture.pixels_CHW, 5, 5, GREEN) and not picture.turned


def test_path_and_bytes_give_the_same(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(valid()["plain.jpg"])
    picture = decode(str(path))
    assert torch.equal(picture.pixels_CHW, decode(valid()["plain.jpg"]).pixels_CHW)
    assert picture.notes == ("named .png, but read as image/jpeg, which it is",)
    assert picture.name == str(path)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_read_and_that_is_said(form: str) -> None:
    assert is_animated(moving(form, 5))
    assert not is_animated(saved(drawing(), form))
    assert decode(moving(form, 5)).notes == ("the first of 5 frames was read; give it as a video to read more",)


def test_of_a_tiff_the_first_page_is_read_and_that_is_said() -> None:
    data = saved(drawing(), "TIFF", save_all=True, append_images=[drawing("L").convert("RGB")])
    assert decode(data).notes == ("the first of 2 pages was read",)
    assert not is_animated(data)


def test_the_pixel_limit_stands_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _: pytest.fail("decoded"))
    for data in (png(9000, 9000, b"no data at all"), saved(Image.new("1", (3000, 3000)), "TIFF"), moving("GIF", 2)):
        with pytest.raises(LimitError, match=r"has \d+ x \d+ = .* pixels, over the limit of 1,000"):
            decode(data, Limits(pixels=1000))


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": Image.Exif()}], ids=("plain", "lossless", "with-exif"))
def test_a_webp_says_its_size_before_it_is_opened(options: dict[str, object]) -> None:
    assert animation(saved(drawing(), "WEBP", **options), "image/webp")[1:3] == (WIDTH, HEIGHT)


def test_pillows_own_alarm_is_neither_changed_nor_heard(recwarn: pytest.WarningsRecorder) -> None:
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(LimitError, match=r"14000 x 14000 = 196,000,000 pixels"):
        decode(saved(Image.new("1", (14000, 14000)), "PNG"))
    assert before == Image.MAX_IMAGE_PIXELS
    assert not recwarn.list


def test_too_many_scans() -> None:
    data = valid()["progressive.jpg"]
    scan = data[data.index(b"\xff\xda") : -2]
    assert decode(data[:-2] + scan * 100 + b"\xff\xd9").width == WIDTH
    at = data.find(b"\xff\xc2")
    large = data[: at + 5] + b"\x0f\xa0\x0f\xa0" + data[at + 9 : -2]
    with pytest.raises(LimitError, match=r"in \d+ scans, over the limit of 40. Save it again as JPEG"):
        decode(large + scan * 100 + b"\xff\xd9")


def test_a_png_whose_checksum_is_wrong_is_refused() -> None:
    data = bytearray(valid()["plain.png"])
    data[data.index(b"IDAT") + 20] ^= 4
    with pytest.raises(MediaError, match=r"the checksum at byte \d+ is wrong"):
        decode(bytes(data))


def test_what_is_no_picture() -> None:
    for data, kind in (
        (filmed("mp4", "mpeg4", count=3), "video/mp4"),
        (b"words", "text/plain"),
        (b"\0\0\0\x18ftypheic", "image/heic"),
    ):
        with pytest.raises(MediaError, match=f"is {kind}, not a picture that can be read"):
            decode(data)
    with pytest.raises(MediaError, match=r"the given bytes: cannot be read as a picture \(.*\). The file is damaged"):
        decode(valid()["plain.jpg"][:400])


@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from(list(Resampling)))
def test_resize_is_pillows(height: int, width: int, resample: Resampling) -> None:
    image = drawing()
    pixels_CHW = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    expected = np.array(image.resize((width, height), resample))
    assert np.array_equal(resize(pixels_CHW, height, width, resample).permute(1, 2, 0).numpy(), expected)


def test_resize_of_one_channel() -> None:
    grey_CHW = torch.arange(48, dtype=torch.uint8).view(1, 6, 8)
    assert resize(grey_CHW, 3, 4).shape == (1, 3, 4)


def test_crop() -> None:
    pixels_CHW = torch.arange(100, dtype=torch.uint8).view(1, 10, 10)
    assert crop(pixels_CHW, (0.2, 0.5, 0.4, 1.0)).tolist() == [[[25, 26, 27, 28, 29], [35, 36, 37, 38, 39]]]
    assert crop(pixels_CHW, (1.0, 1.0, 1.0, 1.0)).tolist() == [[[99]]]


@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 12))
def test_tiles_cover_the_picture_once(height: int, width: int, most: int) -> None:
    picture = Picture(torch.zeros(3, height, width, dtype=torch.uint8), "zeros", width, height)
    (whole_CHW, extent), *cells = tiles(picture, 32, most)
    assert whole_CHW.shape == (3, 32, 32)
    assert extent == (0, 0, 1, 1)
    rows, cols = tile_grid(height, width, 32, most)
    assert len(cells) == (rows * cols if rows * cols > 1 else 0)
    assert rows * cols <= most
    assert all(cell_CHW.shape == (3, 32, 32) for cell_CHW, _ in cells)
    for (_, left), (_, right) in pairwise(cells):
        same_row = right[0] == left[0]
        assert right[1] == (left[3] if same_row else 0)
        assert right[0] == (left[0] if same_row else left[2])
    if cells:
        assert cells[-1][1][2:] == (1, 1)


def test_tiles_show_what_their_extent_says() -> None:
    picture = decode(saved(drawing(), "PNG"))
    assert tile_grid(HEIGHT, WIDTH, 16, 6) == (2, 3)
    for tile_CHW, extent in tiles(picture, 16, 6)[1:]:
        assert torch.equal(tile_CHW, crop(picture.pixels_CHW, extent))
    assert len(tiles(picture, 64, 6)) == 1


@pytest.mark.parametrize(
    ("height", "width", "most", "grid"),
    [(448, 448, 12, (1, 1)), (896, 896, 12, (2, 2)), (400, 1600, 12, (1, 4)), (1600, 800, 6, (2, 1)), (100, 100, 12, (1, 1))],
)
def test_grids(height: int, width: int, most: int, grid: tuple[int, int]) -> None:
    assert tile_grid(height, width, 448, most) == grid


def test_png_round_trip_and_drawing() -> None:
    picture = decode(valid()["plain.jpg"])
    assert torch.equal(decode(encode_png(picture.pixels_CHW)).pixels_CHW, picture.pixels_CHW)
    drawn_CHW = draw_boxes(picture.pixels_CHW, [((0.25, 0.25, 0.75, 0.75), "word"), ((0.9, 0.9, 0.1, 0.1), "")])
    assert drawn_CHW.shape == picture.pixels_CHW.shape
    assert not torch.equal(drawn_CHW, picture.pixels_CHW)
    assert Image.open(io.BytesIO(encode_png(drawn_CHW))).size == (WIDTH, HEIGHT)


def test_pixels_of_another_shape_are_refused() -> None:
    with pytest.raises(MediaError, match=r"are torch.float32 \(3, 4, 4\). Give uint8"):
        to_pillow(torch.zeros(3, 4, 4))
