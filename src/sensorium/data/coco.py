"""COCO captions: one row an annotation, its picture found by id; Chen et al. 2015, arXiv:1504.00325."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sensorium.data.attached import resolved
from sensorium.data.fault import RowError
from sensorium.data.lookup import Lookup
from sensorium.data.record import Record
from sensorium.data.row import Remarks
from sensorium.data.table import Table
from sensorium.data.told import Told
from sensorium.parts import Image, Message, Sample, Text


def open_coco(path: str, media: str) -> Told:
    """A captions file; `media` is the folder of the pictures."""
    remarks = Remarks()
    return Told(Path(path).name, Table(path, "array", "annotations"), Captions(path, media, remarks), remarks)


@dataclass(frozen=True)
class Captions:
    """Tells an annotation: the picture is shown, its caption is learned."""

    path: str
    media: str
    remarks: Remarks
    images: Lookup = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "images", Lookup(Table(self.path, "array", "images"), "id"))

    def __call__(self, record: Record, default: str) -> Sample:
        """One annotation.

        Raises:
            RowError: no caption, or no picture with its id.
        """
        caption, image_id = record.text("caption"), record.take("image_id")
        if caption is None:
            raise RowError("caption", "missing-field", f"is missing; the row has {sorted(record.values)}", "Write a caption")
        image = self.images.find(image_id)
        name = image.text("file_name") if image else None
        if image is None or name is None:
            reason = f"is {image_id!r}, and no entry of images with a file_name has that id"
            raise RowError("image_id", "missing-image", reason, "Add the picture to images, or remove the caption")
        messages = (
            Message("user", (Image(resolved(name, self.media)),)),
            Message("assistant", (Text(caption),) if caption else (), learn=True),
        )
        licence = self._licences.get(image.take("license"))
        if licence and not record.has("license", "licence"):
            record.values["licence"] = licence
        return Sample(record.identity(default), messages, record.meta(self.remarks, image_id=image_id))

    @cached_property
    def _licences(self) -> dict[Any, Any]:
        """Names by number."""
        found = (item.record for item in Table(self.path, "array", "licenses").records())
        return {item.take("id"): item.take("name", "url") for item in found if isinstance(item, Record)}
