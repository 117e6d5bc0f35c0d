"""Words in a picture, read by rapidocr (PP-OCR, ONNX) with the weights of its own package, offline."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from sensorium.errors import DependencyError
from sensorium.media.image import Picture
from sensorium.parts import Reading

SHORT_SIDE = 320
"""Pictures whose shorter side has fewer pixels are enlarged to it; the package's 736 is slower and sees words in textures."""

_ENGINE = threading.Lock()


def read(picture: Picture) -> tuple[Reading, ...]:
    """The lines of words in a picture, top-left to bottom-right, each with its box in 0..1 and the reader's confidence.

    Nothing is left out for low confidence; that is for the caller to do, and to note.

    Raises:
        DependencyError: rapidocr or onnxruntime is not installed.
    """
    _, height, width = picture.pixels_CHW.shape
    array_BGR = np.ascontiguousarray(picture.pixels_CHW.permute(1, 2, 0).numpy()[:, :, ::-1])
    with _ENGINE:
        found = _engine()(array_BGR)
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
