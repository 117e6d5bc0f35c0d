"""A PDF's pages as pictures with the words of their text layer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from sensorium.errors import LimitError, MediaError, RequestError
from sensorium.media.image import Picture
from sensorium.media.source import Access, Blob, Limits, load
from sensorium.parts import Reading, Source


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
    """The chosen pages of a document, rendered one at a time each time they are iterated; nothing stays open in between.

    Attributes:
        total: pages the document holds. numbers: the chosen ones, from 1. name, notes: of the document.
    """

    def __init__(self, blob: Blob, total: int, numbers: range, dpi: float, limits: Limits) -> None:
        self.name, self.notes, self.numbers, self.total = blob.name, blob.notes, numbers, total
        self._blob, self._dpi, self._limits = blob, dpi, limits

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Page]:
        with _reader(self._blob, self._limits) as (_, reader):
            for number in self.numbers:
                yield self._page(reader, number)

    def _page(self, reader: _Reader, number: int) -> Page:
        name = f"{self.name}, page {number}"
        answer = reader.ask(name, [number, self._dpi, self._limits.pixels])
        if "error" in answer:
            raise self._blob.damaged(f"page {number} of a PDF", answer["error"])
        if "points" in answer:
            raise self._too_large(name, answer)
        if "characters" in answer:
            problem = f"has {answer['characters']:,} characters, over the limit for one page"
            raise LimitError(name, problem, "Choose other pages; this one is not meant for reading")
        width, height = answer["width"], answer["height"]
        pixels_HWC = torch.frombuffer(bytearray(reader.read(name, 3 * width * height)), dtype=torch.uint8).view(
            height, width, 3
        )
        picture = Picture(pixels_HWC.permute(2, 0, 1).contiguous(), name, width, height)
        return Page(number, picture, tuple(Reading(text, tuple(box)) for text, *box in answer["lines"]))

    def _too_large(self, name: str, answer: dict[str, Any]) -> LimitError:
        wide, high = answer["points"]
        fitting = int(72 * (self._limits.pixels / (wide * high)) ** 0.5)
        size = f"{answer['width']} x {answer['height']} pixels"
        problem = f"has {size} at {self._dpi:g} dpi, over the limit of {self._limits.pixels:,}"
        return LimitError(name, problem, f"Render it at {max(fitting, 1)} dpi or less, or raise Limits.pixels")


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
        MediaError: not a PDF, encrypted, damaged, or without such pages. LimitError: too many pages; while iterating, a page
            too large at this `dpi` or too slow. RequestError: pages or dpi out of range. AccessError: see `source.load`.
    """
    limits = limits or Limits()
    if first < 1 or (last is not None and last < first):
        raise RequestError(f"pages {first}..{last}", "are no range of pages", "Give 1 <= first <= last")
    if not 1 <= dpi <= 1200:
        raise RequestError(f"dpi {dpi}", "is out of range", "Choose 1 to 1200; 150 is usual")
    blob = load(source, limits, access)
    if blob.media_type != "application/pdf":
        raise MediaError(blob.name, f"is {blob.media_type}, not a PDF", "Save the document as PDF")
    with _reader(blob, limits) as (total, _):
        pass
    if first > total or (last or 1) > total:
        wanted = f"page {first}" if first > total else f"pages {first} to {last}"
        raise MediaError(blob.name, f"has {total} pages, and {wanted} was asked for", f"Choose pages from 1 to {total}")
    numbers = range(first, (last or total) + 1)
    if len(numbers) > limits.pages:
        problem = f"would give {len(numbers)} of its {total} pages, over the limit of {limits.pages}"
        remedy = f"Choose pages, such as first={first}, last={first + limits.pages - 1}, or raise Limits.pages"
        raise LimitError(blob.name, problem, remedy)
    return Pages(blob, total, numbers, dpi, limits)


class _Reader:
    """The other end of `media.pdfium`; every wait ends at the time limit."""

    def __init__(self, blob: Blob, limits: Limits) -> None:
        self._blob, self._limits, self._late = blob, limits, False
        command = [sys.executable, "-P", "-m", "sensorium.media.pdfium"]
        places = os.pathsep.join(place for place in sys.path if place)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": places},
        )

    def open(self) -> dict[str, Any]:
        """Send the file; what the reader says of it."""
        return self._exchange(self._blob.name, f"{self._blob.size}\n".encode() + self._blob.data)

    def ask(self, name: str, request: list[float]) -> dict[str, Any]:
        """One request, one answer."""
        return self._exchange(name, json.dumps(request).encode() + b"\n")

    def read(self, name: str, size: int) -> bytes:
        """The bytes that follow an answer."""
        assert self._process.stdout is not None
        data = self._process.stdout.read(size)
        if len(data) < size:
            raise self._gone(name)
        return data

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except OSError:
                continue
        self._process.wait()

    def _exchange(self, name: str, message: bytes) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        timer = threading.Timer(self._limits.timeout, self._stop)
        timer.daemon = True
        timer.start()
        try:
            self._process.stdin.write(message)
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError as error:
            raise self._gone(name) from error
        finally:
            timer.cancel()
        if not line.endswith(b"\n"):
            raise self._gone(name)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _stop(self) -> None:
        self._late = True
        self._process.kill()

    def _gone(self, name: str) -> MediaError:
        if self._late:
            problem = f"takes over {self._limits.timeout:g} s to read, the limit"
            return LimitError(name, problem, "Choose other pages, or raise Limits.timeout")
        return self._blob.damaged("a PDF", f"the reader ended with code {self._process.wait()}")


@contextmanager
def _reader(blob: Blob, limits: Limits) -> Iterator[tuple[int, _Reader]]:
    reader = _Reader(blob, limits)
    try:
        answer = reader.open()
        if answer.get("encrypted"):
            raise MediaError(blob.name, "is encrypted", "Save a copy without the password first")
        if "error" in answer:
            raise blob.damaged("a PDF", answer["error"])
        if answer["total"] < 1:
            raise blob.damaged("a PDF", "it has no pages")
        yield answer["total"], reader
    finally:
        reader.close()
