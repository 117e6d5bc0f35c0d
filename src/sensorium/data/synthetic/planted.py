"""The ways in which a row of training data can be broken: each breaks one draft row and says where that shows."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sensorium.data.synthetic.draw import png
from sensorium.data.synthetic.scene import Scene
from sensorium.data.synthetic.sound import RATE, wav


@dataclass(frozen=True, slots=True)
class Form:
    """How a dialect names things; `whole` files are one JSON array, others have a row a line."""

    file: str
    turns: str
    role: str
    content: str
    user: str
    assistant: str
    image: str
    audio: str
    whole: bool = False


FORMS: Mapping[str, Form] = {
    "messages": Form("rows.jsonl", "messages", "role", "content", "user", "assistant", "images", "audios"),
    "sharegpt": Form("rows.jsonl", "conversations", "from", "value", "human", "gpt", "images", "audios"),
    "llava": Form("rows.json", "conversations", "from", "value", "human", "gpt", "image", "audio", whole=True),
}


@dataclass(slots=True)
class Draft:
    """A row before it is written.

    Args:
        earlier: a sound row before it, to be repeated. strange: a scene unlike its own.
        raw: written instead of the record.
    """

    form: Form
    folder: Path
    scene: Scene
    record: dict[str, Any]
    earlier: dict[str, Any]
    strange: Scene
    raw: str | None = None

    def turn(self, number: int) -> dict[str, Any]:
        """One of its two turns."""
        turn: dict[str, Any] = self.record[self.form.turns][number]
        return turn

    def say(self, number: int, text: Any) -> None:
        """Put other words into a turn; the question keeps its picture."""
        self.turn(number)[self.form.content] = f"<image>\n{text}" if number == 0 else text

    @property
    def answer(self) -> str:
        """The words of the answer."""
        return str(self.turn(1)[self.form.content])

    def place(self, number: int, inner: bool = True) -> str:
        """How a reader names a turn, or its content."""
        return f"{self.form.turns}[{number}]" + (f".{self.form.content}" if inner else "")

    def show(self, content: bytes, name: str, kind: str = "image") -> None:
        """Put another medium into the row."""
        path = self.folder / "media" / name
        path.write_bytes(content)
        column = self.form.image if kind == "image" else self.form.audio
        if kind != "image":
            del self.record[self.form.image]
            self.turn(0)[self.form.content] = "<audio>\nWhat do you hear?"
        named = f"media/{name}"
        self.record[column] = [named] if column.endswith("s") else named

    @property
    def name(self) -> str:
        """The file name of its medium, without the extension."""
        return str(self.record["id"])


def _bad_json(draft: Draft) -> str:
    line = json.dumps(draft.record)
    draft.raw = line.replace(":", "=", 1) if draft.form.whole else line[: len(line) // 2]
    return "row"


def _empty_row(draft: Draft) -> str:
    draft.raw = ""
    return "row"


def _missing_field(draft: Draft) -> str:
    del draft.turn(1)[draft.form.content]
    return draft.place(1, inner=False)


def _wrong_type(draft: Draft) -> str:
    draft.say(1, 7)
    return draft.place(1)


def _no_messages(draft: Draft) -> str:
    draft.record[draft.form.turns] = []
    return draft.form.turns


def _unknown_role(draft: Draft) -> str:
    draft.turn(1)[draft.form.role] = "narrator"
    return f"{draft.place(1, inner=False)}.{draft.form.role}"


def _unknown_part(draft: Draft) -> str:
    draft.turn(1)[draft.form.content] = [{"type": "smell", "text": "roses"}]
    return f"{draft.place(1)}[0].type"


def _placeholder_count(draft: Draft) -> str:
    draft.say(0, "<image>\nWhat has changed?")
    return draft.form.image


def _nothing_to_learn(draft: Draft) -> str:
    del draft.record[draft.form.turns][1]
    return draft.place(0)


def _two_systems(draft: Draft) -> str:
    draft.record["system"] = "Be brief."
    said = {draft.form.role: "system", draft.form.content: "Be long."}
    draft.record[draft.form.turns].insert(0, said)
    return "system"


def _missing_media(draft: Draft) -> str:
    column = draft.form.image
    draft.record[column] = ["media/nowhere.png"] if column.endswith("s") else "media/nowhere.png"
    return "images[0]"


def _media(make: Callable[[Draft], bytes], extension: str = "png", kind: str = "image") -> Callable[[Draft], str]:
    def plant(draft: Draft) -> str:
        draft.show(make(draft), f"{draft.name}-planted.{extension}", kind)
        return f"{kind}s[0]"

    return plant


def _cut(draft: Draft) -> bytes:
    whole = png(draft.scene.picture())
    return whole[: len(whole) * 2 // 3]


def _silence(_: Draft) -> bytes:
    return wav(np.zeros(RATE, dtype=np.float32))


def _flat(_: Draft) -> bytes:
    return png(np.full((64, 64, 3), 90, dtype=np.uint8))


def _thin(draft: Draft) -> bytes:
    return png(np.ascontiguousarray(draft.scene.picture()[:3]))


def _words(number: int, change: Callable[[Draft], Any]) -> Callable[[Draft], str]:
    def plant(draft: Draft) -> str:
        draft.say(number, change(draft))
        return f"messages[{number}]"

    return plant


def _odd_order(draft: Draft) -> str:
    draft.record[draft.form.turns].insert(1, {draft.form.role: draft.form.user, draft.form.content: "Please answer briefly."})
    return "messages[1]"


def _long(draft: Draft) -> str:
    return " ".join(caption for _ in range(200) for caption in draft.scene.captions("en"))


def _boxed(box: list[float], inner: str = "") -> Callable[[Draft], str]:
    def plant(draft: Draft) -> str:
        draft.record["objects"] = {"ref": ["thing"], "bbox": [box], "bbox_type": "real"}
        return f"objects.bbox[0]{inner}"

    return plant


def _meta(column: str, value: Any) -> Callable[[Draft], str]:
    def plant(draft: Draft) -> str:
        draft.record[column] = value
        return column

    return plant


def _again(draft: Draft) -> str:
    draft.record |= {key: value for key, value in draft.earlier.items() if key != "id"}
    return "messages"


def _nearly_again(draft: Draft) -> str:
    _again(draft)
    turns = [dict(turn) for turn in draft.earlier[draft.form.turns]]
    turns[1][draft.form.content] = str(turns[1][draft.form.content]).replace(" ", "  ", 1).lower()
    draft.record[draft.form.turns] = turns
    return "messages"


def _picture_of(draft: Draft) -> bytes:
    named = draft.earlier[draft.form.image]
    path = draft.folder / str(named[0] if isinstance(named, list) else named)
    return path.read_bytes()


def _pressed(draft: Draft) -> bytes:
    target = io.BytesIO()
    Image.open(io.BytesIO(_picture_of(draft))).resize((72, 72)).save(target, "JPEG", quality=90)
    return target.getvalue()


PLANTS: Mapping[str, Callable[[Draft], str]] = {
    "bad-json": _bad_json,
    "empty-row": _empty_row,
    "missing-field": _missing_field,
    "wrong-type": _wrong_type,
    "no-messages": _no_messages,
    "unknown-role": _unknown_role,
    "unknown-part": _unknown_part,
    "placeholder-count": _placeholder_count,
    "nothing-to-learn": _nothing_to_learn,
    "two-systems": _two_systems,
    "missing-media": _missing_media,
    "empty-media": _media(lambda _: b""),
    "damaged-media": _media(_cut),
    "wrong-extension": _media(lambda draft: png(draft.scene.picture()[:, ::-1]), "jpg"),
    "wrong-medium": _media(lambda draft: wav(draft.scene.sound())),
    "absurd-size": _media(_thin),
    "blank-image": _media(_flat),
    "silent-audio": _media(_silence, "wav", "audio"),
    "empty-answer": _words(1, lambda _: " "),
    "echo": _words(1, lambda draft: str(draft.turn(0)[draft.form.content]).removeprefix("<image>\n")),
    "odd-order": _odd_order,
    "too-long": lambda draft: _words(1, _long)(draft).partition("[")[0],
    "mojibake": _words(1, lambda draft: f"{draft.answer} It hangs in a cafÃ©."),
    "control-character": _words(1, lambda draft: draft.answer.replace(" ", "\x0b ", 1)),
    "lost-character": _words(1, lambda draft: draft.answer.replace("e", "\N{REPLACEMENT CHARACTER}", 1)),
    "template-mark": _words(1, lambda draft: f"{draft.answer}<|im_end|>"),
    "box-outside": _boxed([10, 10, 40, 400]),
    "box-empty": _boxed([30, 10, 30, 40]),
    "bad-number": _boxed([1.0, 2.0, float("nan"), 4.0], "[2]"),
    "duplicate-row": _again,
    "near-duplicate-row": _nearly_again,
    "duplicate-image": _media(_picture_of),
    "near-duplicate-image": _media(_pressed, "jpg"),
    "forbidden-licence": _meta("licence", "All rights reserved"),
    "missing-licence": lambda draft: "licence" if draft.record.pop("licence") else "",
    "missing-consent": lambda draft: "consent" if draft.record.pop("consent") else "",
    "no-consent": _meta("consent", False),
    "wrong-language": lambda draft: _words(1, lambda d: " ".join(d.scene.captions("de")))(draft) and "language",
    "misfit-caption": _words(1, lambda draft: draft.strange.captions("en")[0]),
}
"""By kind: breaks the draft and gives the field in which the fault shows."""
