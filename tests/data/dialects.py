"""The same three conversations in every dialect that holds conversations."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

from sensorium.parts import Image, Message, Sample, Text

PICTURES = ("cat.png", "left.png", "right.png")


def pictures(folder: Path) -> None:
    for number, name in enumerate(PICTURES):
        Pillow.new("RGB", (4 + number, 3), (40 * number, 90, 10)).save(folder / name)


def expected(folder: Path) -> list[Sample]:
    """What every dialect must be read as."""

    def image(name: str) -> Image:
        return Image(str(folder / name))

    return [
        Sample(
            "one",
            (
                Message("system", (Text("Be short."),)),
                Message("user", (image("cat.png"), Text("What is this?"))),
                Message("assistant", (Text("A cat."),), learn=True),
                Message("user", (Text("Its colour?"),)),
                Message("assistant", (Text("Grey."),), learn=True),
            ),
        ),
        Sample(
            "two",
            (
                Message(
                    "user", (Text("Left:"), image("left.png"), Text("Right:"), image("right.png"), Text("Which is larger?"))
                ),
                Message("assistant", (Text("The right one."),), learn=True),
            ),
        ),
        Sample(
            "three",
            (Message("user", (Text("Name a fruit."),)), Message("assistant", (Text("Äpfel."),), learn=True)),
        ),
    ]


def last_only(samples: list[Sample]) -> list[Sample]:
    """The same, learning nothing but the last answer, as prompt and completion mean."""
    rows = []
    for sample in samples:
        *before, last = sample.messages
        rows.append(replace(sample, messages=(*(replace(said, learn=False) for said in before), last)))
    return rows


TALKS: list[dict[str, Any]] = [
    {
        "id": "one",
        "system": "Be short.",
        "images": ["cat.png"],
        "turns": [("<image>\nWhat is this?", "A cat."), ("Its colour?", "Grey.")],
    },
    {
        "id": "two",
        "images": ["left.png", "right.png"],
        "turns": [("Left:\n<image>\nRight:\n<image>\nWhich is larger?", "The right one.")],
    },
    {"id": "three", "images": [], "turns": [("Name a fruit.", "Äpfel.")]},
]


def turns(
    talk: Mapping[str, Any], role: str, content: str, user: str, assistant: str, system: str = ""
) -> list[dict[str, Any]]:
    rows = [{role: system, content: talk["system"]}] if system and "system" in talk else []
    for asked, answered in talk["turns"]:
        rows += [{role: user, content: asked}, {role: assistant, content: answered}]
    return rows


def array(path: Path, rows: list[Any]) -> Path:
    path.write_text(json.dumps(rows, indent=1), "utf-8")
    return path


def lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def typed(text: str, images: list[Any]) -> list[dict[str, Any]]:
    """Words and `<image>` as typed parts, each picture's from `images` in order."""
    left, parts = iter(images), []
    for number, piece in enumerate(text.split("<image>")):
        parts += [{"type": "image", **next(left)}] if number else []
        parts += [{"type": "text", "text": piece.strip("\n")}] if piece.strip("\n") else []
    return parts


def llava(folder: Path) -> str:
    """Haotian Liu's JSON: one picture as a string, several as a list."""
    rows = []
    for talk in TALKS:
        images = talk["images"]
        image = {"image": images[0] if len(images) == 1 else images} if images else {}
        rows.append({"id": talk["id"], **image, "conversations": turns(talk, "from", "value", "human", "gpt", "system")})
    return str(array(folder / "llava.json", rows))


def sharegpt(folder: Path) -> str:
    rows = []
    for talk in TALKS:
        row = {
            "id": talk["id"],
            "conversations": turns(talk, "from", "value", "human", "gpt"),
            "system": talk.get("system", ""),
        }
        rows.append(row | ({"images": talk["images"]} if talk["images"] else {}))
    return str(array(folder / "sharegpt.json", rows))


def registered_sharegpt(folder: Path) -> str:
    """LLaMA-Factory's registry with other column and tag names."""
    rows = [
        {"id": talk["id"], "talk": turns(talk, "who", "says", "me", "you"), "rule": talk.get("system"), "pics": talk["images"]}
        for talk in TALKS
    ]
    array(folder / "talks.json", rows)
    entry = {
        "file_name": "talks.json",
        "formatting": "sharegpt",
        "columns": {"messages": "talk", "system": "rule", "images": "pics"},
        "tags": {"role_tag": "who", "content_tag": "says", "user_tag": "me", "assistant_tag": "you"},
    }
    other = {"file_name": "other.json"}
    path = folder / "dataset_info.json"
    path.write_text(json.dumps({"talks": entry, "other": other}), "utf-8")
    return f"{path}#talks"


def registered_alpaca(folder: Path) -> str:
    (folder / "below").mkdir()
    array(folder / "below" / "alpaca_rows.json", alpaca_rows())
    columns = {"prompt": "instruction", "query": "input", "response": "output"}
    columns |= {"history": "history", "system": "system", "images": "images"}
    path = folder / "dataset_info.json"
    path.write_text(json.dumps({"mine": {"file_name": "below/alpaca_rows.json", "columns": columns}}), "utf-8")
    return str(path)


def alpaca_rows() -> list[dict[str, Any]]:
    rows = []
    for talk in TALKS:
        *history, (asked, answered) = talk["turns"]
        first, _, rest = asked.rpartition("\n")
        row = {"id": talk["id"], "instruction": first or rest, "input": rest if first else "", "output": answered}
        rows.append(row | {"history": history, "system": talk.get("system"), "images": talk["images"]})
    return rows


def alpaca(folder: Path) -> str:
    return str(lines(folder / "alpaca.jsonl", alpaca_rows()))


def swift(folder: Path) -> str:
    """ms-swift's standard form, `loss` said outright."""
    rows = []
    for talk in TALKS:
        messages = turns(talk, "role", "content", "user", "assistant", "system")
        messages = [said | ({"loss": True} if said["role"] == "assistant" else {}) for said in messages]
        rows.append({"id": talk["id"], "messages": messages, "images": talk["images"]})
    return str(lines(folder / "swift.jsonl", rows))


def swift_query(folder: Path) -> str:
    rows = []
    for talk in TALKS:
        *history, (asked, answered) = talk["turns"]
        row = {"id": talk["id"], "query": asked, "response": answered, "history": history, "images": talk["images"]}
        rows.append(row | ({"system": talk["system"]} if "system" in talk else {}))
    return str(lines(folder / "swift_query.jsonl", rows))


def swift_pairs(folder: Path) -> str:
    rows = [
        {
            "id": talk["id"],
            "conversation": [{"human": asked, "assistant": answered} for asked, answered in talk["turns"]],
            "system": talk.get("system"),
            "images": talk["images"],
        }
        for talk in TALKS
    ]
    return str(lines(folder / "swift_pairs.jsonl", rows))


def typed_rows(images: Callable[[list[str]], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    rows = []
    for talk in TALKS:
        left = images(talk["images"])
        messages = turns(talk, "role", "content", "user", "assistant", "system")
        for said in messages:
            said["content"] = typed(said["content"], left)
        rows.append({"id": talk["id"], "messages": messages})
    return rows


def transformers(folder: Path) -> str:
    return str(lines(folder / "transformers.jsonl", typed_rows(lambda names: [{"path": name} for name in names])))


def transformers_url(folder: Path) -> str:
    rows = typed_rows(lambda names: [{"url": f"file://{folder / name}"} for name in names])
    return str(lines(folder / "transformers_url.jsonl", rows))


def chat_wire(folder: Path) -> str:
    """Chat parts as OpenAI's wire has them."""
    rows = typed_rows(lambda names: [{"type": "image_url", "image_url": {"url": name}} for name in names])
    return str(lines(folder / "wire.jsonl", rows))


def trl_typed(folder: Path) -> str:
    """TRL: typed parts without a source, pictures in a column."""
    rows = typed_rows(lambda names: [{} for _ in names])
    rows = [row | {"images": talk["images"]} for row, talk in zip(rows, TALKS, strict=True)]
    return str(lines(folder / "trl_typed.jsonl", rows))


def own(folder: Path) -> str:
    from sensorium.parts import sample_to_json

    rows = [sample_to_json(sample) for sample in expected(Path())]
    return str(lines(folder / "own.jsonl", rows))


def trl_completion(folder: Path) -> str:
    rows = []
    for talk in TALKS:
        messages = turns(talk, "role", "content", "user", "assistant", "system")
        rows.append({"id": talk["id"], "prompt": messages[:-1], "completion": messages[-1:], "images": talk["images"]})
    return str(lines(folder / "trl_completion.jsonl", rows))


def tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as file:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def sheet(path: Path, rows: list[Mapping[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


EVERY = (
    llava,
    sharegpt,
    registered_sharegpt,
    registered_alpaca,
    alpaca,
    swift,
    swift_query,
    swift_pairs,
    transformers,
    transformers_url,
    chat_wire,
    trl_typed,
    own,
)
