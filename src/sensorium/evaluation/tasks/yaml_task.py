"""Tasks in the form of lmms-eval's YAML: the same keys, data of a local folder or file; scored and estimated as ours."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensorium.errors import RequestError
from sensorium.evaluation.task import Item, Task
from sensorium.evaluation.tasks import yaml_doc as doc
from sensorium.evaluation.tasks.rows import Row, rows
from sensorium.evaluation.tasks.yaml_file import SPLITS, TaskFile, read_file
from sensorium.evaluation.tasks.yaml_metrics import judge_of
from sensorium.parts import Message, Sample, Text
from sensorium.protocols import Sampling

OUTPUTS = ("generate_until", "multiple_choice", "loglikelihood")
_SUFFIXES = (".parquet", ".jsonl", ".json", ".csv", ".tsv")
_SAMPLING = {"max_new_tokens": "max_tokens", "temperature": "temperature", "top_p": "top_p", "top_k": "top_k"} | {
    "num_beams": "beams",
    "length_penalty": "length_penalty",
    "repetition_penalty": "repetition_penalty",
}


def read_yaml(path: Path, *, trust: bool = False) -> Task:
    """The task that a file describes.

    Args:
        trust: whether `!function` may run Python that lies beside it.

    Raises:
        RequestError: a key that is unknown, missing or wrong; the message names it.
    """
    file = read_file(path, trust=trust)
    exam = _Exam(file, _extra(file), _output(file))
    judge = judge_of(file, exam.output)
    said = f"{file.values['task']}: {path.name} in the form of lmms-eval"
    idle = [*file.idle, *_not_used(file)]
    return Task(
        name=str(file.values["task"]),
        about=said + (f"; not used: {', '.join(idle)}" if idle else ""),
        items=exam.items,
        score=judge.score,
        main=judge.main,
        missed=judge.missed,
        corpus=judge.corpus,
        answer=None if exam.output == "loglikelihood" or "doc_to_target" not in file.values else _answer,
        sampling=_sampling(file),
        splits=_splits(file),
        needs=("image", "audio", "video") if {"doc_to_visual", "doc_to_messages"} & set(file.values) else (),
        extractor=judge.extractor,
        version=_version(file),
    )


@dataclass(frozen=True)
class _Exam:
    """Makes items of rows."""

    file: TaskFile
    extra: Mapping[str, Any]
    output: str

    def items(self, data: Path, split: str) -> Iterator[Item]:
        """The rows of a split, in order."""
        folder, tables = _tables(self.file, data, split)
        number = 0
        for table in tables:
            for row in rows(table):
                yield self._item(row, f"{split}-{number}", folder)
                number += 1

    def _item(self, row: Row, identity: str, folder: Path) -> Item:
        shown = self.file.values.get("doc_to_visual")
        gold: Row = {"doc": {key: cell for key, cell in row.items() if key != shown and _is_json(cell)}}
        choices: tuple[str, ...] = ()
        if "doc_to_target" in self.file.values:
            gold["target"] = self._value("doc_to_target", row)
        if self.output == "multiple_choice":
            choices = self._choices(row)
            gold["right"] = self._place(gold["target"], choices)
        elif self.output == "loglikelihood":
            choices = (str(gold["target"]),)
        return Item(Sample(identity, self._asked(row, folder)), gold, choices=choices)

    def _asked(self, row: Row, folder: Path) -> tuple[Message, ...]:
        if "doc_to_messages" in self.file.values:
            return doc.messages(self._value("doc_to_messages", row), folder, f"{self.file.path}, doc_to_messages")
        media = self._value("doc_to_visual", row) if "doc_to_visual" in self.file.values else None
        shown = doc.shown(media, folder, f"{self.file.path}, doc_to_visual")
        text = f"{self.file.values.get('description') or ''}{self._value('doc_to_text', row)}"
        return (Message("user", (*shown, Text(text)) if text else tuple(shown)),)

    def _choices(self, row: Row) -> tuple[str, ...]:
        found = self._value("doc_to_choice", row)
        if isinstance(found, str):
            found = ast.literal_eval(found) if found.strip().startswith(("[", "(")) else None
        if isinstance(found, Mapping):
            found = list(found.values())
        if not isinstance(found, list | tuple) or len(found) < 2:
            raise self.file.error(
                "doc_to_choice", "gives no list of at least 2 choices", "Give a list, or a field that holds one"
            )
        return tuple(str(choice) for choice in found)

    def _place(self, target: Any, choices: Sequence[str]) -> int:
        """By number from 0, or by the choice's own words."""
        if isinstance(target, str) and target in choices:
            return choices.index(target)
        if str(target).isdigit() and int(target) < len(choices):
            return int(target)
        raise self.file.error(
            "doc_to_target", f"gives {target!r}, none of {list(choices)}", "Give a choice or its number from 0"
        )

    def _value(self, key: str, row: Row) -> Any:
        how, place = self.file.values[key], f"{self.file.path}, {key}"
        if callable(how):
            return doc.value(how, doc.for_functions(row), self.extra, place)
        if isinstance(how, list):
            return [doc.value(one, row, self.extra, place) for one in how] if key != "doc_to_choice" else how
        return doc.value(how, row, self.extra, place)


def _answer(item: Item) -> str:
    if item.choices:
        return item.choices[item.gold["right"]]
    target = item.gold["target"]
    return str(target[0] if isinstance(target, list) and target else target)


def _output(file: TaskFile) -> str:
    """What is asked of the model; the keys that this kind needs are there."""
    output = str(file.values.get("output_type", "generate_until"))
    if output not in OUTPUTS:
        raise file.error("output_type", f"is {output!r}", f"Use one of {', '.join(OUTPUTS)}")
    needed = ["task", "dataset_path"] + ([] if "doc_to_messages" in file.values else ["doc_to_text"])
    needed += {"multiple_choice": ["doc_to_choice", "doc_to_target"], "loglikelihood": ["doc_to_target"]}.get(output, [])
    if output == "generate_until" and "process_results" not in file.values:
        needed.append("doc_to_target")
    for key in needed:
        if file.values.get(key) is None:
            raise file.error(key, "is missing", f"Write it; {output} needs {', '.join(needed)}")
    if "doc_to_messages" in file.values and not callable(file.values["doc_to_messages"]):
        raise file.error("doc_to_messages", "is no function", "Write `!function FILE.NAME`, or doc_to_visual and doc_to_text")
    return output


def _extra(file: TaskFile) -> Mapping[str, Any]:
    """What holds for every model; words around the prompt reach functions and templates only, as in lmms-eval."""
    given = file.values.get("lmms_eval_specific_kwargs") or {}
    if not isinstance(given, Mapping):
        raise file.error("lmms_eval_specific_kwargs", "is no mapping", "Write `default:` with pre_prompt and post_prompt below")
    extra = given.get("default", {} if any(isinstance(value, Mapping) for value in given.values()) else given) or {}
    how = file.values.get("doc_to_text")
    for name in ("pre_prompt", "post_prompt"):
        if extra.get(name) and isinstance(how, str) and name not in how and "doc_to_messages" not in file.values:
            problem = "is not part of doc_to_text, so that nobody would read it"
            raise file.error(name, problem, "Write doc_to_text as a template: '{{pre_prompt}}{{question}}{{post_prompt}}'")
    return {str(name): value for name, value in extra.items()}


def _not_used(file: TaskFile) -> list[str]:
    given = file.values.get("lmms_eval_specific_kwargs") or {}
    others = [name for name, value in given.items() if name != "default" and isinstance(value, Mapping)]
    return [f"lmms_eval_specific_kwargs.{name}" for name in others] + [
        f"dataset_kwargs.{name}" for name in file.values.get("dataset_kwargs") or {} if name not in ("data_files", "data_dir")
    ]


def _sampling(file: TaskFile) -> Sampling:
    given = dict(file.values.get("generation_kwargs") or {})
    until, sample = given.pop("until", ()), given.pop("do_sample", None)
    if unknown := sorted(set(given) - set(_SAMPLING)):
        known = ", ".join(["until", "do_sample", *_SAMPLING])
        raise file.error(f"generation_kwargs.{unknown[0]}", "is not known here", f"Known: {known}")
    drawn = {_SAMPLING[name]: value for name, value in given.items() if value is not None}
    if sample is False:
        drawn["temperature"] = 0.0
    return Sampling(stop=(until,) if isinstance(until, str) else tuple(until), **drawn)


def _splits(file: TaskFile) -> tuple[str, ...]:
    """Examples come from the first, the last is judged."""
    named = [str(file.values[key]) for key in SPLITS if file.values.get(key)]
    if not named:
        raise file.error("test_split", "is missing", "Name the split that is judged")
    judged = str(file.values.get("test_split") or file.values.get("validation_split") or named[-1])
    return (*dict.fromkeys(name for name in named if name != judged), judged)


def _tables(file: TaskFile, data: Path, split: str) -> tuple[Path, list[Path]]:
    """Where media are relative to, and the files of a split."""
    given, kwargs = str(file.values["dataset_path"]), file.values.get("dataset_kwargs") or {}
    places = [file.path.parent / given, data / given, data / given.rpartition("/")[2]]
    root = next((place for place in places if place.exists()), None)
    if root is None:
        tried = ", ".join(map(str, dict.fromkeys(places)))
        raise file.error(
            "dataset_path", f"is {given!r}, and there is none of {tried}", "Fetch the data set into a folder there"
        )
    if root.is_file():
        return root.parent, [root]
    root = root / str(kwargs.get("data_dir") or "")
    files = kwargs.get("data_files")
    if isinstance(files, Mapping) and split in files:
        listed = files[split] if isinstance(files[split], list) else [files[split]]
        return root, [root / name for name in listed]
    name = file.values.get("dataset_name")
    folders = [root / str(name), root / str(name) / "data", root] if name else [root, root / "data"]
    for folder in folders:
        for suffix in _SUFFIXES:
            found = sorted([*folder.glob(f"{split}{suffix}"), *folder.glob(f"{split}-*{suffix}")])
            if found:
                return folder, found
    wanted = f"{split}.jsonl, {split}.json, {split}.csv, {split}.tsv or {split}-*.parquet"
    raise RequestError(str(root), f"has no table of the split {split}", f"Put {wanted} there")


def _version(file: TaskFile) -> str:
    """Of `metadata`, which is a mapping or a list of them."""
    told = file.values.get("metadata") or {}
    rowed = told if isinstance(told, list) else [told]
    return next((str(row["version"]) for row in rowed if isinstance(row, Mapping) and "version" in row), "1")


def _is_json(cell: Any) -> bool:
    """Of a row all is kept as gold that is neither picture nor sound."""
    if isinstance(cell, Mapping):
        return all(_is_json(value) for value in cell.values())
    return all(map(_is_json, cell)) if isinstance(cell, list) else cell is None or isinstance(cell, str | int | float | bool)
