"""What is wrong with the words of one row: who speaks when, empty and echoed answers, damaged characters, boxes, numbers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sensorium.data.fault import RowError
from sensorium.errors import RequestError
from sensorium.media.objects import things_of
from sensorium.parts import Message, Sample, Text, message_from_json

Size = tuple[int, int]
"""Width and height of a picture, in pixels."""

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_LOST = re.compile("[�\ud800-\udfff]")
_FOREIGN = re.compile("[^\x00-\x7f]+")
_TEMPLATE = re.compile(r"<\|[a-z_0-9]{2,30}\|>|\[/?INST\]|<</?SYS>>|</?s>|<(?:start|end)_of_turn>|<unk>")
_BOX = re.compile(r'"bbox_2d"\s*:\s*\[([^\]]*)\]')
_SPACE = re.compile(r"\s+")


def text_of(message: Message) -> str:
    """The message's words, parts parted by line feeds."""
    return "\n".join(part.text for part in message.parts if isinstance(part, Text))


def check_words(sample: Sample, sizes: Sequence[Size] = (), longest: int = 20_000) -> Iterator[RowError]:
    """Everything wrong with a row's turns and words.

    Args:
        sizes: of the row's pictures, which the boxes must lie in.
        longest: characters a row may have.
    """
    yield from _order(sample.messages)
    yield from _answers(sample.messages)
    for number, message in enumerate(sample.messages):
        yield from _characters(text_of(message), f"messages[{number}]")
        yield from _written_boxes(text_of(message), f"messages[{number}]", sizes)
    total = sum(len(text_of(message)) for message in sample.messages)
    if total > longest:
        reason = f"have {total:,} characters, over the limit of {longest:,}"
        yield RowError("messages", "too-long", reason, "Split the row, or raise --longest")
    yield from _preference(sample)
    yield from _numbers(sample.meta, "")
    if isinstance(objects := sample.meta.get("objects"), Mapping):
        yield from _objects(objects, sizes)
    elif objects:
        yield from _listed(sample)


def repaired(text: str) -> str:
    """The text with mojibake read right and control characters taken out."""
    return _CONTROL.sub("", _FOREIGN.sub(lambda match: unmangled(match.group()) or match.group(), text))


def unmangled(run: str) -> str | None:
    """What a run of characters was before its UTF-8 was taken for Windows-1252 (`Ã¼` for `ü`); None where it was not."""
    try:
        raw = b"".join(_byte(character) for character in run)
        return raw.decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return None


def _byte(character: str) -> bytes:
    """Of Windows-1252, whose five gaps most programs fill from Latin-1."""
    try:
        return character.encode("cp1252")
    except UnicodeEncodeError:
        return character.encode("latin-1")


def _order(messages: Sequence[Message]) -> Iterator[RowError]:
    fix = "Reorder the turns: system first, then user and assistant in turn"
    before = None
    for number, message in enumerate(messages):
        field = f"messages[{number}]"
        if message.role == "system" and number > 0:
            yield RowError(field, "odd-order", "is a system message after the first turn", fix)
        elif message.role == "assistant" and before in (None, "system"):
            yield RowError(field, "odd-order", "is an answer before any question", fix)
        elif message.role == before and message.role in ("user", "assistant"):
            yield RowError(field, "odd-order", f"is a second {message.role}'s turn in a row", fix)
        elif message.role == "tool" and before not in ("assistant", "tool"):
            yield RowError(field, "odd-order", f"is a tool's result after {before or 'nothing'}, not after a call", fix)
        before = message.role
    if messages and messages[-1].role != "assistant":
        yield RowError(
            f"messages[{len(messages) - 1}]", "odd-order", f"ends the row with a {before}'s turn", "End on an answer"
        )


def _answers(messages: Sequence[Message]) -> Iterator[RowError]:
    asked = ""
    for number, message in enumerate(messages):
        field, said = f"messages[{number}]", text_of(message).strip()
        empty = not said and all(isinstance(part, Text) for part in message.parts)
        if message.role == "assistant":
            if empty:
                yield RowError(field, "empty-answer", "is an answer without words", "Write the answer, or remove the row")
            elif asked and _plain(said) == _plain(asked):
                reason = f"answers with the question itself ({_short(said)})"
                yield RowError(field, "echo", reason, "Write the answer, or remove the row")
        elif empty:
            yield RowError(field, "empty-question", f"is a {message.role}'s turn without words or media", "Remove the turn")
        asked = said if message.role == "user" else asked


def _characters(text: str, field: str) -> Iterator[RowError]:
    for match in _FOREIGN.finditer(text):
        if (meant := unmangled(match.group())) is not None:
            reason = f"holds {match.group()!r} where {meant!r} was meant: UTF-8 read as Windows-1252"
            yield RowError(field, "mojibake", reason, "Decode the file as UTF-8, or take the repaired copy (--fix)")
            break
    else:
        if control := _CONTROL.search(text):
            reason = f"holds the control character U+{ord(control.group()):04X} at character {control.start()}"
            yield RowError(field, "control-character", reason, "Take it out, or take the repaired copy (--fix)")
    if lost := _LOST.search(text):
        reason = f"holds U+{ord(lost.group()):04X} at character {lost.start()}, which stands for a lost one"
        yield RowError(field, "lost-character", reason, "Read the original again in its own encoding")
    if mark := _TEMPLATE.search(text):
        reason = f"holds {mark.group()!r}, a chat template's mark, which the model would learn as words"
        yield RowError(field, "template-mark", reason, "Keep what was said only; the template is applied later")


def _preference(sample: Sample) -> Iterator[RowError]:
    worse = sample.meta.get("rejected")
    if not isinstance(worse, list) or not sample.messages:
        return
    rejected = "\n".join(text_of(message_from_json(row)) for row in worse)
    if _plain(rejected) == _plain(text_of(sample.messages[-1])):
        yield RowError("rejected", "same-answers", "is the chosen answer again", "Give two different answers")


def _numbers(value: Any, path: str) -> Iterator[RowError]:
    if isinstance(value, float) and not math.isfinite(value):
        yield RowError(path, "bad-number", f"is {value}, not a finite number", "Write a number, or leave the field out")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _numbers(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _numbers(inner, f"{path}[{number}]")


def _objects(objects: Mapping[str, Any], sizes: Sequence[Size]) -> Iterator[RowError]:
    boxes, kind = objects.get("bbox") or (), objects.get("bbox_type", "real")
    which = objects.get("image_id") or [0] * len(boxes)
    for number, box in enumerate(boxes):
        size = (1, 1) if kind == "norm1" else _nth(sizes, which[number] if number < len(which) else 0)
        yield from _box(box, f"objects.bbox[{number}]", size)


def _listed(sample: Sample) -> Iterator[RowError]:
    """Objects one by one, each with its name and box, as whoever looks at them will read them."""
    try:
        things_of(sample)
    except RequestError as error:
        yield RowError("objects", "wrong-type", f"of {error.thing} {error.problem}", error.remedy)


def _written_boxes(text: str, field: str, sizes: Sequence[Size]) -> Iterator[RowError]:
    for match in _BOX.finditer(text):
        try:
            box = json.loads(f"[{match.group(1)}]")
        except json.JSONDecodeError:
            yield RowError(
                field, "bad-number", f"writes a box that is no list of numbers ({_short(match.group())})", "Write four"
            )
            continue
        yield from _box(box, field, _nth(sizes, 0))


def _box(box: Any, field: str, size: Size | None) -> Iterator[RowError]:
    fix = "Write [x0, y0, x1, y1] inside the picture"
    if not isinstance(box, list | tuple) or len(box) not in (2, 4) or not all(_is_number(edge) for edge in box):
        yield RowError(field, "bad-number", f"is {_short(str(box))}, not 2 or 4 numbers", fix)
        return
    if not all(math.isfinite(edge) for edge in box):
        return  # said by _numbers
    if len(box) == 4 and (box[2] <= box[0] or box[3] <= box[1]):
        yield RowError(field, "box-empty", f"is {list(box)}, which holds nothing", fix)
    elif size is not None and not all(0 <= edge <= size[place % 2] for place, edge in enumerate(box)):
        yield RowError(field, "box-outside", f"is {list(box)}, outside the picture of {size[0]} x {size[1]}", fix)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _nth(sizes: Sequence[Size], number: Any) -> Size | None:
    return sizes[number] if isinstance(number, int) and 0 <= number < len(sizes) else None


def _plain(text: str) -> str:
    return _SPACE.sub(" ", text).strip(" .?!").casefold()


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
