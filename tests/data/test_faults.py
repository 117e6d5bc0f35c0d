"""What is wrong with a row is said with its place, its field and a remedy; rows around it are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from sensorium.data.fault import Fault
from sensorium.data.reader import Row, open_source
from sensorium.media.objects import Thing, things_of
from sensorium.parts import Audio, Image, Message, Text, Video, message_from_json
from tests.data import dialects

GOOD = {"messages": [{"role": "user", "content": "Hm?"}, {"role": "assistant", "content": "Yes."}]}


def asked(content: Any, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}, {"role": "assistant", "content": "Yes."}], **more}


BROKEN: list[tuple[Any, str, str, str]] = [
    (["a", "list"], "row", "wrong-type", "is a list (['a', 'list']), not an object"),
    ({"title": "x"}, "messages", "missing-field", "is missing; the row has ['title']"),
    ({"messages": []}, "messages", "no-messages", "has no messages"),
    ({"messages": "Hi"}, "messages", "wrong-type", "is a string ('Hi'), not a list of messages"),
    ({"messages": ["Hi"]}, "messages[0]", "wrong-type", "is a string ('Hi'), not an object with a role and a content"),
    ({"messages": [{"content": "Hi"}]}, "messages[0]", "missing-field", "has no 'role'; its fields are ['content']"),
    ({"messages": [{"role": "user"}]}, "messages[0]", "missing-field", "has no 'content'; its fields are ['role']"),
    ({"conversations": [{"from": "bot", "value": "x"}]}, "conversations[0].from", "unknown-role", "is 'bot'"),
    (asked(7), "messages[0].content", "wrong-type", "is a number (7), not a string or a list of typed parts"),
    (asked([{"type": "smell"}]), "messages[0].content[0].type", "unknown-part", "is 'smell'"),
    (asked([{"type": "text"}]), "messages[0].content[0].text", "wrong-type", "is a NoneType (None), not a string"),
    (asked("<image>What?"), "images", "placeholder-count", "holds 0 images, but the messages have 1 place for them"),
    (asked("<image><image>", images=["a.jpg"]), "images", "placeholder-count", "holds 1 image, but the messages have 2 places"),
    (
        asked("<image>", images=["a.jpg", "b.jpg"]),
        "images",
        "placeholder-count",
        "holds 2 images, but the messages have 1 place",
    ),
    (asked("<audio>", audio=["a.wav", "b.wav"]), "audio", "placeholder-count", "holds 2 audios, but the messages have 1 place"),
    (asked([{"type": "image"}]), "images", "placeholder-count", "holds 0 images, but the messages have 1 place"),
    (asked("x", images=[3]), "images[0]", "wrong-type", "is a number (3), not the path or URL of one image"),
    (asked("x", images=[""]), "images[0]", "wrong-type", "is a string (''), not the path or URL of one image"),
    (asked("x", images=[{"width": 3}]), "images[0]", "missing-field", "is an object with ['width']"),
    (asked("x", images=["a.jpg"], image="b.jpg"), "image", "wrong-type", "is given beside images, and both hold media"),
    (asked("x", videos=[["1.jpg", "2.jpg"]]), "videos[0]", "frame-list", "is a list of 2 frames, not a clip"),
    (asked([{"type": "image", "base64": "!"}]), "messages[0].content[0]", "wrong-type", "holds base64 that cannot be read"),
    ({"messages": [{"role": "user", "content": "Hm?"}]}, "messages[0].content", "nothing-to-learn", "has no assistant's turn"),
    ({"instruction": "Say", "output": None}, "instruction", "nothing-to-learn", "has no assistant's turn to learn from"),
    ({"instruction": 3, "output": "x"}, "instruction", "wrong-type", "is a number (3), not a string"),
    (
        {"messages": [{"role": "assistant", "content": "x"}], "images": ["a"]},
        "messages",
        "no-messages",
        "has media, but no user's",
    ),
    (
        {**asked("x"), "system": "A", "messages": [{"role": "system", "content": "B"}]},
        "system",
        "two-systems",
        "says something else",
    ),
    (
        asked("<bbox>", objects={"bbox": [[1, 2, 3, 4], [1, 2, 3, 5]]}),
        "objects.bbox",
        "box-count",
        "holds 2, but the messages have 1",
    ),
    (asked("x", tools="{"), "tools", "bad-json", "is not JSON"),
    (asked("x", meta=3), "meta", "wrong-type", "is a number (3), not an object"),
    (
        {"instruction": "x", "output": "y", "history": [["a"]]},
        "history[0]",
        "wrong-type",
        "not a pair of a question and an answer",
    ),
    ({"chosen": GOOD["messages"], "rejected": GOOD["messages"]}, "rejected", "missing-field", "has no answer that differs"),
]


@pytest.mark.parametrize("layout", ["lines", "array"])
def test_each_fault_has_its_row_field_kind_and_reason(layout: str, tmp_path: Path) -> None:
    rows = [GOOD] + [row for broken in BROKEN for row in (broken[0], GOOD)]
    path = dialects.lines(tmp_path / "rows.jsonl", rows) if layout == "lines" else dialects.array(tmp_path / "rows.json", rows)
    found = list(open_source(path).rows())
    assert [isinstance(row, Fault) for row in found] == [bool(number % 2) for number in range(len(rows))]
    for number, (fault, (_, field, kind, reason)) in enumerate(zip(found[1::2], BROKEN, strict=True)):
        assert isinstance(fault, Fault)
        assert (fault.file, fault.row, fault.field, fault.kind) == (str(path), 2 * number + 2, field, kind), fault
        assert reason in fault.reason and len(fault.fix) > 5, fault


def test_damaged_json_costs_only_its_own_row(tmp_path: Path) -> None:
    good = json.dumps(GOOD)
    path = tmp_path / "rows.json"
    path.write_text(f'[{good},\n{{"messages": [1 2]}},\n{good},,\n{good},\n{{"messages": "\\x"}},\n{good}\n')
    kinds = [row.kind if isinstance(row, Fault) else "" for row in open_source(path).rows()]
    assert kinds == ["", "bad-json", "", "empty-row", "", "bad-json", ""]
    path.write_text(f"[{good},{good},")
    last = list(open_source(path).rows())[-1]
    assert isinstance(last, Fault) and last.kind == "truncated" and "before its list is closed" in last.reason
    path = tmp_path / "rows.jsonl"
    path.write_bytes(good.encode() + b"\n\xff\xfe\n\n" + good.encode() + b"\r\n\n \n")
    found = list(open_source(path).rows())
    assert [row.kind if isinstance(row, Fault) else "" for row in found] == ["", "bad-json", "empty-row", ""]
    assert isinstance(found[1], Fault) and "is not UTF-8 (byte 0 of it)" in found[1].reason
    assert len(open_source(path)) == 4  # type: ignore[arg-type]


def one(tmp_path: Path, row: dict[str, Any]) -> Row:
    source = open_source(dialects.lines(tmp_path / "one.jsonl", [row]))
    (found,) = source.rows()
    assert isinstance(found, Row), found
    return found


def test_one_medium_may_stand_without_a_list(tmp_path: Path) -> None:
    row = one(tmp_path, asked("<image>\nWhat?", images="test1.jpg"))
    assert row.sample.messages[0].parts == (Image(str(tmp_path / "test1.jpg")), Text("What?"))


def test_media_without_places_go_before_the_first_words_and_are_noted(tmp_path: Path) -> None:
    row = {"system": "Be kind.", **asked("What?", images=["a.jpg"], videos=["b.mp4"], audios=["https://x.org/c.wav"])}
    source = open_source(dialects.lines(tmp_path / "one.jsonl", [row, row]))
    (found, _) = source.rows()
    assert isinstance(found, Row)
    media = (Image(str(tmp_path / "a.jpg")), Video(str(tmp_path / "b.mp4")), Audio("https://x.org/c.wav"))
    assert found.sample.messages[1].parts == (*media, Text("What?"))
    assert source.remarks.notes == {"media without placeholders were put before the first user's words": 2}


def test_columns_that_nobody_reads_are_named(tmp_path: Path) -> None:
    row = asked(
        [{"type": "text", "text": "x"}, {"type": "image", "path": "a.jpg", "max_pixels": 9}],
        score=3,
        language="de",
        license="MIT",
    )
    row["messages"][0]["name"] = "Ada"
    source = open_source(dialects.lines(tmp_path / "one.jsonl", [row]))
    (found,) = source.rows()
    assert source.remarks.ignored == {"score", "messages[].name", "image part: max_pixels"}
    assert isinstance(found, Row) and dict(found.sample.meta) == {"licence": "MIT", "language": "de"}


@pytest.mark.parametrize(
    "mark", [{"loss": False}, {"loss": 0}, {"weight": 0}, {"loss_scale": 0.0}, {"learn": False}, {"train": False}]
)
def test_a_turn_may_say_that_it_is_not_learned(mark: dict[str, Any], tmp_path: Path) -> None:
    row = asked("a")
    row["messages"] = [{**row["messages"][1], **mark}, *row["messages"]]
    assert [said.learn for said in one(tmp_path, row).sample.messages] == [False, False, True]


def test_weights_between_are_noted(tmp_path: Path) -> None:
    row = asked("a")
    row["messages"][1]["loss_scale"] = 2.5
    source = open_source(dialects.lines(tmp_path / "one.jsonl", [row]))
    list(source.rows())
    assert source.remarks.notes == {"loss weights other than 0 and 1 were taken as 1": 1}


def test_tools_calls_and_their_results(tmp_path: Path) -> None:
    call = {"name": "look", "arguments": {"at": "sky"}}
    tools = [{"type": "function", "function": {"name": "look"}}]
    factory = {
        "conversations": [
            {"from": "human", "value": "Weather?"},
            {"from": "function_call", "value": json.dumps(call)},
            {"from": "observation", "value": "blue"},
            {"from": "gpt", "value": "Fine."},
        ],
        "tools": json.dumps(tools),
    }
    wire = {
        "messages": [
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": call}]},
            {"role": "tool", "content": "blue"},
            {"role": "assistant", "content": "Fine."},
        ],
        "tools": tools,
    }
    swift = {
        "messages": [
            {**said, "role": role}
            for said, role in zip(_bare(wire), ("user", "tool_call", "tool_response", "assistant"), strict=True)
        ]
    }
    first, second, third = (
        one(tmp_path, factory).sample,
        one(tmp_path, wire).sample,
        one(tmp_path, {**swift, "tools": tools}).sample,
    )
    assert first == second == third
    assert [said.role for said in first.messages] == ["user", "assistant", "tool", "assistant"]
    assert [said.learn for said in first.messages] == [False, True, False, True]
    assert first.meta == {"tools": tools}


def _bare(wire: dict[str, Any]) -> list[dict[str, Any]]:
    call = wire["messages"][1]["tool_calls"][0]["function"]
    return [{"content": json.dumps(call) if "tool_calls" in said else said["content"]} for said in wire["messages"]]


def test_boxes_and_names_are_put_into_the_words_and_kept(tmp_path: Path) -> None:
    objects = {"ref": ["the dog"], "bbox": [[10, 20, 30, 40]], "bbox_type": "real"}
    row = one(tmp_path, asked("<image>Where is <ref-object>? <bbox>", images=["a.jpg"], objects=objects))
    assert row.sample.messages[0].parts[1] == Text("Where is the dog? [10, 20, 30, 40]")
    assert row.sample.meta["objects"] == objects


CORNERS = {"ref": ["the dog", "a cat"], "bbox": [[10, 20, 30, 40], [0, 0, 5, 5]], "bbox_type": "real"}
COCO = {"bbox": [[10, 20, 20, 20], [0, 0, 5, 5]], "category": ["the dog", "a cat"], "area": [400, 25]}
NUMBERED = [{"bbox": [10, 20, 20, 20], "category_id": 7, "iscrowd": 0}, {"bbox": [0, 0, 5, 5], "category_id": 9}]


@pytest.mark.parametrize(
    ("objects", "kept", "ignored"),
    [
        (
            [{"bbox_2d": [10, 20, 30, 40], "label": "the dog"}, {"bbox_2d": [0, 0, 5, 5], "label": "a cat", "box": None}],
            CORNERS,
            set(),
        ),
        (COCO, CORNERS, {"objects.area"}),
        (
            [{"bbox": [10, 20, 20, 20], "category": "the dog"}, {"bbox": [0, 0, 5, 5], "category": "a cat", "id": 3}],
            CORNERS,
            {"objects.id"},
        ),
        (
            NUMBERED,
            {"bbox": [[10, 20, 30, 40], [0, 0, 5, 5]], "category_id": [7, 9], "bbox_type": "real"},
            {"objects.iscrowd"},
        ),
        (
            json.dumps(
                [
                    {"caption": "the dog", "bbox": [10, 20, 30, 40], "bbox_type": "real", "image": 0},
                    {"caption": "a cat", "bbox": [0, 0, 5, 5], "image": 0},
                ]
            ),
            {**CORNERS, "image_id": [0, 0]},
            set(),
        ),
        (
            [{"name": "the dog", "box": [0.2, 0.1, 0.4, 0.3]}],
            {"ref": ["the dog"], "bbox": [[0.1, 0.2, 0.3, 0.4]], "bbox_type": "norm1"},
            set(),
        ),
        ([{"point_2d": [10, 20], "label": "the dog"}], {"ref": ["the dog"], "bbox": [[10, 20]], "bbox_type": "real"}, set()),
    ],
    ids=["qwen", "coco-columns", "coco-rows", "coco-numbers", "swift-before", "ours", "points"],
)
def test_objects_are_kept_in_one_form_however_they_are_written(
    objects: Any, kept: dict[str, Any], ignored: set[str], tmp_path: Path
) -> None:
    source = open_source(dialects.lines(tmp_path / "rows.jsonl", [asked("<image>Where?", images=["a.jpg"], objects=objects)]))
    (row,) = source.rows()
    assert isinstance(row, Row), row
    assert row.sample.meta["objects"] == kept
    assert source.remarks.ignored == ignored


def test_listed_objects_fill_the_places_in_the_words_and_are_read_as_things(tmp_path: Path) -> None:
    Pillow.new("RGB", (100, 40)).save(tmp_path / "a.png")
    objects = [{"bbox_2d": [10, 20, 30, 40], "label": "the dog"}]
    row = one(tmp_path, asked("<image>Where is <ref-object>? <bbox>", images=["a.png"], objects=objects))
    assert row.sample.messages[0].parts[1] == Text("Where is the dog? [10, 20, 30, 40]")
    assert things_of(row.sample) == (Thing("the dog", (0.5, 0.1, 1.0, 0.3)),)


@pytest.mark.parametrize(
    ("objects", "field", "kind", "reason"),
    [
        (7, "objects", "wrong-type", "is a number (7), not a list of objects, or an object with ref and bbox"),
        ("[{", "objects", "bad-json", "is not JSON"),
        (["dog"], "objects[0]", "wrong-type", "is a string ('dog'), not an object with a box"),
        ([{"label": "dog"}], "objects[0]", "missing-field", "has no box; its fields are ['label']"),
        (
            [{"bbox": [1, 2, 3, 4], "label": "dog"}],
            "objects[0].bbox",
            "box-form",
            "does not say whether it is [x0, y0, x1, y1]",
        ),
        ([{"bbox_2d": [1, 2, 3], "label": "dog"}], "objects[0].bbox_2d", "bad-number", "is [1, 2, 3], not 4 numbers"),
        ([{"bbox_2d": [1, 2, True, 4]}], "objects[0].bbox_2d", "bad-number", "not 4 numbers"),
        ([{"bbox_2d": [1, 2, 3, float("nan")]}], "objects[0].bbox_2d", "bad-number", "not 4 numbers"),
        ([{"bbox_2d": [9, 2, 3, 4]}], "objects[0]", "box-empty", "has the corners [9, 2, 3, 4], which hold nothing"),
        ([{"bbox": [1, 2, 0, 4], "category_id": 1}], "objects[0]", "box-empty", "has the corners [1, 2, 1, 6]"),
        ([{"bbox_2d": [-1, 2, 3, 4]}], "objects[0]", "box-outside", "has the corners [-1, 2, 3, 4], outside the picture"),
        ([{"name": "dog", "box": [0, 0, 1, 1.5]}], "objects[0]", "box-outside", "has the corners [0, 0, 1.5, 1]"),
        (
            [{"caption": "dog", "bbox": [1, 2, 3, 4], "bbox_type": "norm1000"}],
            "objects[0].bbox_type",
            "box-form",
            "is 'norm1000', not real or norm1",
        ),
        (
            [{"bbox_2d": [1, 2, 3, 4], "label": "dog"}, {"bbox_2d": [1, 2, 3, 4]}],
            "objects[1]",
            "missing-field",
            "has no name, as 1 of the 2 objects have",
        ),
        ([{"bbox_2d": [1, 2, 3, 4]}, {"box": [0, 0, 1, 1]}], "objects", "box-form", "has boxes in pixels beside boxes in 0..1"),
        ({"bbox": [[1, 2, 3, 4]], "category": []}, "objects.category", "box-count", "holds 0, for 1 boxes"),
    ],
)
def test_broken_objects_are_faults(objects: Any, field: str, kind: str, reason: str, tmp_path: Path) -> None:
    path = dialects.lines(tmp_path / "rows.jsonl", [asked("<image>Where?", images=["a.jpg"], objects=objects)])
    (fault,) = open_source(path).rows()
    assert isinstance(fault, Fault), fault
    assert (fault.row, fault.field, fault.kind) == (1, field, kind)
    assert reason in fault.reason


PROMPT = [{"role": "user", "content": "Red or blue?"}]
RED, BLUE = {"role": "assistant", "content": "Red."}, {"role": "assistant", "content": "Blue."}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Red or blue?", "chosen": "Red.", "rejected": "Blue."},
        {"prompt": PROMPT, "chosen": [RED], "rejected": [BLUE]},
        {"chosen": [*PROMPT, RED], "rejected": [*PROMPT, BLUE]},
        {"prompt": "Red or blue?", "chosen": [*PROMPT, RED], "rejected": [*PROMPT, BLUE]},
        {"instruction": "Red or blue?", "chosen": "Red.", "rejected": "Blue."},
        {
            "conversations": [{"from": "human", "value": "Red or blue?"}],
            "chosen": {"from": "gpt", "value": "Red."},
            "rejected": {"from": "gpt", "value": "Blue."},
        },
        {"messages": [*PROMPT, RED], "rejected_response": "Blue."},
        {"messages": [*PROMPT, RED], "rejected_messages": [*PROMPT, BLUE]},
    ],
    ids=["trl", "trl-messages", "trl-implicit", "trl-both", "alpaca", "sharegpt", "swift", "swift-messages"],
)
def test_a_preference_is_the_same_in_every_dialect(row: dict[str, Any], tmp_path: Path) -> None:
    sample = one(tmp_path, row).sample
    assert sample.messages == (Message("user", (Text("Red or blue?"),)), Message("assistant", (Text("Red."),), learn=True))
    rejected = [message_from_json(message) for message in sample.meta["rejected"]]
    assert rejected == [Message("assistant", (Text("Blue."),), learn=True)]


@pytest.mark.parametrize("name", ["label", "kto_tag"])
def test_a_verdict_is_kept(name: str, tmp_path: Path) -> None:
    assert one(tmp_path, {"prompt": PROMPT, "completion": [RED], name: False}).sample.meta["label"] is False
