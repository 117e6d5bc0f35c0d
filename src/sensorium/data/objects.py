"""The boxes beside a row's words, however its dialect writes them, in one form; and their places in the words."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sensorium.data.fault import RowError
from sensorium.data.record import wrong_type
from sensorium.data.row import Remarks
from sensorium.data.turns import Turn

_PLACE = re.compile(r"<ref-object>|<bbox>")
_NAMES = ("label", "caption", "ref", "name", "category_name", "category")
_KNOWN = {*_NAMES, "bbox_2d", "point_2d", "box", "bbox", "bbox_type", "image", "category_id"}
_COCO = {"category", "category_id", "category_name", "area", "iscrowd", "segmentation"}
_FORMS = (
    'Write {"bbox_2d": [x0, y0, x1, y1], "label": ...} in pixels, COCO\'s {"bbox": [x, y, width, height], "category": ...}, or '
    '{"name": ..., "box": [y0, x0, y1, x1]} in 0..1'
)


class _Object(NamedTuple):
    """One entry of a list: corners with x first, and what is said of them."""

    box: list[float]
    kind: str
    name: str | None
    category: int | None
    image: int | None


def columns_of(value: Any, remarks: Remarks) -> Mapping[str, Any]:
    """What the column `objects` holds, as ms-swift writes it: `ref`, `bbox` (x0, y0, x1, y1), `bbox_type`, `image_id`.

    Args:
        value: that, as it stands; or a list, or JSON of one, with an entry an object: Qwen's `bbox_2d` (or `point_2d`) and
            `label`, in pixels; COCO's `bbox` (x, y, width, height) with a category, in rows or in columns; ms-swift's former
            `caption`, `bbox` and `bbox_type`; or our own `name` and `box`. Categories that are numbers become `category_id`.

    Raises:
        RowError: it is none of these, or a box is broken.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise RowError("objects", "bad-json", f"is not JSON ({error})", _FORMS) from error
    if isinstance(value, Mapping):
        if "ref" in value or not _COCO & value.keys():
            return value
        value = _rows(value)
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise wrong_type("objects", value, "a list of objects, or an object with ref and bbox")
    return _columns([_object(entry, f"objects[{number}]", remarks) for number, entry in enumerate(value)])


def boxed(turns: Sequence[Turn], objects: Mapping[str, Any]) -> list[Turn]:
    """`<ref-object>` and `<bbox>` replaced by the row's names and numbers, in order."""
    queues = {"<ref-object>": list(objects.get("ref") or ()), "<bbox>": list(objects.get("bbox") or ())}
    taken = dict.fromkeys(queues, 0)

    def put(match: re.Match[str]) -> str:
        mark = match.group()
        number, taken[mark] = taken[mark], taken[mark] + 1
        if number >= len(queues[mark]):
            return mark
        value = queues[mark][number]
        return value if isinstance(value, str) else json.dumps(value)

    filled = [turn._replace(content=_PLACE.sub(put, turn.content)) if isinstance(turn.content, str) else turn for turn in turns]
    for mark, field_name in (("<ref-object>", "objects.ref"), ("<bbox>", "objects.bbox")):
        if taken[mark] not in (0, len(queues[mark])):
            reason = f"holds {len(queues[mark])}, but the messages have {taken[mark]} {mark}"
            raise RowError(field_name, "box-count", reason, f"Write {mark} once for each")
    return filled


def _rows(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    """COCO's columns, as tables of detection have them, an entry an object."""
    lists = {key: value for key, value in columns.items() if isinstance(value, list | tuple)}
    count = len(lists.get("bbox", ()))
    for key, value in lists.items():
        if len(value) != count:
            raise RowError(f"objects.{key}", "box-count", f"holds {len(value)}, for {count} boxes", "Write one for each box")
    return [{key: value[number] for key, value in lists.items()} for number in range(count)]


def _columns(found: Sequence[_Object]) -> dict[str, Any]:
    columns: dict[str, Any] = {"bbox": [each.box for each in found]}
    kinds = {each.kind for each in found}
    if len(kinds) > 1:
        raise RowError("objects", "box-form", "has boxes in pixels beside boxes in 0..1", "Write all of them in one way")
    for key, values in (
        ("ref", [each.name for each in found]),
        ("category_id", [each.category for each in found]),
        ("image_id", [each.image for each in found]),
    ):
        missing = [number for number, value in enumerate(values) if value is None]
        if missing and len(missing) < len(values):
            what = {"ref": "name", "category_id": "category", "image_id": "image"}[key]
            reason = f"has no {what}, as {len(values) - len(missing)} of the {len(values)} objects have"
            raise RowError(f"objects[{missing[0]}]", "missing-field", reason, f"Give every object its {what}, or none")
        if values and not missing:
            columns[key] = values
    return {**columns, "bbox_type": kinds.pop() if kinds else "real"}


def _object(given: Any, field: str, remarks: Remarks) -> _Object:
    if not isinstance(given, Mapping):
        raise wrong_type(field, given, "an object with a box")
    entry = {key: value for key, value in given.items() if value is not None}
    remarks.ignored |= {f"objects.{key}" for key in entry.keys() - _KNOWN}
    kind, image, category = str(entry.get("bbox_type", "real")), None, None
    names = [entry[key] for key in _NAMES if isinstance(entry.get(key), str)]
    if kind not in ("real", "norm1"):
        raise RowError(f"{field}.bbox_type", "box-form", f"is {kind!r}, not real or norm1", "Write pixels, or shares in 0..1")
    if "bbox_2d" in entry:
        box = _numbers(entry["bbox_2d"], f"{field}.bbox_2d", 4)
    elif "point_2d" in entry:
        box = _numbers(entry["point_2d"], f"{field}.point_2d", 2)
    elif "box" in entry:
        y0, x0, y1, x1 = _numbers(entry["box"], f"{field}.box", 4)
        box, kind = [x0, y0, x1, y1], "norm1"
    elif "bbox" not in entry:
        raise RowError(field, "missing-field", f"has no box; its fields are {sorted(entry)}", _FORMS)
    elif _COCO & entry.keys():
        x, y, width, height = _numbers(entry["bbox"], f"{field}.bbox", 4)
        box = [x, y, x + width, y + height]
        number = entry.get("category_id", entry.get("category"))
        category = number if isinstance(number, int) else None
    elif entry.keys() & {"caption", "ref", "bbox_type"}:
        box = _numbers(entry["bbox"], f"{field}.bbox", 4)
        image = entry["image"] if isinstance(entry.get("image"), int) else None
    else:
        reason = "does not say whether it is [x0, y0, x1, y1] or [x, y, width, height]"
        raise RowError(f"{field}.bbox", "box-form", reason, _FORMS)
    return _Object(_inside(box, field, kind), kind, names[0] if names else None, category, image)


def _numbers(box: Any, field: str, count: int) -> list[float]:
    if not isinstance(box, list | tuple) or len(box) != count or not all(map(_is_finite, box)):
        shown = str(box) if len(str(box)) <= 60 else f"{str(box)[:57]}..."
        raise RowError(field, "bad-number", f"is {shown}, not {count} numbers", _FORMS)
    return list(box)


def _is_finite(edge: object) -> bool:
    return isinstance(edge, int | float) and not isinstance(edge, bool) and math.isfinite(edge)


def _inside(box: list[float], field: str, kind: str) -> list[float]:
    """The box, if a picture of some size could hold it."""
    fix = "Correct the box, or leave the object out"
    if len(box) == 4 and (box[2] <= box[0] or box[3] <= box[1]):
        raise RowError(field, "box-empty", f"has the corners {box}, which hold nothing", fix)
    if min(box) < 0 or (kind == "norm1" and max(box) > 1):
        raise RowError(field, "box-outside", f"has the corners {box}, outside the picture", fix)
    return box
