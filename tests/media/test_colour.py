"""Pixel modes: depth, alpha, palettes, CMYK, profiles."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageCms

from sensorium.media.image import decode

from .damage import png, png_chunk
from .made import drawing, saved


def grey(values: object, form: str = "TIFF", **options: object) -> tuple[list[int], tuple[str, ...]]:
    picture = decode(saved(Image.fromarray(np.array([values])), form, **options))
    assert (picture.pixels_CHW[0] == picture.pixels_CHW[2]).all()
    return picture.pixels_CHW[0, 0].tolist(), picture.notes


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits(form: str) -> None:
    values = np.array([0, 128, 129, 257, 32768, 65535], np.uint16)
    assert grey(values, form) == ([0, 0, 1, 1, 128, 255], ("16-bit grey read as 8-bit",))


def test_sixteen_bits_where_zero_is_white() -> None:
    levels, _ = grey(np.array([0, 65535], np.uint16), tiffinfo={262: 0})
    assert levels == [255, 0]


def test_sixteen_bit_colour() -> None:
    import zlib

    rows = b"\0" + np.array([65535, 32896, 0, 257, 514, 771], ">u2").tobytes()
    picture = decode(png(2, 1, zlib.compress(rows), depth=16))
    assert picture.pixels_CHW[:, 0].T.tolist() == [[255, 128, 0], [1, 2, 3]]
    assert picture.notes == ("16-bit channels read as 8-bit",)


@pytest.mark.parametrize(
    ("values", "levels", "note"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255], "float pixels in 0..1 read as 8-bit"),
        ([0.0, 71.0, 255.0], [0, 71, 255], "float pixels in 0..255 read as 8-bit"),
        ([-10.0, 0.0, 10.0], [0, 128, 255], "float pixels stretched from -10..10 to 0..255"),
        ([7.5, 7.5, 7.5], [8, 8, 8], "float pixels in 0..255 read as 8-bit"),
    ],
)
def test_floats(values: list[float], levels: list[int], note: str) -> None:
    assert grey(np.array(values, np.float32)) == (levels, (note,))


def test_floats_that_are_not_numbers() -> None:
    levels, notes = grey(np.array([np.nan, 0.0, 1.0, np.inf], np.float32))
    assert levels == [0, 0, 255, 0]
    assert notes[0] == "2 pixels are not numbers and read as black"


@pytest.mark.parametrize(
    ("values", "levels", "note"),
    [
        ([0, 65535], [0, 255], "32-bit integer pixels in 0..65535 read as 8-bit"),
        ([-5, 100_000], [0, 255], "32-bit integer pixels stretched from -5..100000 to 0..255"),
    ],
)
def test_long_integers(values: list[int], levels: list[int], note: str) -> None:
    assert grey(np.array(values, np.int32)) == (levels, (note,))


def test_transparent_parts_are_shown_on_white() -> None:
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 3] = (0, 128, 255)
    for form in ("PNG", "WEBP", "TIFF"):
        options = {"lossless": True, "exact": True} if form == "WEBP" else {}
        picture = decode(saved(Image.fromarray(pixels, "RGBA"), form, **options))
        assert picture.pixels_CHW[:, 0].T.tolist() == [[255] * 3, [127] * 3, [0] * 3]
        assert picture.notes == ("transparent parts are shown on white",)


def test_alpha_that_hides_nothing_is_not_mentioned() -> None:
    assert decode(saved(drawing("RGBA"), "PNG")).notes == ()


def test_a_transparent_palette_and_a_transparent_grey() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 9, 8, 7])
    palette.putpixel((1, 0), 1)
    picture = decode(saved(palette, "PNG", transparency=0))
    assert picture.pixels_CHW[:, 0].T.tolist() == [[255] * 3, [9, 8, 7]]
    picture = decode(saved(Image.fromarray(np.array([[5, 6]], np.uint8)), "PNG", transparency=5))
    assert picture.pixels_CHW[0, 0].tolist() == [255, 6]


def test_bits_and_grey() -> None:
    assert grey(np.array([0, 100, 255], np.uint8), "PNG") == ([0, 100, 255], ())
    assert grey(np.array([False, True]), "PNG") == ([0, 255], ())


def test_cmyk() -> None:
    picture = decode(saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF"))
    assert picture.pixels_CHW[:, 0, 0].tolist() == [255, 0, 0]
    assert picture.notes == ("CMYK without a colour profile read as RGB",)


def profile(gamma_swapped: bool) -> bytes:
    """sRGB, or sRGB with the red and blue primaries exchanged under another name, whose effect nobody can miss."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    if not gamma_swapped:
        return bytes(data)
    red, blue = data.index(b"rXYZ"), data.index(b"bXYZ")
    data[red : red + 4], data[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(data).replace("sRGB".encode("utf-16-be"), "Swap".encode("utf-16-be"))


def test_a_profile_is_converted_to_srgb() -> None:
    image = Image.new("RGB", (4, 4), (255, 0, 0))
    picture = decode(saved(image, "PNG", icc_profile=profile(True)))
    assert picture.pixels_CHW[2, 0, 0] > 240
    assert picture.pixels_CHW[0, 0, 0] < 15
    assert len(picture.notes) == 1
    assert picture.notes[0].startswith("colours converted from the profile 'Swap")


def test_srgb_itself_changes_nothing() -> None:
    picture = decode(saved(Image.new("RGB", (4, 4), (200, 30, 40)), "PNG", icc_profile=profile(False)))
    assert picture.pixels_CHW[:, 0, 0].tolist() == [200, 30, 40]
    assert picture.notes == ()


def test_a_profile_that_cannot_be_read_is_ignored_and_that_is_said() -> None:
    picture = decode(saved(Image.new("RGB", (4, 4), (200, 30, 40)), "PNG", icc_profile=b"x" * 400))
    assert picture.pixels_CHW[:, 0, 0].tolist() == [200, 30, 40]
    assert picture.notes == ("its colour profile cannot be read and was ignored",)


def test_chunks_are_made_right() -> None:
    assert png_chunk(b"IEND", b"") == b"\0\0\0\0IEND\xaeB`\x82"
