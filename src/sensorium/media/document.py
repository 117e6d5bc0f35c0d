"""A PDF's pages as pictures with the words of their text layer."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as raw
import torch

from sensorium.errors import LimitError, MediaError, RequestError
from sensorium.media.image import Picture
from sensorium.media.source import Access, Blob, Limits, load
from sensorium.parts import Reading, Source

PDFIUM_ERRORS = (pdfium.PdfiumError, OSError, ValueError, TypeError, RuntimeError, MemoryError, ctypes.ArgumentError)
"""What pypdfium2 raises on damaged files."""

_PDFIUM = threading.Lock()
_HYPHENS = {0x02: "-", 0xFFFE: "-"}
_CHARACTERS = 200_000


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """One page.

    Args:
        number: from 1. picture: as printed, white where nothing is.
        readings: the lines of its text layer, boxes `(y0, x0, y1, x1)` in 0..1; empty for a scan.
    """

    number: int
    picture: Picture
    readings: tuple[Reading, ...]


class Pages:
    """The chosen pages of a document, rendered one at a time each time they are iterated; no file stays open in between.

    Attributes:
        total: pages the document holds. numbers: the chosen ones, from 1. name, notes: of the document.
    """

    def __init__(self, blob: Blob, total: int, numbers: range, dpi: float, limits: Limits) -> None:
        self.name, self.notes, self.numbers, self.total = blob.name, blob.notes, numbers, total
        self._blob, self._dpi, self._limits = blob, dpi, limits

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Page]:
        with _opened(self._blob) as document:
            for number in self.numbers:
                yield self._page(document, number)

    def _page(self, document: pdfium.PdfDocument, number: int) -> Page:
        name = f"{self.name}, page {number}"
        try:
            with _PDFIUM:
                page = document[number - 1]
                try:
                    picture = self._render(page, name)
                    return Page(number, picture, _lines(page, name))
                finally:
                    page.close()
        except PDFIUM_ERRORS as error:
            raise self._blob.damaged(f"page {number} of a PDF", error) from error

    def _render(self, page: pdfium.PdfPage, name: str) -> Picture:
        scale = self._dpi / 72
        points = page.get_size()
        width, height = (max(round(side * scale), 1) for side in points)
        if width * height > self._limits.pixels:
            fitting = int(72 * (self._limits.pixels / (points[0] * points[1])) ** 0.5)
            problem = f"has {width} x {height} pixels at {self._dpi:g} dpi, over the limit of {self._limits.pixels:,}"
            raise LimitError(name, problem, f"Render it at {max(fitting, 1)} dpi or less, or raise Limits.pixels")
        bitmap = page.render(scale=scale, rev_byteorder=True)
        array = bitmap.to_numpy()
        grey = array.ndim == 2 or array.shape[2] == 1
        array = np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2) if grey else array[:, :, :3]
        pixels_CHW = torch.from_numpy(np.array(array)).permute(2, 0, 1).contiguous()
        bitmap.close()
        return Picture(pixels_CHW, name, pixels_CHW.shape[2], pixels_CHW.shape[1])


def decode(
    source: Source | Blob,
    first: int = 1,
    last: int | None = None,
    dpi: float = 150.0,
    limits: Limits | None = None,
    access: Access | None = None,
) -> Pages:
    """Open pages `first` to `last` (from 1, both included; None is the last) of a PDF; iterate the result to render them.

    Raises:
        MediaError: not a PDF, encrypted, damaged, or without such pages. LimitError: too many pages, or a page too large at
            this `dpi` (while iterating). RequestError: pages or dpi out of range. AccessError: see `source.load`.
    """
    limits = limits or Limits()
    if first < 1 or (last is not None and last < first):
        raise RequestError(f"pages {first}..{last}", "are no range of pages", "Give 1 <= first <= last")
    if not 1 <= dpi <= 1200:
        raise RequestError(f"dpi {dpi}", "is out of range", "Choose 1 to 1200; 150 is usual")
    blob = load(source, limits, access)
    if blob.media_type != "application/pdf":
        raise MediaError(blob.name, f"is {blob.media_type}, not a PDF", "Save the document as PDF")
    with _opened(blob) as document:
        total = len(document)
    if first > total or (last or 1) > total:
        wanted = f"page {first}" if first > total else f"pages {first} to {last}"
        raise MediaError(blob.name, f"has {total} pages, and {wanted} was asked for", f"Choose pages from 1 to {total}")
    numbers = range(first, (last or total) + 1)
    if len(numbers) > limits.pages:
        problem = f"would give {len(numbers)} of its {total} pages, over the limit of {limits.pages}"
        remedy = f"Choose pages, such as first={first}, last={first + limits.pages - 1}, or raise Limits.pages"
        raise LimitError(blob.name, problem, remedy)
    return Pages(blob, total, numbers, dpi, limits)


@contextmanager
def _opened(blob: Blob) -> Iterator[pdfium.PdfDocument]:
    try:
        with _PDFIUM:
            document = pdfium.PdfDocument(blob.data)
            total = len(document)
    except pdfium.PdfiumError as error:
        if getattr(error, "err_code", None) in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY):
            raise MediaError(blob.name, "is encrypted", "Save a copy without the password first") from error
        raise blob.damaged("a PDF", error) from error
    except PDFIUM_ERRORS as error:
        raise blob.damaged("a PDF", error) from error
    try:
        if total < 1:
            raise blob.damaged("a PDF", "it has no pages")
        yield document
    finally:
        with _PDFIUM:
            document.close()


def _lines(page: pdfium.PdfPage, name: str) -> tuple[Reading, ...]:
    text = page.get_textpage()
    try:
        count = text.count_chars()
        if count > _CHARACTERS:
            problem = f"has {count:,} characters, over the limit of {_CHARACTERS:,}"
            raise LimitError(name, problem, "Choose other pages; this one is not meant for reading")
        codes = [raw.FPDFText_GetUnicode(text, index) for index in range(count)]
        found = [_reading(page, text, codes, span) for span in _spans(codes)]
    finally:
        text.close()
    return tuple(reading for reading in found if reading.text)


def _spans(codes: list[int]) -> Iterator[tuple[int, int]]:
    begin = 0
    for index, code in enumerate([*codes, 10]):
        if code in (10, 13):
            if index > begin:
                yield begin, index
            begin = index + 1


def _reading(page: pdfium.PdfPage, text: pdfium.PdfTextPage, codes: list[int], span: tuple[int, int]) -> Reading:
    words = _decoded(codes[span[0] : span[1]])
    boxes = [text.get_rect(index) for index in range(text.count_rects(span[0], span[1] - span[0]))]
    if not words or not boxes:
        return Reading(words, (0.0, 0.0, 1.0, 1.0))
    left, low, right, high = (pick(side) for pick, side in zip((min, min, max, max), zip(*boxes, strict=True), strict=True))
    corners = [_on_picture(page, x, y) for x in (left, right) for y in (low, high)]
    ys, xs = [y for y, _ in corners], [x for _, x in corners]
    return Reading(words, (min(ys), min(xs), max(ys), max(xs)))


def _decoded(codes: list[int]) -> str:
    text = "".join(_HYPHENS.get(code, chr(code)) for code in codes if 0 < code < 0x110000)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").strip()


def _on_picture(page: pdfium.PdfPage, x: float, y: float) -> tuple[float, float]:
    size = 1_000_000
    column, row = ctypes.c_int(), ctypes.c_int()
    raw.FPDF_PageToDevice(page, 0, 0, size, size, 0, x, y, column, row)
    return min(max(row.value / size, 0.0), 1.0), min(max(column.value / size, 0.0), 1.0)
