"""Conversations of the public dialects: LLaVA, ShareGPT, `messages`, Alpaca, ms-swift and TRL, told from their columns.

The dialects differ in names, not in kind: a prompt (messages, an instruction, a question), an answer, perhaps a worse answer,
and media beside them. So there is one reader for all; what a row does not have is simply not there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sensorium.data.attached import COLUMNS, KINDS, Attached, Kind
from sensorium.data.fault import RowError
from sensorium.data.objects import boxed, columns_of
from sensorium.data.record import Record, wrong_type
from sensorium.data.row import Remarks
from sensorium.data.turns import Tags, Turn, read_turns, to_messages
from sensorium.parts import Message, Sample, message_to_json


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns hold what, by the names of LLaMA-Factory's registry; several names are tried in order."""

    messages: tuple[str, ...] = ("messages", "conversations", "conversation")
    instruction: tuple[str, ...] = ("instruction", "query", "question")
    input: tuple[str, ...] = ("input",)
    prompt: tuple[str, ...] = ("prompt",)
    answer: tuple[str, ...] = ("output", "response", "answer", "completion")
    history: tuple[str, ...] = ("history",)
    system: tuple[str, ...] = ("system",)
    tools: tuple[str, ...] = ("tools",)
    chosen: tuple[str, ...] = ("chosen",)
    rejected: tuple[str, ...] = ("rejected", "rejected_messages", "rejected_response")
    label: tuple[str, ...] = ("label", "kto_tag")
    media: Mapping[Kind, tuple[str, ...]] = field(default_factory=lambda: COLUMNS)

    def fit(self, record: Record) -> bool:
        """Whether a row looks like a conversation at all."""
        asked = record.has(*self.instruction, *self.prompt) and record.has(*self.answer, *self.chosen)
        return asked or record.has(*self.messages, *self.rejected) or record.has(*self.chosen)


@dataclass(frozen=True, slots=True)
class Conversations:
    """Tells rows as Samples.

    Args:
        root: the folder that relative media paths start from.
    """

    root: str
    remarks: Remarks
    columns: Columns = field(default_factory=Columns)
    tags: Tags = field(default_factory=Tags)

    def __call__(self, record: Record, default: str, media: Attached | None = None) -> Sample:
        """One row.

        Args:
            default: the id of a row that has none.
            media: what the row shows, when it is kept elsewhere than in its columns.

        Raises:
            RowError: what is wrong with the row.
        """
        names = self.columns
        media = media or Attached.of(record, self.root, names.media)
        asked, chosen, rejected = self._sides(record)
        objects = record.take("objects")
        objects = columns_of(objects, self.remarks) if objects else None
        turns = self._with_system(record, [*asked, *chosen])
        turns = boxed(turns, objects) if objects else turns
        messages = media.settle(to_messages(turns, media, self.remarks), self.remarks)
        if not any(message.learn for message in messages):
            raise RowError(
                turns[-1].place, "nothing-to-learn", "has no assistant's turn to learn from", "Add an answer, or remove the row"
            )
        meta = record.meta(
            self.remarks,
            rejected=[message_to_json(message) for message in self._worse(rejected)] if rejected else None,
            label=record.take(*names.label),
            objects=objects,
            tools=_tools(record.take(*names.tools)),
        )
        return Sample(record.identity(default), tuple(messages), meta)

    def _sides(self, record: Record) -> tuple[list[Turn], list[Turn], list[Turn]]:
        """What is asked, what is learned, and the worse answer, if any."""
        names = self.columns
        better, worse = record.take(*names.chosen), record.take(*names.rejected)
        asked = self._asked(record)
        if better is None and worse is not None and asked:
            last = max((number for number, turn in enumerate(asked) if turn.role != "assistant"), default=-1)
            asked, chosen = asked[: last + 1], asked[last + 1 :]
        else:
            chosen = self._said(better, names.chosen)
        open_ended = better is None and not (asked and asked[-1].role == "assistant") and not chosen
        answer = self._said(record.take(*names.answer), names.answer) if open_ended else []
        rejected = self._said(worse, names.rejected)
        if chosen and rejected and (not asked or rejected[0].role != "assistant"):
            asked, chosen, rejected = _split(asked, chosen, rejected)
        if worse is not None or better is not None or record.used & set(names.prompt):
            asked = [turn._replace(learn=False) for turn in asked]
        return asked, [*chosen, *answer], rejected

    def _asked(self, record: Record) -> list[Turn]:
        names = self.columns
        if record.has(*names.messages):
            found = next(name for name in names.messages if record.has(name))
            return read_turns(record.take(found), found, self.tags, self.remarks)
        if record.has(*names.prompt) and not record.has(*names.instruction):
            value = record.take(*names.prompt)
            return [Turn("user", value, False, names.prompt[0])] if isinstance(value, str) else self._said(value, names.prompt)
        turns = self._history(record)
        asked, more = record.text(*names.instruction), record.text(*names.input)
        if asked is None and more is None:
            return turns
        return [*turns, Turn("user", "\n".join(text for text in (asked, more) if text), False, names.instruction[0])]

    def _history(self, record: Record) -> list[Turn]:
        turns: list[Turn] = []
        name = next(iter(self.columns.history), "history")
        for number, pair in enumerate(record.take(*self.columns.history) or ()):
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                raise wrong_type(f"{name}[{number}]", pair, "a pair of a question and an answer")
            turns.append(Turn("user", pair[0], False, f"{name}[{number}][0]"))
            turns.append(Turn("assistant", pair[1], True, f"{name}[{number}][1]"))
        return turns

    def _said(self, value: Any, names: Sequence[str]) -> list[Turn]:
        if value is None:
            return []
        if isinstance(value, str):
            return [Turn("assistant", value, True, names[0])]
        return read_turns(value, names[0], self.tags, self.remarks)

    def _with_system(self, record: Record, turns: list[Turn]) -> list[Turn]:
        system = record.text(*self.columns.system)
        if not turns:
            wanted = self.columns.messages or self.columns.prompt or self.columns.instruction
            reason = f"is missing; the row has {sorted(record.values)}"
            raise RowError(
                wanted[0] if wanted else "messages", "missing-field", reason, "Name the columns in a registry, or rename them"
            )
        if not system:
            return turns
        if turns[0].role != "system":
            return [Turn("system", system, False, self.columns.system[0]), *turns]
        if turns[0].content != system:
            reason = "is given beside a system message that says something else"
            raise RowError(self.columns.system[0], "two-systems", reason, "Keep one of the two")
        return turns

    def _worse(self, turns: list[Turn]) -> list[Message]:
        empty = Attached(dict.fromkeys(KINDS, ()), self.root, dict.fromkeys(KINDS, "rejected"))
        return empty.settle(to_messages(turns, empty, self.remarks), self.remarks)


def _split(asked: list[Turn], chosen: list[Turn], rejected: list[Turn]) -> tuple[list[Turn], list[Turn], list[Turn]]:
    """Two whole conversations: what they begin with alike is what was asked."""
    chosen = [*asked, *chosen] if asked and chosen[0].role == "assistant" else chosen
    same = 0
    while same < min(len(chosen), len(rejected)) and chosen[same][:2] == rejected[same][:2]:
        same += 1
    if same in (len(chosen), len(rejected)):
        raise RowError(
            "rejected", "missing-field", "has no answer that differs from the chosen one", "Give two different answers"
        )
    return chosen[:same], chosen[same:], rejected[same:]


def _tools(value: Any) -> Any:
    if isinstance(value, str) and value.strip():
        try:
            return json.loads(value)
        except json.JSONDecodeError as error:
            raise RowError("tools", "bad-json", f"is not JSON ({error})", "Write the tools as a JSON list") from error
    return value or None
