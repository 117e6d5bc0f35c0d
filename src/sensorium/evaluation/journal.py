"""Answers by the hash of all that they depend on, kept as they come, so that none is computed twice."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self

import numpy as np

from sensorium.evaluation.subject import Subject
from sensorium.evaluation.task import Item, Reply
from sensorium.media import source
from sensorium.parts import Media, Message, Part, Text, kind_of, part_to_json
from sensorium.protocols import Sampling

How = Literal["text", "transcript", "choice", "vector"]
Vector = np.ndarray[Any, np.dtype[np.float32]]


class Journal:
    """A file to which batches of replies are appended, a line each: a batch is there as a whole or not at all.

    Args:
        path: of the file; a last line cut short by a crash is dropped. subject: whose answers these are.
        code: hash of the source that answers depend on.
    """

    def __init__(self, path: Path, subject: Subject, code: str) -> None:
        self.known: dict[str, Any] = {}
        self._seed = f"{subject.fingerprint}\0{code}"
        path.parent.mkdir(parents=True, exist_ok=True)
        good = 0
        if path.is_file():
            with path.open("rb") as file:
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self.known |= json.loads(line)
                    good += len(line)
            os.truncate(path, good)
        self._file: IO[str] = path.open("a", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def key(self, item: Item, how: How, sampling: Sampling | None) -> str:
        """The hash of the model, the code, the conversation with its media's content, and how it is answered."""
        messages = [[message.role, [_content(part) for part in message.parts]] for message in item.sample.messages]
        row = [messages, how, item.choices, None if sampling is None else asdict(sampling)]
        return hashlib.sha256(f"{self._seed}\0{json.dumps(row, ensure_ascii=False)}".encode()).hexdigest()

    def reply(self, key: str) -> Reply | None:
        """The reply kept under a key."""
        row = self.known.get(key)
        if row is None:
            return None
        return Reply(**(row | {name: tuple(row[name]) for name in ("logprobs", "ranking", "notes")}))

    def found(self, key: str) -> Vector | Reply | None:
        """The vector kept under a key, `(dim,)`; the reply where the model refused to give one."""
        row = self.known.get(key, {})
        return np.frombuffer(base64.b64decode(row["vector"]), np.float32) if "vector" in row else self.reply(key)

    def keep(self, fresh: Mapping[str, Reply | Vector]) -> None:
        """One batch, on disk before this returns."""
        rows = {key: reply._asdict() if isinstance(reply, Reply) else _packed(reply) for key, reply in fresh.items()}
        self.known |= rows
        self._file.write(json.dumps(rows, ensure_ascii=False) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def told(messages: Sequence[Message], data: Path) -> tuple[dict[str, Any], ...]:
    """A conversation as plain JSON: media by path below the data folder where they lie there, and by their SHA-256."""
    return tuple({"role": message.role, "content": [_shown(part, data) for part in message.parts]} for message in messages)


def _shown(part: Part, data: Path) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part.source, bytes):
        return {"type": kind_of(part), "sha256": hashlib.sha256(part.source).hexdigest(), "bytes": len(part.source)}
    row = part_to_json(part) | {"sha256": _digest(part)}
    if (path := Path(part.source)).is_relative_to(data):
        row["path"] = path.relative_to(data).as_posix()
    return row


def _content(part: Part) -> list[Any]:
    """A part by its content, wherever it lies."""
    if isinstance(part, Text):
        return ["text", part.text]
    row = part_to_json(part)
    settings = {name: value for name, value in row.items() if name not in ("type", "path", "url", "base64")}
    return [kind_of(part), _digest(part), settings]


def _digest(part: Media) -> str:
    """SHA-256 of a medium; the name itself of one that is not there, which the model will refuse, and of a URL."""
    if isinstance(part.source, bytes):
        return hashlib.sha256(part.source).hexdigest()
    if not Path(part.source).is_file():
        return part.source
    stat = Path(part.source).stat()
    return _digest_of(part.source, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=1 << 16)
def _digest_of(path: str, size: int, changed: int) -> str:
    """Kept by size and time of change too, so that a file written anew is read anew."""
    del size, changed
    return source.load(path).digest


def _packed(vector: Vector) -> dict[str, str]:
    return {"vector": base64.b64encode(vector.astype(np.float32).tobytes()).decode()}
