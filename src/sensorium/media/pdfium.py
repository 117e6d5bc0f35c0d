"""PDFium in a process of its own, which a time limit can end: run with `python -m`, it answers requests through pipes.

Parsing one hostile page can take PDFium longer than the universe has (forms that draw forms), and nothing inside can stop it.
In: the file's size as a line, the file, then a JSON line `[page, dpi, pixels]` a request. Out: a JSON line each,
and after it the rendered page as RGB bytes.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Iterator
from typing import IO, Any

import pypdfium2 as pdfium
import pypdfium2.raw as raw

ERRORS = (pdfium.PdfiumError, OSError, ValueError, TypeError, RuntimeError, MemoryError, ctypes.ArgumentError)
"""What pypdfium2 raises on damaged files."""

ENCRYPTED = (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY)
CHARACTERS = 200_000
_MEMORY = 4 << 30
_HYPHENS = {0x02: "-", 0xFFFE: "-"}
_GRID = 1_000_000


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests until there are no more."""
    data = requests.read(int(requests.readline()))
    try:
        document = pdfium.PdfDocument(data)
        total = len(document)
    except ERRORS as error:
        _say(answers, {"error": str(error), "encrypted": getattr(error, "err_code", None) in ENCRYPTED})
        return
    _say(answers, {"total": total})
    for line in requests:
        number, dpi, pixels = json.loads(line)
        try:
            answer, picture = read_page(document, number, dpi, pixels)
        except ERRORS as error:
            answer, picture = {"error": str(error) or type(error).__name__}, b""
        _say(answers, answer, picture)
    document.close()


def read_page(document: pdfium.PdfDocument, number: int, dpi: float, pixels: int) -> tuple[dict[str, Any], bytes]:
    """One page: its size, `lines` of `[text, y0, x0, y1, x1]`, and its RGB bytes row by row.

    A page over a limit says so instead: `points` (its size) or `characters`.
    """
    page = document[number - 1]
    try:
        points = page.get_size()
        width, height = (max(round(side * dpi / 72), 1) for side in points)
        if width * height > pixels:
            return {"points": points, "width": width, "height": height}, b""
        text = page.get_textpage()
        if (count := text.count_chars()) > CHARACTERS:
            return {"characters": count}, b""
        lines = list(_lines(page, text, count))
        text.close()
        bitmap = page.render(scale=dpi / 72, rev_byteorder=True, force_bitmap_format=raw.FPDFBitmap_BGR)
        picture = _tight(bitmap)
        return {"width": bitmap.width, "height": bitmap.height, "lines": lines}, picture
    finally:
        page.close()


def _tight(bitmap: pdfium.PdfBitmap) -> bytes:
    row, stored = 3 * bitmap.width, bytes(bitmap.buffer)
    return b"".join(stored[at : at + row] for at in range(0, bitmap.stride * bitmap.height, bitmap.stride))


def _lines(page: pdfium.PdfPage, text: pdfium.PdfTextPage, count: int) -> Iterator[tuple[str | float, ...]]:
    codes = [raw.FPDFText_GetUnicode(text, index) for index in range(count)]
    begin = 0
    for index, code in enumerate([*codes, 10]):
        if code not in (10, 13):
            continue
        words = _words(codes[begin:index])
        if words:
            yield words, *_box(page, text, begin, index - begin)
        begin = index + 1


def _words(codes: list[int]) -> str:
    text = "".join(_HYPHENS.get(code, chr(code)) for code in codes if 0 < code < 0x110000)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").strip()


def _box(page: pdfium.PdfPage, text: pdfium.PdfTextPage, first: int, count: int) -> tuple[float, float, float, float]:
    boxes = [text.get_rect(index) for index in range(text.count_rects(first, count))]
    if not boxes:
        return 0.0, 0.0, 1.0, 1.0
    left, low, right, high = (pick(side) for pick, side in zip((min, min, max, max), zip(*boxes, strict=True), strict=True))
    corners = [_on_picture(page, x, y) for x in (left, right) for y in (low, high)]
    ys, xs = [y for y, _ in corners], [x for _, x in corners]
    return min(ys), min(xs), max(ys), max(xs)


def _on_picture(page: pdfium.PdfPage, x: float, y: float) -> tuple[float, float]:
    column, row = ctypes.c_int(), ctypes.c_int()
    raw.FPDF_PageToDevice(page, 0, 0, _GRID, _GRID, 0, x, y, column, row)
    return min(max(row.value / _GRID, 0.0), 1.0), min(max(column.value / _GRID, 0.0), 1.0)


def _say(answers: IO[bytes], answer: dict[str, Any], picture: bytes = b"") -> None:
    answers.write(json.dumps(answer).encode() + b"\n" + picture)
    answers.flush()


def main() -> None:
    """Serve standard input, with a cap on memory where the system has one; what PDFium itself prints goes nowhere."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        import resource
    except ImportError:
        pass
    else:
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
