"""Open training data of any known dialect as a source of rows."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Literal, get_args

from sensorium.data.coco import open_coco
from sensorium.data.conversation import Columns, Conversations
from sensorium.data.fault import Fault, RowError
from sensorium.data.folders import METADATA, open_folder
from sensorium.data.hub import open_hub
from sensorium.data.own import Own
from sensorium.data.record import Record
from sensorium.data.registry import open_registered
from sensorium.data.row import Indexed, Remarks, Row, Source, Streamed
from sensorium.data.shards import open_shards
from sensorium.data.spans import first_sign, members
from sensorium.data.table import Layout, Table
from sensorium.data.told import Tell, Told
from sensorium.data.vqa import open_vqa
from sensorium.errors import DataError

__all__ = ["DIALECTS", "Dialect", "Fault", "Indexed", "Row", "Source", "Streamed", "open_source"]

Dialect = Literal["conversations", "sensorium", "coco", "vqa", "webdataset", "folder", "registry", "datasets"]
"""`conversations` are LLaVA, ShareGPT, `messages`, Alpaca, ms-swift and TRL rows; `registry` is a `dataset_info.json`."""
DIALECTS: tuple[Dialect, ...] = get_args(Dialect)
_LOOK = 20


def open_source(path: str | Path, dialect: Dialect | None = None, media: str | Path | None = None) -> Source:
    """Open a file, a folder or a pattern of shards.

    Args:
        path: of a registry with several data sets, `dataset_info.json#NAME`; of the hub's, `OWNER/NAME#SPLIT` with the dialect
            `datasets`.
        dialect: found out from the content by default.
        media: the folder that relative media paths start from; by default the folder of the file.

    Raises:
        DataError: there is no such file, or its dialect is not known.
    """
    name, _, part = str(path).partition("#")
    path = name if part and not Path(path).exists() else str(path)
    dialect = dialect or sniff_dialect(path)
    file = Path(path)
    root = str(media) if media is not None else str(file if file.is_dir() else file.parent)
    if dialect == "webdataset":
        return open_shards(path)
    if dialect == "datasets":
        return open_hub(path, split=part or "train", media=root if file.exists() else "")
    if not file.exists():
        raise DataError(path, "is not there", "Check the path")
    if dialect == "folder":
        return open_folder(path)
    if dialect == "registry":
        path = str(file / "dataset_info.json") if file.is_dir() else path
        return open_registered(path, part or None, None if media is None else root)
    if file.is_dir():
        raise DataError(path, f"is a folder, and the dialect {dialect} is kept in a file", "Name the file")
    if dialect == "coco":
        return open_coco(path, root)
    if dialect == "vqa":
        return open_vqa(path, root)
    remarks = Remarks()
    tell: Tell = Own(root, remarks) if dialect == "sensorium" else Conversations(root, remarks)
    return Told(file.name, Table(path, _layout(path)), tell, remarks)


def sniff_dialect(path: str) -> Dialect:
    """Which dialect a file or folder is in, by its content.

    Raises:
        DataError: none that is known; the message names what was found.
    """
    file = Path(path)
    if file.suffix == ".tar" or (file.is_dir() and next(file.glob("*.tar"), None)):
        return "webdataset"
    if file.joinpath("dataset_info.json").is_file() and not file.joinpath("state.json").is_file():
        return "registry"
    if file.is_dir():
        return "datasets" if file.joinpath("state.json").is_file() or file.joinpath("dataset_dict.json").is_file() else "folder"
    if not file.is_file():
        raise DataError(path, "is not there", "Check the path; for the hub's data give the dialect `datasets`")
    if file.suffix in (".parquet", ".arrow"):
        return "datasets"
    if file.name in METADATA:
        problem = "is read with the files beside it"
        raise DataError(path, problem, f"Open its folder, {file.parent}")
    if first_sign(path) == "{" and file.suffix == ".json":
        found = _sniff_object(path)
        if found is not None:
            return found
    return _sniff_rows(path)


def _sniff_object(path: str) -> Dialect | None:
    if Path(path).name == "dataset_info.json":
        return "registry"
    for key, _ in islice(members(path), 1000):
        if key == "questions":
            return "vqa"
        if key == "annotations":
            return "coco"
        if key in ("id", "messages", "conversations"):
            return None
    return None


def _sniff_rows(path: str) -> Dialect:
    seen: list[str] = []
    for found in islice(Table(path, _layout(path)).records(), _LOOK):
        if isinstance(found.record, RowError):
            seen.append(found.record.reason)
            continue
        if _is_own(found.record):
            return "sensorium"
        if Columns().fit(found.record):
            return "conversations"
        seen.append(f"columns {sorted(found.record.values)}")
    problem = f"is of no known dialect; its first row: {seen[0]}" if seen else "has no rows"
    raise DataError(path, problem, f"Rename the columns, or give the dialect: {', '.join(DIALECTS)}")


def _is_own(record: Record) -> bool:
    messages = record.values.get("messages")
    if not set(record.values) <= {"id", "messages", "meta"} or not isinstance(messages, list):
        return False
    return any(
        isinstance(said, dict) and said.get("learn") is True and isinstance(said.get("content"), list) for said in messages
    )


def _layout(path: str) -> Layout:
    if Path(path).suffix == ".csv":
        return "csv"
    return "array" if first_sign(path) == "[" else "lines"
