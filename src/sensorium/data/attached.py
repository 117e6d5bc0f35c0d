"""The media of one row, and where they stand in its words: `<image>`, `<video>`, `<audio>`, or typed parts without a source.

A text and the medium beside it are parted by one line feed by custom; that one is not part of the text.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from sensorium.data.fault import RowError
from sensorium.data.record import Record, wrong_type
from sensorium.data.row import Remarks
from sensorium.parts import Audio, Image, Media, Message, Part, Text, Video

Kind = Literal["image", "video", "audio"]
KINDS: tuple[Kind, ...] = get_args(Kind)
COLUMNS: Mapping[Kind, tuple[str, ...]] = {
    "image": ("images", "image"),
    "video": ("videos", "video"),
    "audio": ("audios", "audio", "sound"),
}
_PLACE = re.compile(r"(<image>|<video>|<audio>)")
_ELSEWHERE = re.compile(r"data:|https?://", re.IGNORECASE)
_TYPES: Mapping[Kind, type[Image] | type[Video] | type[Audio]] = {"image": Image, "video": Video, "audio": Audio}


class Attached:
    """Media in the order of their columns, handed out as places for them are met.

    Args:
        root: the folder that relative paths start from.
    """

    def __init__(self, given: Mapping[Kind, Sequence[Media]], root: str, names: Mapping[Kind, str]) -> None:
        self.given, self.root, self._names = given, root, names
        self._next = dict.fromkeys(KINDS, 0)

    @classmethod
    def of(cls, record: Record, root: str, columns: Mapping[Kind, tuple[str, ...]] = COLUMNS) -> Attached:
        """The media columns of a row; one medium may be given without a list around it.

        Raises:
            RowError: a value that names no medium, or two columns for the same kind.
        """
        given: dict[Kind, list[Media]] = {}
        names: dict[Kind, str] = {}
        for kind in KINDS:
            filled = [name for name in columns[kind] if record.take(name) not in (None, "", [])]
            if len(filled) > 1:
                reason = f"is given beside {filled[0]}, and both hold media"
                raise RowError(filled[1], "wrong-type", reason, "Put all of them into one column")
            names[kind] = filled[0] if filled else columns[kind][0] if columns[kind] else f"{kind}s"
            value = record.take(*filled) if filled else []
            items = value if isinstance(value, list | tuple) else _listed(value)
            given[kind] = [medium(kind, item, root, f"{names[kind]}[{number}]") for number, item in enumerate(items)]
        return cls(given, root, names)

    def parts(self, text: str) -> list[Part]:
        """Words with placeholders as parts; each placeholder takes the next medium of its kind."""
        pieces = _PLACE.split(text)
        parts: list[Part] = []
        for number, piece in enumerate(pieces):
            if number % 2:
                parts.append(self.next(_kind(piece)))
                continue
            piece = piece[1:] if number > 0 and piece.startswith("\n") else piece
            piece = piece[:-1] if number + 1 < len(pieces) and piece.endswith("\n") else piece
            if piece:
                parts.append(Text(piece))
        return parts

    def next(self, kind: Kind) -> Media:
        """The next medium of a kind; past the last one an empty stand-in, for which `settle` refuses the row."""
        place = self._next[kind]
        self._next[kind] += 1
        if place < len(self.given[kind]):
            return self.given[kind][place]
        return _TYPES[kind](b"")

    def settle(self, messages: list[Message], remarks: Remarks) -> list[Message]:
        """Check that places and media are equally many; media of a kind that has no places go before the first user's words.

        Raises:
            RowError: the counts differ, or there is no user's message to put them into.
        """
        for kind in KINDS:
            places, have = self._next[kind], len(self.given[kind])
            if places not in (0, have):
                reason = f"holds {_count(have, kind)}, but the messages have {_count(places, 'place')} for them"
                fix = (
                    f"Write <{kind}> once for each of the {have}"
                    if have
                    else f"Name the {kind} in a column, or take <{kind}> out"
                )
                raise RowError(self._names[kind], "placeholder-count", reason, fix)
        loose = [item for kind in KINDS if not self._next[kind] for item in self.given[kind]]
        if not loose:
            return messages
        first = next((number for number, message in enumerate(messages) if message.role == "user"), None)
        if first is None:
            raise RowError("messages", "no-messages", "has media, but no user's message to show them in", "Add one")
        remarks.notes["media without placeholders were put before the first user's words"] += 1
        shown = Message(messages[first].role, (*loose, *messages[first].parts), messages[first].learn)
        return [*messages[:first], shown, *messages[first + 1 :]]


def medium(kind: Kind, value: Any, root: str, field: str) -> Media:
    """A path, a URL, bytes, or an object that holds one of these (`path`, `url`, `bytes`, `base64`, or the kind's name).

    Raises:
        RowError: anything else.
    """
    if isinstance(value, Mapping):
        value = _unwrapped(kind, value, field)
    if isinstance(value, bytes) and value:
        return _TYPES[kind](value)
    if isinstance(value, list | tuple) and kind == "video":
        fix = "Join the frames into a clip, such as with ffmpeg, or list them as images"
        raise RowError(field, "frame-list", f"is a list of {len(value)} frames, not a clip", fix)
    if not isinstance(value, str) or not value.strip():
        raise wrong_type(field, value, f"the path or URL of one {kind}")
    return _TYPES[kind](resolved(value, root))


def resolved(path: str, root: str) -> str:
    """A path from the media folder; URLs and absolute paths stay as they are."""
    if _ELSEWHERE.match(path):
        return path
    return str(Path(root, path.removeprefix("file://")))


def _unwrapped(kind: Kind, value: Mapping[str, Any], field: str) -> Any:
    given = {key: item for key, item in value.items() if item is not None}
    for key in ("bytes", kind, f"{kind}_url", "path", "url"):
        if key in given:
            inner = given[key]
            return _unwrapped(kind, inner, field) if isinstance(inner, Mapping) else inner
    if isinstance(given.get("base64"), str):
        try:
            return base64.b64decode(given["base64"], validate=True)
        except binascii.Error as error:
            raise RowError(
                field, "wrong-type", f"holds base64 that cannot be read ({error})", "Encode the file again"
            ) from error
    raise RowError(field, "missing-field", f"is an object with {sorted(given)}", "Give it a path or a url")


def _listed(value: Any) -> list[Any]:
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            items = json.loads(value)
        except json.JSONDecodeError:
            return [value]
        return items if isinstance(items, list) else [value]
    return [value]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _kind(placeholder: str) -> Kind:
    return next(kind for kind in KINDS if placeholder == f"<{kind}>")
