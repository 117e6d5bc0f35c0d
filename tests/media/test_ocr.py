"""Words in pictures."""

from __future__ import annotations

import sys

import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from sensorium.errors import DependencyError
from sensorium.media import ocr
from sensorium.media.image import Picture, to_tensor
from sensorium.parts import Reading


def board(words: dict[tuple[int, int], str]) -> Picture:
    image = Image.new("RGB", (640, 240), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(36)
    for place, text in words.items():
        pen.text(place, text, fill="black", font=font)
    return Picture(to_tensor(image), "board", *image.size)


def test_words_are_read_in_order_with_their_boxes(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rapidocr")
    found = ocr.read(board({(360, 30): "WORLD 42", (30, 30): "HELLO", (30, 150): "last line"}))
    assert [reading.text for reading in found] == ["HELLO", "WORLD 42", "last line"]
    for reading, left, top in zip(found, (30, 360, 30), (30, 30, 150), strict=True):
        y0, x0, y1, x1 = reading.extent
        assert 0 <= y0 < y1 <= 1
        assert x0 * 640 == pytest.approx(left, abs=12)
        assert top - 8 < y0 * 240 < top + 20
        assert x1 > x0
        assert reading.confidence > 0.9
    assert ocr.read(board({})) == ()
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_strips_are_read_in_bounded_time() -> None:
    pytest.importorskip("rapidocr")
    image = Image.new("RGB", (1600, 40), "white")
    ImageDraw.Draw(image).text((10, 0), "HELLO STRIP", fill="black", font=ImageFont.load_default(32))
    (found,) = ocr.read(Picture(to_tensor(image), "strip", *image.size))
    assert found.text.replace(" ", "") == "HELLOSTRIP"
    assert found.extent[2] - found.extent[0] > 0.5
    assert found.extent[3] < 0.2
    assert ocr._prepared(torch.zeros(3, 2000, 5, dtype=torch.uint8)).shape == (2000, 500, 3)
    assert ocr._prepared(torch.zeros(3, 30, 100, dtype=torch.uint8)).shape == (30, 100, 3)


def test_reading_order() -> None:
    def line(text: str, y: float, x: float) -> Reading:
        return Reading(text, (y, x, y + 0.1, x + 0.2))

    lines = [line("d", 0.5, 0.1), line("b", 0.12, 0.5), line("a", 0.1, 0.1), line("c", 0.3, 0.0), line("e", 0.48, 0.6)]
    assert "".join(reading.text for reading in ocr.in_order(lines)) == "abcde"
    assert ocr.in_order([]) == ()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    ocr._engine.cache_clear()
    with pytest.raises(DependencyError, match=r"needs rapidocr. pip install 'sensorium\[ocr\]'"):
        ocr.read(board({}))
    ocr._engine.cache_clear()
