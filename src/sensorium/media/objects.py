"""The objects that a sample says its picture shows: names with boxes, written in either of two ways, read in one form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sensorium.errors import RequestError
from sensorium.media.image import Extent, decode
from sensorium.parts import Image, Sample

LISTED = 'Write {"name": ..., "box": [y0, x0, y1, x1]} with 0 <= y0 < y1 <= 1 and 0 <= x0 < x1 <= 1'
COLUMNS = (
    'Write {"ref": [names], "bbox": [[x0, y0, x1, y1], ...]} with a name for each box, in pixels of the upright picture, '
    'or in 0..1 with "bbox_type": "norm1"'
)


class Thing(NamedTuple):
    """One object of a picture: its name and its box `(y0, x0, y1, x1)` in 0..1."""

    name: str
    box: Extent


def things_of(sample: Sample) -> tuple[Thing, ...]:
    """The objects in `meta["objects"]` of a sample with one picture.

    Either a list, `[{"name": ..., "box": [y0, x0, y1, x1]}, ...]` in 0..1; or columns as ms-swift writes them,
    `{"ref": [...], "bbox": [[x0, y0, x1, y1], ...], "bbox_type": "real" | "norm1"}`, x first, of pixels unless `norm1`.

    Raises:
        RequestError: no objects, or an entry without a name or with another kind of box; pixels without one picture.
        MediaError: boxes in pixels of a picture that cannot be decoded.
    """
    objects = sample.meta.get("objects")
    if isinstance(objects, Mapping):
        return _columns(sample, objects)
    if not isinstance(objects, Sequence) or isinstance(objects, str) or not objects:
        raise _missing(sample)
    return tuple(_listed(f"sample {sample.id}, object {number}", row) for number, row in enumerate(objects))


def picture_of(sample: Sample) -> tuple[int, int, Image]:
    """The one picture of a sample, with its message and part.

    Raises:
        RequestError: none, or several.
    """
    found = [
        (number, place, part)
        for number, message in enumerate(sample.messages)
        for place, part in enumerate(message.parts)
        if isinstance(part, Image)
    ]
    if len(found) != 1:
        raise RequestError(f"sample {sample.id}", f"has {len(found)} pictures", "A joint model reads one picture with a text")
    return found[0]


def _listed(where: str, row: object) -> Thing:
    if not isinstance(row, Mapping) or not isinstance(row.get("name"), str):
        raise RequestError(where, "has no name", LISTED)
    y0, x0, y1, x1 = _edges(where, row.get("box"), LISTED)
    return _thing(where, row["name"], (y0, x0, y1, x1), row["box"], LISTED)


def _columns(sample: Sample, objects: Mapping[str, Any]) -> tuple[Thing, ...]:
    names, boxes, kind = objects.get("ref") or (), objects.get("bbox") or (), objects.get("bbox_type") or "real"
    if not boxes:
        raise _missing(sample)
    where = f"sample {sample.id}"
    if len(names) != len(boxes):
        raise RequestError(where, f"has {len(names)} names for {len(boxes)} boxes", COLUMNS)
    if kind not in ("real", "norm1"):
        raise RequestError(where, f"has boxes of the type {kind!r}", COLUMNS)
    if any(objects.get("image_id") or ()):
        raise RequestError(where, "has objects of a second picture", "A joint model reads one picture with a text")
    height, width = (1, 1) if kind == "norm1" else decode(picture_of(sample)[2].source).pixels_CHW.shape[1:]
    things = []
    for number, (name, box) in enumerate(zip(names, boxes, strict=True)):
        spot = f"{where}, object {number}"
        if not isinstance(name, str):
            raise RequestError(spot, "has no name", COLUMNS)
        x0, y0, x1, y1 = _edges(spot, box, COLUMNS)
        things.append(_thing(spot, name, (y0 / height, x0 / width, y1 / height, x1 / width), box, COLUMNS))
    return tuple(things)


def _edges(where: str, box: Any, remedy: str) -> tuple[float, ...]:
    if not isinstance(box, Sequence) or len(box) != 4 or not all(isinstance(edge, int | float) for edge in box):
        raise RequestError(where, f"has the box {box!r}", remedy)
    return tuple(float(edge) for edge in box)


def _thing(where: str, name: str, box: Extent, written: Sequence[Any], remedy: str) -> Thing:
    y0, x0, y1, x1 = box
    if not (0 <= y0 < y1 <= 1 and 0 <= x0 < x1 <= 1):
        raise RequestError(where, f"has the box {list(written)}", remedy)
    return Thing(name, box)


def _missing(sample: Sample) -> RequestError:
    remedy = "Give its objects, or use a model with regions at cells"
    return RequestError(f"sample {sample.id}", 'has no objects in meta["objects"]', remedy)
