"""What is said: frozen values, equal by content, JSON both ways. Neither torch nor numpy is known here.

A conversation is Messages of Parts. A media part holds a source and a piece of it, never pixels: decoding belongs to `media`.
"""

from __future__ import annotations

import base64
import binascii
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from sensorium.errors import RequestError

Source = str | bytes
"""A path, a `data:` URL or an `http(s):` URL; or the file's bytes themselves."""

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = get_args(Role)
Finish = Literal["stop", "length", "choice"]
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Text:
    """Words."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """A still picture."""

    source: Source


@dataclass(frozen=True, slots=True)
class Audio:
    """A recording, or a stretch of one.

    Args:
        start, stop: seconds; `stop=None` is the end.
        spoken: the words in it are said to the model (a spoken question), rather than a recording to be listened to.
    """

    source: Source
    start: float = 0.0
    stop: float | None = None
    spoken: bool = False


@dataclass(frozen=True, slots=True)
class Video:
    """A clip with its sound, or a stretch of one; `start` and `stop` in seconds, `stop=None` is the end."""

    source: Source
    start: float = 0.0
    stop: float | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """Pages `first` to `last` of a document, counted from 1, both included; `last=None` is the last page."""

    source: Source
    first: int = 1
    last: int | None = None


Media = Image | Audio | Video | Document
Part = Text | Media


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `learn` marks the turns whose tokens are trained on."""

    role: Role
    parts: tuple[Part, ...]
    learn: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """One conversation with its identity; `meta` is plain JSON (licence, source, gold answers)."""

    id: str
    messages: tuple[Message, ...]
    meta: Json = field(default_factory=lambda: types.MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Reading:
    """Words found in a medium by character recognition, speech recognition or a page's text layer.

    Args:
        extent: where: `(y0, x0, y1, x1)` in 0..1 on a picture or page, `(t0, t1)` in seconds in sound.
        confidence: 0..1; 1.0 for a text layer.
    """

    text: str
    extent: tuple[float, ...]
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class Use:
    """What was really read of one media part; `..._total` is what the medium holds.

    Args:
        message, part: which part of which message.
        kind: `image`, `audio`, `video` or `document`.
        name: the source as a person would name it.
        tokens: positions it takes in the model's input, words read in it included.
        tiles: pictures shown to the image encoder.
        seconds: how much sound was heard. frames: the times, in seconds, of the frames seen. pages: the pages read.
        words: words read in it (see `Reading`).
        notes: anything else a person should know, such as a mixed-down channel or lines left out as illegible.
    """

    message: int
    part: int
    kind: str
    name: str
    tokens: int = 0
    tiles: int = 0
    seconds: float = 0.0
    seconds_total: float = 0.0
    frames: tuple[float, ...] = ()
    frames_total: int = 0
    pages: tuple[int, ...] = ()
    pages_total: int = 0
    words: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens in and out, and what was read of each medium.

    Args:
        notes: what a person should know of the answer as a whole, such as that a server counted no tokens.
    """

    input_tokens: int
    output_tokens: int
    media: tuple[Use, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenScore:
    """One generated token: its text, its log-probability under the model, and the runners-up when asked for."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said and what that rests on.

    Args:
        finish: `stop` (it ended by itself), `length` (it was cut at the token limit) or `choice` (one of the given choices).
        confidence: 0..1; `confidence_source` says how it was made.
        tokens: log-probabilities, always filled by our own models.
    """

    message: Message
    usage: Usage
    finish: Finish
    confidence: float | None = None
    confidence_source: str = ""
    tokens: tuple[TokenScore, ...] = ()

    @property
    def text(self) -> str:
        """The words of the answer."""
        return "".join(part.text for part in self.message.parts if isinstance(part, Text))


_TYPES: Mapping[str, type[Part]] = {"text": Text, "image": Image, "audio": Audio, "video": Video, "document": Document}
_NAMES = {kind: name for name, kind in _TYPES.items()}
_URL = ("data:", "http://", "https://")


def kind_of(part: Part) -> str:
    """`text`, `image`, `audio`, `video` or `document`."""
    return _NAMES[type(part)]


def part_to_json(part: Part) -> dict[str, Any]:
    """A part as the typed dictionary that chat tools exchange: `{"type": "image", "path" | "url" | "base64": ...}`."""
    row: dict[str, Any] = {"type": kind_of(part)}
    for item in fields(part):
        value = getattr(part, item.name)
        if item.name == "source":
            row |= _source_to_json(value)
        elif item.name == "text" or value != item.default:
            row[item.name] = value
    return row


def part_from_json(row: Json) -> Part:
    """The inverse of `part_to_json`.

    Raises:
        RequestError: an unknown type, an unknown or missing field, or bytes that are not base64.
    """
    name = row.get("type")
    kind = _TYPES.get(name) if isinstance(name, str) else None
    if kind is None:
        raise RequestError(f"part of type {name!r}", "is not known", f"Use one of {', '.join(_TYPES)}")
    rest = {key: value for key, value in row.items() if key != "type"}
    if kind is not Text:
        rest["source"] = _source_from_json(str(name), rest)
    known = {item.name for item in fields(kind)}
    if unknown := sorted(set(rest) - known):
        raise RequestError(f"part of type {name!r}", f"has unknown fields {unknown}", f"Its fields are {sorted(known)}")
    try:
        return kind(**rest)
    except TypeError as error:
        raise RequestError(f"part of type {name!r}", str(error), f"Its fields are {sorted(known)}") from error


def message_to_json(message: Message) -> dict[str, Any]:
    """`{"role", "content": [parts], "learn"?}`."""
    row: dict[str, Any] = {"role": message.role, "content": [part_to_json(part) for part in message.parts]}
    return row | ({"learn": True} if message.learn else {})


def message_from_json(row: Json) -> Message:
    """The inverse of `message_to_json`; `content` may also be one plain string.

    Raises:
        RequestError: an unknown role or field, or content that is neither a string nor a list of parts.
    """
    said, content = row.get("role"), row.get("content")
    role = next((known for known in ROLES if known == said), None)
    if role is None:
        raise RequestError(f"message with role {said!r}", "has an unknown role", f"Use one of {', '.join(ROLES)}")
    if unknown := sorted(set(row) - {"role", "content", "learn"}):
        raise RequestError(f"message of {role}", f"has unknown fields {unknown}", "Its fields are role, content and learn")
    if isinstance(content, str):
        return Message(role, (Text(content),), bool(row.get("learn", False)))
    if not isinstance(content, list):
        raise RequestError(f"message of {role}", "has neither a string nor a list of parts as content", "Give one of the two")
    return Message(role, tuple(part_from_json(part) for part in content), bool(row.get("learn", False)))


def sample_to_json(sample: Sample) -> dict[str, Any]:
    """`{"id", "messages", "meta"?}`."""
    row: dict[str, Any] = {"id": sample.id, "messages": [message_to_json(message) for message in sample.messages]}
    return row | ({"meta": dict(sample.meta)} if sample.meta else {})


def sample_from_json(row: Json) -> Sample:
    """The inverse of `sample_to_json`.

    Raises:
        RequestError: a missing id or list of messages, or a message that cannot be read.
    """
    if not isinstance(row.get("id"), str) or not isinstance(row.get("messages"), list):
        raise RequestError("sample", "lacks a string id or a list of messages", 'Write {"id": ..., "messages": [...]}')
    meta = types.MappingProxyType(dict(row.get("meta", {})))
    return Sample(row["id"], tuple(message_from_json(message) for message in row["messages"]), meta)


def usage_to_json(usage: Usage) -> dict[str, Any]:
    """Tokens and, for each medium, only the fields that say something."""
    media = [
        {item.name: getattr(use, item.name) for item in fields(use) if getattr(use, item.name) != item.default}
        for use in usage.media
    ]
    row: dict[str, Any] = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens, "media": media}
    return row | ({"notes": list(usage.notes)} if usage.notes else {})


def _source_to_json(source: Source) -> dict[str, str]:
    if isinstance(source, bytes):
        return {"base64": base64.b64encode(source).decode("ascii")}
    return {"url" if source.startswith(_URL) else "path": source}


def _source_from_json(name: str, rest: dict[str, Any]) -> Source:
    given = [key for key in ("path", "url", "base64") if key in rest]
    if len(given) != 1 or not isinstance(rest[given[0]], str):
        raise RequestError(f"part of type {name!r}", f"names {len(given)} sources", "Give one string: path, url or base64")
    value: str = rest.pop(given[0])
    if given[0] != "base64":
        return value
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise RequestError(f"part of type {name!r}", f"has bytes that are not base64 ({error})", "Encode them again") from error
