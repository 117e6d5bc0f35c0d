"""Two ways of writing a picture's objects, and what is refused of either."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image as Pillow

from sensorium.data.synthetic import World
from sensorium.errors import RequestError
from sensorium.media.objects import Thing, things_of
from sensorium.parts import Image, Message, Sample, Text

from .made import saved

CAT = Thing("the cat", (0.25, 0.1, 0.75, 0.5))


def sample(objects: Any, *parts: Any) -> Sample:
    shown = parts or (Image(saved(Pillow.new("RGB", (100, 40)), "PNG")),)
    return Sample("s", (Message("user", shown),), {"objects": objects})


@pytest.mark.parametrize(
    "objects",
    [
        [{"name": "the cat", "box": [0.25, 0.1, 0.75, 0.5]}],
        {"ref": ["the cat"], "bbox": [[0.1, 0.25, 0.5, 0.75]], "bbox_type": "norm1"},
        {"ref": ["the cat"], "bbox": [[10, 10, 50, 30]], "bbox_type": "real", "image_id": [0]},
        {"ref": ["the cat"], "bbox": [[10, 10, 50, 30]]},
    ],
)
def test_a_list_shares_and_pixels_say_the_same(objects: Any) -> None:
    (found,) = things_of(sample(objects))
    assert found.name == CAT.name
    assert found.box == pytest.approx(CAT.box)


def test_the_synthetic_worlds_boxes_are_those_of_its_things() -> None:
    world = World(0, 48)
    for index, shown in enumerate(world.samples(8, what="boxes")):
        (found,) = things_of(shown)
        assert found.box in [thing.box for thing in world.scene(index).things]


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        (None, r'sample s: has no objects in meta\["objects"\]'),
        ([], "has no objects"),
        ({"ref": ["a"], "bbox": []}, "has no objects"),
        ([{"box": [0, 0, 1, 1]}], "sample s, object 0: has no name"),
        ([{"name": "a", "box": [0, 0, 2, 2]}], r"object 0: has the box \[0, 0, 2, 2\]"),
        ([{"name": "a", "box": "here"}], "object 0: has the box 'here'"),
        ({"ref": ["a", "b"], "bbox": [[1, 2, 3, 4]]}, "sample s: has 2 names for 1 boxes"),
        ({"ref": [3], "bbox": [[1, 2, 3, 4]]}, "object 0: has no name"),
        ({"ref": ["a"], "bbox": [[1, 2]]}, r"object 0: has the box \[1, 2\]"),
        ({"ref": ["a"], "bbox": [[1, 2, 101, 4]]}, r"object 0: has the box \[1, 2, 101, 4\]"),
        ({"ref": ["a"], "bbox": [[0, 0, 1, 1]], "bbox_type": "norm1000"}, "has boxes of the type 'norm1000'"),
        ({"ref": ["a"], "bbox": [[0, 0, 1, 1]], "image_id": [1]}, "has objects of a second picture"),
    ],
)
def test_what_cannot_be_read_is_refused(objects: Any, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        things_of(sample(objects))


def test_pixels_need_the_picture() -> None:
    with pytest.raises(RequestError, match="sample s: has 0 pictures"):
        things_of(sample({"ref": ["a"], "bbox": [[1, 2, 3, 4]]}, Text("a")))
