"""One row of a data set as a YAML task sees it: fields by name, templates, functions; and whatever they give as media parts."""

from __future__ import annotations

import inspect
import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from PIL import Image as Pillow

from sensorium.data.kinds import kind_of_name
from sensorium.errors import RequestError
from sensorium.evaluation.tasks.rows import NAME, Row, picture
from sensorium.media.sniff import sniff
from sensorium.parts import Audio, Image, Media, Message, Part, Text, Video

How = str | Callable[..., Any]
Extra = Mapping[str, Any]
"""Of `lmms_eval_specific_kwargs`, what holds for every model: given to functions, and to templates as variables."""

_KINDS: Mapping[str, type[Image] | type[Audio] | type[Video]] = {"image": Image, "audio": Audio, "video": Video}


def _replace(text: str, pattern: str, by: str = "") -> str:
    return re.sub(pattern, by, text)


_TEMPLATES = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
_TEMPLATES.filters["regex_replace"] = _replace


def value(how: Any, doc: Row, extra: Extra, place: str) -> Any:
    """What a key gives for a row: a field of that name, else a template; or what a function returns; other values as they are.

    Raises:
        RequestError: a template that is broken or names a field that is not there.
    """
    if callable(how):
        return how(doc, dict(extra)) if extra and _takes_two(how) else how(doc)
    if not isinstance(how, str):
        return how
    if how in doc:
        return doc[how]
    if "{{" not in how and "{%" not in how and re.fullmatch(r"\w+", how):
        raise RequestError(f"{place} {how!r}", f"is no field; a row has {sorted(doc)}", "Name a field, or write a template")
    try:
        return _TEMPLATES.from_string(how).render(**{**extra, **doc})
    except TemplateError as error:
        raise RequestError(f"{place} {how!r}", f"cannot be filled in ({error})", f"A row has {sorted(doc)}") from error


def for_functions(doc: Row) -> Row:
    """The row as functions of lmms-eval expect it: pictures held as bytes are Pillow images."""
    return {name: _opened(cell) for name, cell in doc.items()}


def shown(found: Any, folder: Path, place: str) -> list[Media]:
    """What `doc_to_visual` gave as parts: names of files, bytes, Pillow images, sounds, clips; one or a list.

    Raises:
        RequestError: something else.
    """
    if found is None or (isinstance(found, str) and not found):
        return []
    if isinstance(found, list | tuple):
        return [part for one in found for part in shown(one, folder, place)]
    return [_part(found, folder, place)]


def messages(said: Any, folder: Path, place: str) -> tuple[Message, ...]:
    """What `doc_to_messages` gave: `[{"role", "content": [{"type": "text", "text"} | {"type": "image", "url"}]}]`.

    Raises:
        RequestError: something else.
    """
    if not isinstance(said, list) or not all(isinstance(turn, dict) for turn in said):
        raise RequestError(place, f"gave {type(said).__name__}, not a list of messages", 'Return [{"role", "content"}]')
    return tuple(Message(turn["role"], tuple(_parts(turn["content"], folder, place))) for turn in said)


def _parts(content: Any, folder: Path, place: str) -> list[Part]:
    if isinstance(content, str):
        return [Text(content)]
    parts: list[Part] = []
    for piece in content:
        kind = piece.get("type")
        if kind == "text":
            parts.append(Text(piece["text"]))
        else:
            given = next((piece[key] for key in ("url", kind, "path") if key in piece), None)
            parts += shown(given, folder, place)
    return parts


def _part(found: Any, folder: Path, place: str) -> Media:
    if isinstance(found, Image | Audio | Video):
        return found
    if isinstance(found, Pillow.Image):
        target = io.BytesIO()
        found.convert("RGB").save(target, "PNG")
        return Image(target.getvalue())
    if isinstance(found, Mapping) and "array" in found and "sampling_rate" in found:
        return Audio(_wav(np.asarray(found["array"], dtype=np.float32), int(found["sampling_rate"])))
    if isinstance(found, Mapping) and (found.get("bytes") or found.get("path")):
        return _part(found.get("bytes") or found["path"], folder, place)
    if isinstance(found, bytes):
        kind = sniff(found).partition("/")[0]
        if kind in _KINDS:
            return _KINDS[kind](found)
    if isinstance(found, str) and len(found) > NAME:
        return _part(picture(found, folder), folder, place)
    if isinstance(found, str | Path):
        named = kind_of_name(str(found))
        if named is not None:
            return _KINDS[named](str(folder / found))
    remedy = "Give names of picture, sound or video files, bytes, or Pillow images"
    raise RequestError(place, f"gave {type(found).__name__} {str(found)[:40]!r}, which is no medium", remedy)


def _wav(wave: np.ndarray[Any, np.dtype[np.float32]], rate: int) -> bytes:
    import soundfile

    target = io.BytesIO()
    soundfile.write(target, wave.squeeze(), rate, format="WAV", subtype="FLOAT")
    return target.getvalue()


def _opened(cell: Any) -> Any:
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    if isinstance(content, bytes) and sniff(content).startswith("image/"):
        return Pillow.open(io.BytesIO(content))
    return cell


def _takes_two(function: Callable[..., Any]) -> bool:
    parameters: Sequence[inspect.Parameter] = list(inspect.signature(function).parameters.values())
    return len(parameters) > 1 or any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in parameters)
