"""Messages as people write them, `from`/`value` or `role`/`content`, in one form: who, what, whether it is learned."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sensorium.data.attached import KINDS, Attached, Kind, medium
from sensorium.data.fault import RowError
from sensorium.data.record import wrong_type
from sensorium.data.row import Remarks
from sensorium.parts import Message, Part, Role

_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "tool_response": "tool",
}
_LEARN = ("loss", "learn", "train", "weight", "loss_scale")
_SOURCES = ("image", "video", "audio", "image_url", "video_url", "audio_url", "input_audio", "path", "url", "base64", "bytes")
_PARTS: Mapping[str, Kind] = {
    **{kind: kind for kind in KINDS},
    **{f"{kind}_url": kind for kind in KINDS},
    **{f"input_{kind}": kind for kind in KINDS},
}


@dataclass(frozen=True, slots=True)
class Tags:
    """How messages name their sides; the names LLaMA-Factory's registry uses.

    Args:
        role, content: the fields of a message; by default `from` and `value`, or `role` and `content`, whichever is there.
        roles: what stands in the role field, and whom it means.
    """

    role: str | None = None
    content: str | None = None
    roles: Mapping[str, Role] = field(default_factory=lambda: _ROLES)


class Turn(NamedTuple):
    """A message before its placeholders meet their media. `place` names it in a fault."""

    role: Role
    content: Any
    learn: bool
    place: str


def read_turns(items: Any, place: str, tags: Tags, remarks: Remarks) -> list[Turn]:
    """A list of messages; also pairs such as `{"human": ..., "assistant": ...}`.

    Raises:
        RowError: not a list of messages, an unknown role, or a message without words.
    """
    items = [items] if isinstance(items, Mapping) else items
    if not isinstance(items, list | tuple):
        raise wrong_type(place, items, "a list of messages")
    if not items:
        raise RowError(place, "no-messages", "has no messages", "Remove the row")
    turns: list[Turn] = []
    for number, item in enumerate(items):
        where = f"{place}[{number}]"
        if not isinstance(item, Mapping):
            raise wrong_type(where, item, "an object with a role and a content")
        item = {key: value for key, value in item.items() if value is not None}
        if set(item) == {"human", "assistant"} and tags.role is None:
            turns += [Turn(who, item[name], who == "assistant", f"{where}.{name}") for name, who in _PAIR]
        else:
            turns.append(_turn(item, where, tags, remarks))
    return turns


_PAIR: Sequence[tuple[str, Role]] = (("human", "user"), ("assistant", "assistant"))


def to_messages(turns: Iterable[Turn], media: Attached, remarks: Remarks) -> list[Message]:
    """Messages with their media in place.

    Raises:
        RowError: content that is neither words nor a list of typed parts, or a part that is not known.
    """
    return [Message(turn.role, tuple(_parts(turn, media, remarks)), turn.learn) for turn in turns]


def _turn(item: Mapping[str, Any], where: str, tags: Tags, remarks: Remarks) -> Turn:
    role_key = tags.role or ("from" if "from" in item else "role")
    said = item.get(role_key)
    if said is None:
        raise RowError(
            where, "missing-field", f"has no {role_key!r}; its fields are {sorted(item)}", f"Say who speaks in {role_key!r}"
        )
    role = tags.roles.get(said) if isinstance(said, str) else None
    if role is None:
        known = ", ".join(tags.roles)
        raise RowError(f"{where}.{role_key}", "unknown-role", f"is {said!r}", f"Use one of {known}")
    content_key = tags.content or ("value" if "value" in item and "content" not in item else "content")
    content, used = item.get(content_key), {role_key, content_key, *_LEARN}
    if isinstance(item.get("tool_calls"), list) and item["tool_calls"]:
        used.add("tool_calls")
        content = (content if isinstance(content, str) else "") + _calls(item["tool_calls"])
    if content is None:
        reason = f"has no {content_key!r}; its fields are {sorted(item)}"
        raise RowError(where, "missing-field", reason, f"Put what is said into {content_key!r}")
    remarks.ignored |= {f"{where.partition('[')[0]}[].{key}" for key in set(item) - used}
    return Turn(role, content, role == "assistant" and _learned(item, remarks), f"{where}.{content_key}")


def _learned(item: Mapping[str, Any], remarks: Remarks) -> bool:
    given = [item[key] for key in _LEARN if key in item]
    if any(value not in (0, 1) for value in given):
        remarks.notes["loss weights other than 0 and 1 were taken as 1"] += 1
    return all(value != 0 for value in given)


def _calls(calls: Sequence[Any]) -> str:
    bare = [call.get("function", call) if isinstance(call, Mapping) else call for call in calls]
    return json.dumps(bare[0] if len(bare) == 1 else bare, ensure_ascii=False)


def _parts(turn: Turn, media: Attached, remarks: Remarks) -> list[Part]:
    if isinstance(turn.content, str):
        return media.parts(turn.content)
    if not isinstance(turn.content, list | tuple):
        raise wrong_type(turn.place, turn.content, "a string or a list of typed parts")
    parts: list[Part] = []
    for number, item in enumerate(turn.content):
        parts += _part(item, f"{turn.place}[{number}]", media, remarks)
    return parts


def _part(item: Any, where: str, media: Attached, remarks: Remarks) -> list[Part]:
    if isinstance(item, str):
        return media.parts(item)
    if not isinstance(item, Mapping):
        raise wrong_type(where, item, "a typed part")
    item = {key: value for key, value in item.items() if value is not None}
    said = item.get("type", "text" if "text" in item else None)
    if said == "text" or said == "input_text":
        if not isinstance(item.get("text"), str):
            raise wrong_type(f"{where}.text", item.get("text"), "a string")
        return media.parts(item["text"])
    kind = _PARTS.get(said) if isinstance(said, str) else None
    if kind is None:
        fix = f"Use text, {', '.join(_PARTS)}"
        raise RowError(f"{where}.type", "unknown-part", f"is {said!r}", fix)
    remarks.ignored |= {f"{kind} part: {key}" for key in set(item) - {"type", "text", *_SOURCES}}
    given = {key: item[key] for key in _SOURCES if key in item}
    if not given:
        return [media.next(kind)]
    return [medium(kind, given, media.root, where)]
