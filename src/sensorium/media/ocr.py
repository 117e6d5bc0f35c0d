"""Words in a picture, read by rapidocr (PP-OCR, ONNX) with the weights of its own package, offline."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sensorium.errors import DependencyError
from sensorium.media.image import Picture
from sensorium.parts import Reading

SHORT_SIDE = 320
"""Pictures whose shorter side has fewer pixels are enlarged to it; the package's 736 is slower and sees words in textures."""

_ENGINE = threading.Lock()
_LONGEST = 4


def read(picture: Picture) -> tuple[Reading, ...]:
    """The lines of words in a picture, top-left to bottom-right, each with its box in 0..1 and the reader's confidence.

    Nothing is left out for low confidence; that is for the caller to do, and to note.

    Raises:
        DependencyError: rapidocr or onnxruntime is not installed.
    """
    _, height, width = picture.pixels_CHW.shape
    with _ENGINE:
        found = _engine()(_prepared(picture.pixels_CHW))
    if found.boxes is None or found.txts is None or found.scores is None:
        return ()
    lines = [
        Reading(text.strip(), _extent(box, height, width), float(score))
        for box, text, score in zip(found.boxes, found.txts, found.scores, strict=True)
        if text.strip()
    ]
    return in_order(lines)


def in_order(lines: Sequence[Reading]) -> tuple[Reading, ...]:
    """Readings of a picture in reading order: rows from the top, a row from the left.

    A line belongs to a row when its middle is within the height of the row's first line.
    """
    rows: list[list[Reading]] = []
    for line in sorted(lines, key=lambda item: item.extent[0] + item.extent[2]):
        middle = (line.extent[0] + line.extent[2]) / 2
        if rows and rows[-1][0].extent[0] <= middle <= rows[-1][0].extent[2]:
            rows[-1].append(line)
        else:
            rows.append([line])
    return tuple(line for row in rows for line in sorted(row, key=lambda item: item.extent[1]))


def _prepared(pixels_CHW: Tensor) -> NDArray[np.uint8]:
    """BGR, padded with white below or on the right to at most `_LONGEST` to one.

    The detector enlarges the shorter side to 736 pixels, so a strip of 5 x 2000 would cost it minutes and gigabytes.
    """
    array = pixels_CHW.permute(1, 2, 0).numpy()[:, :, ::-1]
    height, width, _ = array.shape
    below, right = max(width // _LONGEST - height, 0), max(height // _LONGEST - width, 0)
    return np.pad(array, ((0, below), (0, right), (0, 0)), constant_values=255)


def _extent(box: Any, height: int, width: int) -> tuple[float, float, float, float]:
    xs, ys = np.clip(np.asarray(box)[:, 0] / width, 0, 1), np.clip(np.asarray(box)[:, 1] / height, 0, 1)
    return float(ys.min()), float(xs.min()), float(ys.max()), float(xs.max())


@cache
def _engine() -> Any:
    try:
        from rapidocr import RapidOCR
    except ImportError as error:
        raise DependencyError("reading words in pictures", f"needs {error.name}", "pip install 'sensorium[ocr]'") from error
    small = {"Det.limit_type": "min", "Det.limit_side_len": SHORT_SIDE}
    return RapidOCR(params={"Global.log_level": "critical", "Global.text_score": 0.0} | small)
