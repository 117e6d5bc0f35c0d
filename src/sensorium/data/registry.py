"""LLaMA-Factory's `dataset_info.json`: named data sets, their dialect, and which columns and tags they use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from sensorium.data.conversation import Columns, Conversations
from sensorium.data.row import Remarks
from sensorium.data.spans import first_sign
from sensorium.data.table import Table
from sensorium.data.told import Told
from sensorium.data.turns import Tags
from sensorium.errors import DataError
from sensorium.parts import Role


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Columns(_Closed):
    prompt: str | None = None
    query: str | None = None
    response: str | None = None
    history: str | None = None
    messages: str | None = None
    system: str | None = None
    tools: str | None = None
    images: str | None = None
    videos: str | None = None
    audios: str | None = None
    chosen: str | None = None
    rejected: str | None = None
    kto_tag: str | None = None


class _Tags(_Closed):
    role_tag: str = "from"
    content_tag: str = "value"
    user_tag: str = "human"
    assistant_tag: str = "gpt"
    observation_tag: str = "observation"
    function_tag: str = "function_call"
    system_tag: str = "system"


class Entry(_Closed):
    """One data set of a registry."""

    file_name: str | None = None
    hf_hub_url: str | None = None
    ms_hub_url: str | None = None
    om_hub_url: str | None = None
    script_url: str | None = None
    cloud_file_name: str | None = None
    file_sha1: str | None = None
    formatting: Literal["alpaca", "sharegpt"] = "alpaca"
    ranking: bool = False
    subset: str | None = None
    split: str = "train"
    folder: str | None = None
    num_samples: int | None = None
    columns: _Columns = _Columns()
    tags: _Tags = _Tags()


def read_registry(path: str) -> dict[str, Entry]:
    """The entries of a `dataset_info.json` by name.

    Raises:
        DataError: it is not JSON, or an entry has a key that the format does not know.
    """
    try:
        content = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(path, f"cannot be read as a registry ({error})", "Give a dataset_info.json") from error
    if not isinstance(content, dict):
        raise DataError(path, "is not an object of named data sets", "Give a dataset_info.json")
    entries = {}
    for name, value in content.items():
        try:
            entries[name] = Entry.model_validate(value)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise DataError(
                f"{path}, {name}, {where}", first["msg"], "Correct it; see LLaMA-Factory's data/README.md"
            ) from error
    return entries


def open_registered(path: str, name: str | None, media: str | None) -> Told:
    """A data set of a registry.

    Args:
        name: needed when the registry has more than one.

    Raises:
        DataError: no such name, or the data are not a local file.
    """
    entries = read_registry(path)
    if name is None and len(entries) == 1:
        name = next(iter(entries))
    if name not in entries:
        problem = f"has {len(entries)} data sets" if name is None else f"has no data set {name!r}"
        raise DataError(path, problem, f"Choose one as dataset_info.json#NAME of {', '.join(entries)}")
    entry = entries[name]
    if entry.file_name is None:
        problem = "is not a local file (file_name)"
        raise DataError(f"{path}, {name}", problem, "Download it, or open it with sensorium.data.hub.open_hub")
    file = Path(path).parent / entry.file_name
    if not file.is_file():
        raise DataError(str(file), f"is not there, although {name!r} of {path} names it", "Correct file_name")
    layout: Literal["lines", "array", "csv"] = (
        "csv" if file.suffix == ".csv" else "array" if first_sign(str(file)) == "[" else "lines"
    )
    root = media or str(Path(path).parent)
    remarks = Remarks()
    tell = Conversations(root, remarks, columns_of(entry), tags_of(entry))
    return Told(name, Table(str(file), layout), tell, remarks, entry.num_samples or 0)


def columns_of(entry: Entry) -> Columns:
    """The names that an entry uses; what it does not name, by LLaMA-Factory's rule, is not used, but for the main columns."""
    given = entry.columns
    alpaca = entry.formatting == "alpaca"
    named = bool(given.model_fields_set)

    def one(name: str | None, default: str = "") -> tuple[str, ...]:
        return (name,) if name else (default,) if default else ()

    return Columns(
        messages=() if alpaca else one(given.messages, "conversations"),
        instruction=one(given.prompt, "" if named and given.prompt else "instruction") if alpaca else (),
        input=one(given.query, "" if named else "input") if alpaca else (),
        prompt=(),
        answer=one(given.response, "" if named else "output") if alpaca else (),
        history=one(given.history) if alpaca else (),
        system=one(given.system),
        tools=one(given.tools),
        chosen=one(given.chosen),
        rejected=one(given.rejected),
        label=one(given.kto_tag),
        media={"image": one(given.images), "video": one(given.videos), "audio": one(given.audios)},
    )


def tags_of(entry: Entry) -> Tags:
    """How the entry's messages name their sides."""
    if entry.formatting == "alpaca":
        return Tags()
    tags = entry.tags
    roles: dict[str, Role] = {
        tags.user_tag: "user",
        tags.assistant_tag: "assistant",
        tags.observation_tag: "tool",
        tags.function_tag: "assistant",
        tags.system_tag: "system",
    }
    return Tags(tags.role_tag, tags.content_tag, roles)
