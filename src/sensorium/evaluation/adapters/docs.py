"""What lmms-eval makes of a row of its data: typed messages, or a text and a list of media, as conversations of ours."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import PIL.Image
import torch

from sensorium.errors import RequestError
from sensorium.media.audio import encode_wav
from sensorium.media.image import encode_png
from sensorium.media.source import load
from sensorium.parts import ROLES, Audio, Image, Media, Message, Part, Source, Text, Video
from sensorium.protocols import Sampling

_LOG = logging.getLogger(__name__)
_MARK = "<image>"
_PARTS: Mapping[str, type[Image | Audio | Video]] = {"image": Image, "audio": Audio, "video": Video}
_TOKENS = 128


def from_blocks(turns: Sequence[Mapping[str, Any]]) -> list[Message]:
    """`[{"role", "content": [{"type": "text", "text"} | {"type": "image" | "audio" | "video", "url"}]}]`.

    Raises:
        RequestError: another role or type, or a medium in a form that is not read.
    """
    messages = []
    for number, turn in enumerate(turns):
        role = next((known for known in ROLES if known == turn["role"]), None)
        if role is None:
            raise RequestError(f"message {number}", f"is of the role {turn['role']!r}", f"Use one of {', '.join(ROLES)}")
        content = turn["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        messages.append(Message(role, tuple(part for block in blocks for part in _block(block, number))))
    return messages


def from_visuals(context: str, visuals: Any) -> list[Message]:
    """One message: the media in the places of `<image>`, or all of them before the text where it has no such places.

    Raises:
        RequestError: as many places as media there are not, or a medium in a form that is not read.
    """
    given = [] if visuals is None else [item for item in visuals if item is not None]
    media = [part for item in given for part in _media(item, None)]
    pieces = context.split(_MARK)
    if len(pieces) == 1:
        return [Message("user", (*media, Text(context)))]
    if len(pieces) - 1 != len(media):
        problem = f"has {len(pieces) - 1} places {_MARK} for {len(media)} media"
        raise RequestError("context", problem, "Give the task a doc_to_visual that returns as many")
    parts: list[Part] = [Text(pieces[0])]
    for medium, after in zip(media, pieces[1:], strict=True):
        parts += [medium, Text(after)]
    return [Message("user", tuple(part for part in parts if part != Text("")))]


def sampling_of(wanted: Mapping[str, Any]) -> Sampling:
    """lmms-eval's `generation_kwargs`; what is meant for another family of models is left alone and told in the log."""
    given = {name: value for name, value in wanted.items() if value is not None}
    until = given.pop("until", ())
    drawn, temperature = given.pop("do_sample", None), float(given.pop("temperature", 0.0))
    greedy = drawn is False or temperature == 0
    filters = {name: given.pop(name) for name in ("top_p", "top_k", "min_p") if name in given}
    tokens, beams = int(given.pop("max_new_tokens", _TOKENS)), int(given.pop("num_beams", 1))
    if given:
        _LOG.warning("generation settings that are not followed here: %s", ", ".join(sorted(given)))
    stops = tuple(stop for stop in ([until] if isinstance(until, str) else until) if stop)
    if greedy:
        return Sampling(max_tokens=tokens, beams=beams, stop=stops)
    return Sampling(max_tokens=tokens, beams=beams, stop=stops, temperature=temperature, **filters)


def _block(block: Mapping[str, Any], number: int) -> list[Part]:
    if block["type"] == "text":
        return [Text(block["text"])]
    kind = _PARTS.get(block["type"])
    if kind is None:
        remedy = f"Use text, {', '.join(_PARTS)}"
        raise RequestError(f"message {number}", f"has a block of the type {block['type']!r}", remedy)
    return [*_media(block["url"], kind)]


def _media(item: Any, kind: type[Image | Audio | Video] | None) -> list[Media]:
    """A medium of a data set, by what it is; `kind` None is to be found out. Frames of a clip become pictures."""
    if isinstance(item, list | tuple) and item and all(isinstance(frame, PIL.Image.Image) for frame in item):
        return [Image(_png(frame)) for frame in item]
    if isinstance(item, PIL.Image.Image):
        return [Image(_png(item))]
    if isinstance(item, np.ndarray) and item.dtype == np.uint8 and item.ndim == 3 and item.shape[2] == 3:
        return [Image(encode_png(torch.from_numpy(item.copy()).permute(2, 0, 1)))]
    if isinstance(item, Mapping) and "array" in item:
        wave_T = torch.from_numpy(np.asarray(item["array"], dtype=np.float32))
        return [Audio(encode_wav(wave_T if wave_T.ndim == 1 else wave_T.mean(0), int(item["sampling_rate"])))]
    if isinstance(item, Mapping) and (source := item.get("bytes") or item.get("path")):
        item = source
    if isinstance(item, str | bytes):
        return [(kind or _kind_of(item))(item)]
    problem = f"is a {type(item).__module__}.{type(item).__name__}, which is not read here"
    raise RequestError(
        "medium of a task", problem, "Let the task give a path, bytes, a Pillow picture, or array and sampling_rate"
    )


def _kind_of(source: Source) -> type[Image | Audio | Video]:
    """By the file's own first bytes."""
    blob = load(source)
    kind = _PARTS.get(blob.media_type.partition("/")[0])
    if kind is None:
        raise RequestError(blob.name, f"is {blob.media_type}", f"Give one of {', '.join(_PARTS)}")
    return kind


def _png(picture: PIL.Image.Image) -> bytes:
    file = io.BytesIO()
    whole = picture if picture.mode in ("RGB", "RGBA", "L", "LA", "P", "1", "I;16") else picture.convert("RGB")
    whole.save(file, "PNG")
    return file.getvalue()
