"""Arguments to Parts: which words of a command line are media and which are said."""

from __future__ import annotations

import json
import mimetypes
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sensorium.errors import AccessError, LimitError, MediaError, RequestError, SensoriumError
from sensorium.parts import Audio, Document, Image, Part, Source, Text, Video

STDIN = "-"
_URL = re.compile(r"(data:|https?://)", re.IGNORECASE)
_FILE = re.compile(r"[^\s]+\.[A-Za-z0-9]{2,5}$")


@dataclass(frozen=True, slots=True)
class Row:
    """One request: an id, the media it names, the question, and both as parts in their order."""

    id: str
    media: tuple[str, ...]
    question: str
    parts: tuple[Part, ...]


def is_medium(argument: str, absent: bool = False) -> bool:
    """Whether an argument names a medium: standard input, a URL, or a file that exists; with `absent` also one that does not,
    if its name says what it would be.

    Raises:
        MediaError: it is a folder, or looks like a file's name and no such file exists; a slip of the pen must not become
            the question.
    """
    if argument == STDIN or _URL.match(argument):
        return True
    try:
        if Path(argument).is_file():
            return True
        folder = os.sep in argument and Path(argument).is_dir()
    except OSError:
        return False
    if folder:
        raise MediaError(argument, "is a folder", f"Name the files in it, such as {Path(argument) / '*'}")
    if _FILE.fullmatch(argument):
        if absent and _by_name(argument) is not None:
            return True
        raise MediaError(argument, "no such file", "Check the path, or put the question in words with a space in it")
    return False


def medium(argument: str, urls: Sequence[str] = (), absent: bool = False) -> Part:
    """The part that an argument names; its kind is read from its content, or with `absent` from its name at last.

    Raises:
        MediaError: it cannot be read, or is of no known kind.
    """
    from sensorium.media.text import part_from_source

    source: Source = sys.stdin.buffer.read() if argument == STDIN else argument
    try:
        return part_from_source(source, access=access(urls))
    except (AccessError, LimitError):
        raise
    except MediaError:
        named = _by_name(argument) if absent else None
        if named is None:
            raise
        return named


def _by_name(argument: str) -> Part | None:
    """The part that a file would be by its extension."""
    guessed = (mimetypes.guess_type(argument)[0] or "").removeprefix("application/").partition("/")[0]
    kind = {"image": Image, "audio": Audio, "video": Video, "pdf": Document}.get(guessed)
    return None if kind is None else kind(argument)


def access(urls: Sequence[str]) -> Any:
    """The media connector's permission for the given hosts."""
    from sensorium.media.source import Access

    return Access(hosts=tuple(urls))


def conversation(arguments: Sequence[str], urls: Sequence[str] = (), absent: bool = False) -> Row:
    """Media and words in the order in which they were given.

    With no words at all, a recording at the end is the question, spoken. See `medium` for `absent`.

    Raises:
        RequestError: there is neither a question nor a recording to take for it.
    """
    named = [argument for argument in arguments if is_medium(argument, absent)]
    said = [argument for argument in arguments if argument not in named]
    parts = [medium(argument, urls, absent) if argument in named else Text(argument) for argument in arguments]
    if not said:
        last = parts[-1] if parts else None
        if not isinstance(last, Audio):
            raise RequestError(
                "ask", "was given no question", 'Write it as the last argument, as in: ask photo.jpg "What is this?"'
            )
        parts[-1] = Audio(last.source, last.start, last.stop, spoken=True)
    return Row("", tuple(named), " ".join(said), tuple(parts))


@dataclass(frozen=True, slots=True)
class Failed:
    """A row that could not be read, with as much of it as was understood."""

    row: Row
    error: SensoriumError


def rows_of(file: Path, default_question: str, urls: Sequence[str] = (), absent: bool = False) -> Iterator[Row | Failed]:
    """The rows of a batch file; a bad one is given with its error, and the rest go on. See `medium` for `absent`.

    Raises:
        MediaError: the file itself cannot be read.
    """
    for number, line in enumerate(lines_of(file), 1):
        known = Row(f"line {number}", (), "", ())
        try:
            row = parse(line, f"{file}:{number}")
            known = replace(known, id=str(row.get("id", known.id)))
            media, question = row.get("media", []), row.get("question") or default_question
            if not isinstance(media, list) or not all(isinstance(item, str) for item in media) or not isinstance(question, str):
                raise RequestError(
                    f"{file}:{number}", "media is not a list of strings or question not a string", "Correct the row"
                )
            known = replace(known, media=tuple(media), question=question)
            paths = [str(file.parent / item) if _is_relative(item) else item for item in media]
            yield replace(known, parts=(*(medium(path, urls, absent) for path in paths), Text(question)))
        except SensoriumError as error:
            yield Failed(known, error)


def lines_of(file: Path) -> list[str]:
    """The lines of a text file that hold something.

    Raises:
        MediaError: it cannot be read as UTF-8 text.
    """
    try:
        return [line for line in file.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise MediaError(str(file), f"cannot be read ({error})", "Give a JSON-lines file in UTF-8") from error


def parse(line: str, name: str) -> Mapping[str, Any]:
    """One JSON object.

    Raises:
        RequestError: the line is not one.
    """
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise RequestError(name, f"is not JSON ({error})", 'Write {"id": ..., "media": [...], "question": ...}') from error
    if not isinstance(row, dict):
        raise RequestError(name, "is not a JSON object", 'Write {"id": ..., "media": [...], "question": ...}')
    return row


def _is_relative(item: str) -> bool:
    return not _URL.match(item) and not Path(item).is_absolute()
