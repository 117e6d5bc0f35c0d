"""Our language models as text in and logits out, for harnesses that write the prompt themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from sensorium.batch import Batch
from sensorium.errors import RequestError
from sensorium.model.generate import Assistant
from sensorium.model.load import load
from sensorium.model.remote_settings import is_remote
from sensorium.model.session import Session
from sensorium.parts import Sample

Ids = Sequence[int]


class _Rows(Protocol):
    """Rows being decoded together; `model.session.Session` is one."""

    def logits(self) -> Tensor: ...
    def step(self, ids_B: Sequence[int]) -> Tensor: ...
    def fork(self, rows: Sequence[int]) -> None: ...


class Continues(Protocol):
    """A causal language model and its tokenizer.

    Attributes:
        positions: that it holds. rows: decoded together at most. start: the token before a text that has nothing before it.
        end, ends: the token, and all tokens, that end a text. template: its chat template.
    """

    name: str
    positions: int
    rows: int
    start: int
    end: int
    ends: frozenset[int]
    template: str

    def encode(self, text: str, special: bool) -> list[int]:
        """Token ids; `special`: with those that the tokenizer puts around a text, if it puts any."""
        ...

    def decode(self, ids: list[int], plain: bool) -> str:
        """Text; `plain`: without special tokens."""
        ...

    def tails(self, rows: Sequence[Ids], counts: Sequence[int]) -> list[Tensor]:
        """Float32 logits `(count, V)` at the last `count` positions of each row."""
        ...

    def begin(self, rows: Sequence[Ids], room: int, /) -> _Rows:
        """Read rows of which up to `room` more tokens will be asked."""
        ...

    def chat(self, turns: Sequence[dict[str, str]], reply: bool) -> str:
        """The conversation as text; it ends where an answer begins, or else in its last message, left open."""
        ...


class Own:
    """A checkpoint of ours; see `Continues`."""

    rows = 1 << 30

    def __init__(self, assistant: Assistant) -> None:
        model = assistant.model
        self.model, self.name, self.tokenizer = model, assistant.name, assistant.tokenizer
        self.template, self.positions = model.layout.template, model.decoder.config.max_positions
        self.ends = model.layout.ends
        self.end = self._named("eos_token", min(self.ends))
        self.start = self._named("bos_token", self.end)

    def encode(self, text: str, special: bool) -> list[int]:
        """See `Continues`."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=special).ids
        return ids

    def decode(self, ids: list[int], plain: bool) -> str:
        """See `Continues`."""
        return self.tokenizer.decode(ids, skip_special_tokens=plain)

    @torch.inference_mode()
    def tails(self, rows: Sequence[Ids], counts: Sequence[int]) -> list[Tensor]:
        """See `Continues`."""
        hidden_BLD = self.model(_batch(rows)).hidden_BLD
        return [
            self.model.decoder.logits(hidden_BLD[row, len(ids) - count : len(ids)])
            for row, (ids, count) in enumerate(zip(rows, counts, strict=True))
        ]

    def begin(self, rows: Sequence[Ids], room: int, /) -> Session:
        """See `Continues`."""
        return Session(self.model, _batch(rows), room)

    def chat(self, turns: Sequence[dict[str, str]], reply: bool) -> str:
        """See `Continues`."""
        text = self.model.layout.render(turns, reply)
        if reply:
            return text
        last = turns[-1]["content"].rstrip()
        place = text.rfind(last)
        if place < 0:
            problem = "does not show the last message as it stands, which is to be continued"
            raise RequestError("chat template", problem, "Leave the beginning of the answer (gen_prefix) out")
        return text[: place + len(last)]

    def _named(self, name: str, other: int) -> int:
        """The id of a special token by its name in the template."""
        token = self.model.layout.special.get(name)
        index = None if token is None else self.tokenizer.token_to_id(token)
        return other if index is None else index


class Foreign:
    """A text checkpoint of `transformers`, or the text side of another; see `Continues`."""

    rows = 1

    def __init__(self, foreign: Any) -> None:
        if foreign.speech:
            raise RequestError(foreign.name, "is a speech recogniser and continues no text", "Give a language model")
        self.model, self.name, self.tokenizer = foreign.model, foreign.name, foreign.tokenizer
        self.template = str(self.tokenizer.chat_template or foreign.processor.chat_template)
        config = foreign.model.config.get_text_config()
        self.positions = getattr(config, "max_position_embeddings", None) or self.tokenizer.model_max_length
        self.ends: frozenset[int] = foreign.ends
        eos, bos = self.tokenizer.eos_token_id, self.tokenizer.bos_token_id
        self.end = min(self.ends) if eos is None else eos
        self.start = self.end if bos is None else bos

    def encode(self, text: str, special: bool) -> list[int]:
        """See `Continues`."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=special)
        return ids

    def decode(self, ids: list[int], plain: bool) -> str:
        """See `Continues`."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=plain)
        return text

    @torch.inference_mode()
    def tails(self, rows: Sequence[Ids], counts: Sequence[int]) -> list[Tensor]:
        """See `Continues`."""
        batch = _batch(rows)
        logits_BLV = self.model(input_ids=batch.ids_BL, attention_mask=batch.valid_BL.long()).logits
        return [
            logits_BLV[row, len(ids) - count : len(ids)].float()
            for row, (ids, count) in enumerate(zip(rows, counts, strict=True))
        ]

    def begin(self, rows: Sequence[Ids], _room: int, /) -> _Past:
        """See `Continues`."""
        (ids,) = rows
        return _Past(self.model, ids)

    def chat(self, turns: Sequence[dict[str, str]], reply: bool) -> str:
        """See `Continues`."""
        text: str = self.tokenizer.apply_chat_template(
            list(turns), tokenize=False, add_generation_prompt=reply, continue_final_message=not reply
        )
        return text


class _Past:
    """One row of a foreign model with its own cache."""

    def __init__(self, model: Any, ids: Ids) -> None:
        self.model, self._past = model, None
        self._logits_1V = self.step(ids)

    def logits(self) -> Tensor:
        return self._logits_1V

    @torch.inference_mode()
    def step(self, ids_B: Sequence[int]) -> Tensor:
        out = self.model(input_ids=torch.tensor([list(ids_B)]), past_key_values=self._past, use_cache=True)
        self._past, self._logits_1V = out.past_key_values, out.logits[:, -1].float()
        return self._logits_1V

    def fork(self, rows: Sequence[int]) -> None:
        assert list(rows) == [0], "there is one row"


def open_text(name: str, quantize: str | None = None) -> Own | Foreign:
    """A model of ours, or one of `transformers`, that continues text.

    Raises:
        RequestError: a server, or a model that answers in no words; else what `model.load.load` raises.
    """
    if is_remote(name):
        remedy = "Use the harness's own client of such servers; it speaks the same wire"
        raise RequestError(name, "is a server, whose tokens are not to be had", remedy)
    if quantize not in (None, "int8", "int4"):
        raise RequestError("quantize", f"is {quantize!r}", "Give int8 or int4")
    model = load(name, quantize=quantize)  # type: ignore[arg-type]
    return Own(model) if isinstance(model, Assistant) else Foreign(model)


def _batch(rows: Sequence[Ids]) -> Batch:
    """Rows of ids, padded on the right, as a batch without media."""
    length = max(map(len, rows))
    ids_BL, valid_BL = torch.zeros(len(rows), length, dtype=torch.int64), torch.zeros(len(rows), length, dtype=torch.bool)
    for row, ids in enumerate(rows):
        ids_BL[row, : len(ids)], valid_BL[row, : len(ids)] = torch.tensor(list(ids)), True
    samples = tuple(Sample(str(row), ()) for row in range(len(rows)))
    return Batch(samples, ids_BL, valid_BL, torch.zeros_like(valid_BL), {}, (), tuple(() for _ in rows))
