"""PDF: pages, words with their boxes, limits, and a reader that cannot be held for ever."""

from __future__ import annotations

import time

import pytest

from sensorium.errors import LimitError, MediaError, RequestError
from sensorium.media.document import decode
from sensorium.media.source import Limits

from .damage import hostile
from .made import pdf, valid

HOSTILE = {file.name: file.data for file in hostile() if file.name.endswith(".pdf")}


def test_pages_are_rendered_with_their_words() -> None:
    pages = decode(pdf([["Hello page one", "second line"], ["Page two"]]), dpi=72)
    assert (pages.total, len(pages), pages.name, pages.notes) == (2, 2, "the given bytes", ())
    first, second = pages
    assert (first.number, second.number) == (1, 2)
    assert [reading.text for reading in first.readings] == ["Hello page one", "second line"]
    assert [reading.text for reading in second.readings] == ["Page two"]
    assert first.picture.pixels_CHW.shape == (3, 200, 300)
    assert first.picture.name == "the given bytes, page 1"
    assert {reading.confidence for reading in first.readings} == {1.0}


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_boxes_hold_the_ink(rotate: int) -> None:
    """All dark pixels of a page lie within the boxes of its lines, and every box holds some, whichever way it is turned."""
    (page,) = decode(pdf([["Hello", "Wgpqjy"]], box="10 -20 310 180", rotate=rotate), dpi=100)
    dark_HW = page.picture.pixels_CHW.float().mean(0) < 100
    height, width = dark_HW.shape
    assert (height > width) == (rotate % 180 == 90)
    assert len(page.readings) == 2
    for reading in page.readings:
        y0, x0, y1, x1 = reading.extent
        box = (slice(int(y0 * height) - 2, int(y1 * height) + 3), slice(int(x0 * width) - 2, int(x1 * width) + 3))
        assert dark_HW[box].any()
        dark_HW[box] = False
    assert not dark_HW.any()


def test_pages_may_be_chosen_and_read_again() -> None:
    data = pdf([["one"], ["two"], ["three"]])
    pages = decode(data, 2, 3)
    assert [page.readings[0].text for page in pages] == ["two", "three"]
    assert [page.number for page in pages] == [2, 3]
    assert pages.total == 3
    assert [page.number for page in decode(data, 3)] == [3]


def test_two_readers_side_by_side() -> None:
    left, right = decode(pdf([["a"], ["b"]])), decode(pdf([["c"], ["d"]]))
    texts = [(one.readings[0].text, two.readings[0].text) for one, two in zip(left, right, strict=True)]
    assert texts == [("a", "c"), ("b", "d")]


def test_page_limits_say_how_to_choose() -> None:
    data = pdf([[str(n)] for n in range(5)])
    words = r"would give 5 of its 5 pages, over the limit of 2. Choose pages, such as first=1, last=2, or raise Limits.pages"
    with pytest.raises(LimitError, match=words):
        decode(data, limits=Limits(pages=2))
    assert len(decode(data, 2, 3, limits=Limits(pages=2))) == 2
    with pytest.raises(MediaError, match=r"has 5 pages, and page 9 was asked for. Choose pages from 1 to 5"):
        decode(data, 9)
    with pytest.raises(MediaError, match="pages 2 to 6 was asked for"):
        decode(data, 2, 6)


def test_a_page_too_large_names_the_resolution_that_fits() -> None:
    pages = decode(pdf([["x"]], box="0 0 7200 7200"), dpi=144)
    words = r"page 1: has 14400 x 14400 pixels at 144 dpi, over the limit of 64,000,000. Render it at 80 dpi or less"
    with pytest.raises(LimitError, match=words):
        list(pages)
    assert next(iter(decode(pdf([["x"]], box="0 0 720 720"), dpi=80, limits=Limits(pixels=640_000)))).number == 1


def test_requests_that_make_no_sense() -> None:
    with pytest.raises(RequestError, match=r"pages 3..2: are no range of pages"):
        decode(valid()["plain.pdf"], 3, 2)
    with pytest.raises(RequestError, match="dpi 0: is out of range"):
        decode(valid()["plain.pdf"], dpi=0)


def test_what_cannot_be_read() -> None:
    with pytest.raises(MediaError, match="is encrypted. Save a copy without the password first".replace(".", r"\.")):
        decode(HOSTILE["locked.pdf"])
    with pytest.raises(MediaError, match="is image/png, not a PDF"):
        decode(valid()["plain.png"])
    with pytest.raises(MediaError, match="cannot be read as a PDF"):
        decode(HOSTILE["header only.pdf"])
    with pytest.raises(MediaError, match="cannot be read as page 1 of a PDF"):
        list(decode(HOSTILE["pages in a ring.pdf"]))


@pytest.mark.parametrize("name", ["form within itself.pdf", "forms to the power.pdf"])
def test_a_page_that_would_take_for_ever_is_ended(name: str) -> None:
    begin = time.monotonic()
    words = r"page 1: takes over 2 s to read, the limit. Choose other pages, or raise Limits.timeout"
    with pytest.raises(LimitError, match=words):
        list(decode(HOSTILE[name], limits=Limits(timeout=2)))
    assert time.monotonic() - begin < 15


def test_a_reader_that_dies_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(MediaError, match=r"cannot be read as a PDF \(the reader ended with code 1\)"):
        decode(valid()["plain.pdf"])


def test_a_scan_has_no_words() -> None:
    (page,) = decode(pdf([[]]))
    assert page.readings == ()
    assert page.picture.pixels_CHW.min() == 255
