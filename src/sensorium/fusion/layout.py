"""Conversations to rows of token ids, with the origin of every position. The chat template is applied here and nowhere else.

The checkpoint's own Jinja template is rendered once with a marker in the place of each message; the markers then give way to
the parts. So the template's text, a person's words and each medium's span are known apart, and the learn mask needs no string
search.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer
from torch import Tensor

from sensorium.batch import Batch, Modality, Piece, Placement, Shown
from sensorium.errors import CheckpointError, RequestError
from sensorium.parts import Message, Sample, Text, Use

PartKey = tuple[int, int]
"""(message, part) within a sample."""

_MARK = re.compile("\ue000(\\d+)\ue001")


@dataclass(frozen=True, slots=True)
class _Run:
    """A stretch of text or one medium's piece, before it has token ids; `owner` None is the template.

    `learn` marks a learned message's own text, and the template text that ends such a message.
    """

    text: str
    owner: PartKey | None = None
    piece: Piece | None = None
    learn: bool = False


@dataclass(slots=True)
class _Row:
    """One row while it is being written."""

    ids: list[int]
    learn: list[bool]
    placements: list[Placement]
    tensors: list[tuple[Modality, Tensor]]


class Layout:
    """Writes rows for one tokenizer and one chat template.

    Args:
        tokenizer: of the `tokenizers` library.
        template: a Jinja chat template as `chat_template.jinja` holds it.
        special: its names for special tokens, such as `{"bos_token": "<s>"}`.
        filler: the id that stands at media positions until `splice` overwrites their embeddings.
        max_positions: a row's length at most; a longer one is refused, since media spans are never cut.
        ends: the ids that end the assistant's turn.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: str,
        special: Mapping[str, str],
        filler: int,
        max_positions: int,
        ends: Iterable[int] = (),
    ) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = _refuse
        self.template = template
        self.special = dict(special)
        self.tokenizer, self.filler, self.max_positions, self.ends = tokenizer, filler, max_positions, frozenset(ends)
        self._render = environment.from_string(template)
        added = tokenizer.get_added_tokens_decoder()
        self._special_ids = frozenset(index for index, token in added.items() if token.special)
        self._special_text = re.compile("|".join(re.escape(token.content) for token in added.values()) or "(?!)")

    def __call__(
        self, samples: Sequence[Sample], shown: Sequence[Mapping[PartKey, Shown]], reply: bool, room: int = 0
    ) -> Batch:
        """Lay out one row a sample.

        Args:
            shown: for each sample what each media part shows (see `model.reading`).
            reply: end the rows where the assistant's answer is to begin.
            room: positions to be kept free for that answer.

        Raises:
            RequestError: a conversation that the template refuses, or a row over `max_positions`.
            CheckpointError: a template that loses or repeats a message.
        """
        rows = [self._row(index, sample, shown[index], reply) for index, sample in enumerate(samples)]
        for sample, row in zip(samples, rows, strict=True):
            self._check_length(sample, row, room)
        length = max((len(row.ids) for row in rows), default=0)
        ids_BL = torch.full((len(rows), length), self.filler, dtype=torch.int64)
        valid_BL = torch.zeros((len(rows), length), dtype=torch.bool)
        learn_BL = torch.zeros((len(rows), length), dtype=torch.bool)
        media: defaultdict[Modality, list[Tensor]] = defaultdict(list)
        for index, row in enumerate(rows):
            count = len(row.ids)
            ids_BL[index, :count] = torch.tensor(row.ids, dtype=torch.int64)
            valid_BL[index, :count] = True
            learn_BL[index, :count] = torch.tensor(row.learn, dtype=torch.bool)
            for modality, tensor in row.tensors:
                media[modality].append(tensor)
        uses = tuple(_count_tokens(row.placements, views) for row, views in zip(rows, shown, strict=True))
        placements = tuple(placement for row in rows for placement in row.placements)
        return Batch(tuple(samples), ids_BL, valid_BL, learn_BL, dict(media), placements, uses)

    def render(self, turns: Sequence[Mapping[str, str]], reply: bool, name: str = "conversation") -> str:
        """The template's text for turns of `role` and `content`.

        Raises:
            RequestError: a conversation that the template refuses.
        """
        try:
            return self._render.render(messages=turns, add_generation_prompt=reply, **self.special)
        except TemplateError as error:
            raise RequestError(name, f"is refused by the chat template: {error}", "Reorder its turns") from error

    def _row(self, index: int, sample: Sample, shown: Mapping[PartKey, Shown], reply: bool) -> _Row:
        row = _Row([], [], [], [])
        pending: list[_Run] = []
        for run in self._runs(sample, shown, reply):
            if run.piece is None or run.piece.modality is Modality.TEXT:
                pending.append(run)
                continue
            self._write_text(index, row, pending)
            pending = []
            assert run.owner is not None and run.piece.tensor is not None
            start = len(row.ids)
            placement = Placement(
                index, *run.owner, run.piece.modality, start, run.piece.grid, run.piece.extent, run.piece.page
            )
            row.placements.append(placement)
            row.tensors.append((run.piece.modality, run.piece.tensor))
            row.ids += [self.filler] * placement.length
            row.learn += [False] * placement.length
        self._write_text(index, row, pending)
        return row

    def _runs(self, sample: Sample, shown: Mapping[PartKey, Shown], reply: bool) -> list[_Run]:
        """The rendered conversation with parts in the place of the markers."""
        turns = [{"role": message.role, "content": f"\ue000{index}\ue001"} for index, message in enumerate(sample.messages)]
        pieces = _MARK.split(self.render(turns, reply, f"conversation {sample.id}"))
        order = [int(number) for number in pieces[1::2]]
        if sorted(order) != list(range(len(turns))):
            raise CheckpointError(
                "chat template", f"shows messages {order} of {len(turns)}", "Use a template that shows each once"
            )
        runs = [_Run(pieces[0])]
        for number, after in zip(order, pieces[2::2], strict=True):
            message = sample.messages[number]
            runs += _part_runs(number, message, shown)
            runs.append(_Run(after, learn=message.learn))
        return [run for run in runs if run.text or run.piece is not None]

    def _write_text(self, index: int, row: _Row, runs: Sequence[_Run]) -> None:
        """Tokenize neighbouring runs as one string, and give each token to the run in which it begins."""
        begin = 0
        for stop in range(1, len(runs) + 1):
            plain = stop < len(runs) and not self._needs_escape(runs[stop - 1]) and not self._needs_escape(runs[stop])
            if plain:
                continue
            self._write_string(index, row, runs[begin:stop])
            begin = stop

    def _needs_escape(self, run: _Run) -> bool:
        """Whether a person's words (or a medium's) spell a special token, which they must not become."""
        return run.owner is not None and self._special_text.search(run.text) is not None

    def _write_string(self, index: int, row: _Row, runs: Sequence[_Run]) -> None:
        if not runs:
            return
        self.tokenizer.encode_special_tokens = self._needs_escape(runs[0])
        encoding = self.tokenizer.encode("".join(run.text for run in runs), add_special_tokens=False)
        self.tokenizer.encode_special_tokens = False
        ids, offsets = encoding.ids, encoding.offsets  # each access to these makes the whole list anew
        which = _assign([start for start, _ in offsets], [len(run.text) for run in runs])
        begins = [0]
        for run in runs:
            begins.append(begins[-1] + len(run.text))
        positions: list[list[int]] = [[] for _ in runs]
        for position, number in enumerate(which):
            positions[number].append(position)
        for number, (run, inside) in enumerate(zip(runs, positions, strict=True)):
            start = len(row.ids)
            row.ids += [ids[position] for position in inside]
            row.learn += self._learn(run, row.ids[start:])
            if run.owner is None or not inside:
                continue
            if run.piece is None:
                cuts = (*(offsets[position][0] - begins[number] for position in inside), len(run.text))
                span: tuple[float, ...] = (0.0, float(len(run.text)))
                page = None
            else:
                cuts, span, page = (), run.piece.extent, run.piece.page
            row.placements.append(Placement(index, *run.owner, Modality.TEXT, start, (len(inside),), span, page, cuts))

    def _learn(self, run: _Run, ids: Sequence[int]) -> list[bool]:
        """A learned message's own tokens, and the template's end-of-turn token right after them."""
        if run.owner is not None or not run.learn:
            return [run.learn] * len(ids)
        ends = [place for place, token in enumerate(ids) if token in self._special_ids]
        taught = ends[0] + 1 if ends else 0
        return [place < taught for place in range(len(ids))]

    def _check_length(self, sample: Sample, row: _Row, room: int) -> None:
        total = len(row.ids) + room
        if total <= self.max_positions:
            return
        largest = max(row.placements, key=lambda placement: placement.length, default=None)
        hint = f", the longest span {largest.length} of {largest.modality}" if largest else ""
        raise RequestError(
            f"conversation {sample.id}",
            f"takes {len(row.ids)} positions and {room} for the answer{hint}; the model holds {self.max_positions}",
            "Ask for fewer pages, a shorter stretch (start, stop), fewer media, or a shorter answer",
        )


def _part_runs(number: int, message: Message, shown: Mapping[PartKey, Shown]) -> list[_Run]:
    runs: list[_Run] = []
    for place, part in enumerate(message.parts):
        owner = (number, place)
        if isinstance(part, Text):
            runs.append(_Run(part.text, owner, None, message.learn))
        else:
            runs += [_Run(piece.text, owner, piece, False) for piece in shown[owner].pieces]
    return runs


def _assign(starts: Sequence[int], lengths: Sequence[int]) -> list[int]:
    """For each token's first character the index of the run that holds it."""
    owners: list[int] = []
    run, end = 0, lengths[0]
    for start in starts:
        while start >= end and run + 1 < len(lengths):
            run += 1
            end += lengths[run]
        owners.append(run)
    return owners


def _count_tokens(placements: Sequence[Placement], shown: Mapping[PartKey, Shown]) -> tuple[Use, ...]:
    spent: defaultdict[PartKey, int] = defaultdict(int)
    for placement in placements:
        spent[placement.message, placement.part] += placement.length
    return tuple(replace(view.use, tokens=spent[key]) for key, view in shown.items())


def _refuse(reason: str) -> None:
    raise TemplateError(reason)
