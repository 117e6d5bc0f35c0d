"""A foreign model's prompt: its chat template and processor on our conversations, and what each medium takes of it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jinja2 import TemplateError
from torch import Tensor

from sensorium.errors import RequestError
from sensorium.model.foreign_inputs import Conversation, Senses
from sensorium.parts import Use


@dataclass(frozen=True, slots=True)
class Prompt:
    """Rows ready for a foreign model.

    Args:
        inputs: for its `forward` and its `generate`. uses: for each row what was read of its media.
        lengths: tokens of each row. tail: how the rendered text ends, for tokenizing an answer behind it.
    """

    inputs: dict[str, Any]
    uses: tuple[tuple[Use, ...], ...]
    lengths: tuple[int, ...]
    tail: str


class Prompter:
    """Writes prompts for one model.

    Args:
        model, processor: of `transformers`. told: the generation settings of the folder. senses: what the model takes in.
    """

    def __init__(self, model: Any, processor: Any, told: Any, senses: Senses) -> None:
        self.model, self.processor, self.told, self.senses = model, processor, told, senses
        self.tokenizer = getattr(processor, "tokenizer", processor)
        self.speech = bool(model.config.is_encoder_decoder)

    def __call__(self, rows: Sequence[Conversation], room: int) -> Prompt:
        """Conversations with the same kinds of media as one batch; `room`: positions to be kept free for the answer.

        Raises:
            RequestError: refused by the template or the processor, or too long for the model.
        """
        return self._listen(rows, room) if self.speech else self._converse(rows, room)

    def answer_ids(self, prompt: Prompt, text: str) -> list[int]:
        """An answer's tokens as they follow the prompt: tokenized together with the plain text that the prompt ends in.

        A transcript begins with a space, as Whisper writes it.
        """
        special = [token for token in self.tokenizer.get_added_vocab() if token in prompt.tail]
        cut = max((prompt.tail.rfind(token) + len(token) for token in special), default=0)
        tail, said = ("", " " + text.strip()) if self.speech else (prompt.tail[cut:], text)
        before, both = self._plain_ids(tail), self._plain_ids(tail + said)
        return both[len(before) :] if both[: len(before)] == before else self._plain_ids(said)

    def _plain_ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _converse(self, rows: Sequence[Conversation], room: int) -> Prompt:
        turns = [row.turns for row in rows]
        options = {"add_generation_prompt": True}
        try:
            tail = self.processor.apply_chat_template(_copy(turns[:1]), tokenize=False, **options)[0]
            made = self._apply(_copy(turns), rows, options)
        except (TemplateError, ValueError, IndexError) as error:
            problem = f"is refused by the processor of {self.senses.model}: {one_line(error)}"
            raise RequestError("conversation", problem, "Change the turns or the media") from error
        spans = made.pop("text_replacement_offsets", None)
        inputs = _to(made, self.model)
        lengths = tuple(inputs["attention_mask"].sum(1).tolist())
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        if limit is not None and max(lengths) + room > limit:
            problem = f"takes {max(lengths)} tokens and {room} for the answer; {self.senses.model} holds {limit}"
            raise RequestError("conversation", problem, "Ask with fewer or smaller media, or for a shorter answer")
        ids = [row[mask.bool()].tolist() for row, mask in zip(inputs["input_ids"], inputs["attention_mask"], strict=True)]
        uses = tuple(self._uses(row, ids[index], spans[index] if spans else None) for index, row in enumerate(rows))
        return Prompt(inputs, uses, lengths, tail)

    def _apply(self, turns: list[Any], rows: Sequence[Conversation], options: dict[str, Any]) -> dict[str, Any]:
        """Template, media and tokenizer in one; what a person wrote never becomes a control token."""
        self.tokenizer.padding_side = "left"
        special = set(self.tokenizer.get_added_vocab())
        spelt = any(token in text for row in rows for text in row.texts() for token in special)
        options = {**options, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
        if spelt:
            options["sanitize_control_tokens"] = True
        if not self.senses.blocks:
            return dict(self.processor.apply_chat_template(turns, padding=True, **options))
        settings: dict[str, Any] = {"text_kwargs": {"padding": True}}
        settings["return_text_replacement_offsets"] = any(row.kinds for row in rows)
        if clips := [_clip(turn, rate) for row in rows for turn, rate in zip(row.clips(), row.rates, strict=True)]:
            settings["videos_kwargs"] = {"video_metadata": clips, "do_sample_frames": False}
        return dict(self.processor.apply_chat_template(turns, processor_kwargs=settings, **options))

    def _listen(self, rows: Sequence[Conversation], room: int) -> Prompt:
        """A speech recogniser reads one recording a conversation and no words."""
        waves = []
        for row in rows:
            sounds = [block["audio"] for turn in row.turns for block in turn["content"] if block["type"] == "audio"]
            if len(sounds) != 1 or any(text.strip() for text in row.texts()):
                problem = (
                    f"gives {len(sounds)} recordings and {'some' if any(row.texts()) else 'no'} words to {self.senses.model}"
                )
                raise RequestError("conversation", problem, "A speech recogniser takes one recording and no question")
            waves.append(sounds[0])
        whole = {} if self.senses.seconds is not None else {"padding": True}
        made = self.processor.feature_extractor(waves, sampling_rate=self.senses.rate, return_tensors="pt", **whole)
        inputs = _to(dict(made), self.model)
        begin, notes = self._begin(inputs, len(rows))
        inputs["decoder_input_ids"] = begin
        limit = getattr(self.model.config, "max_target_positions", None)
        if limit is not None and begin.shape[1] + room > limit:
            problem = f"asks for {room} tokens; {self.senses.model} writes {limit - begin.shape[1]} at most"
            raise RequestError("max_tokens", problem, f"Set max_tokens to {limit - begin.shape[1]} or below")
        positions = getattr(self.model.config, "max_source_positions", 0)
        uses = tuple(
            tuple(replace(use, tokens=positions, notes=(*use.notes, *notes[index])) for use in row.uses.values())
            for index, row in enumerate(rows)
        )
        return Prompt(inputs, uses, (begin.shape[1],) * len(rows), " ")

    def _begin(self, inputs: Mapping[str, Any], rows: int) -> tuple[Tensor, list[tuple[str, ...]]]:
        """The tokens that a transcript begins with, and what was found out for them."""
        settings = self.told
        start = int(self.model.generation_config.decoder_start_token_id)
        begin = [[start] for _ in range(rows)]
        notes: list[tuple[str, ...]] = [() for _ in range(rows)]
        if getattr(settings, "is_multilingual", False):
            names = {index: name for name, index in settings.lang_to_id.items()}
            found = self.model.detect_language(inputs["input_features"], generation_config=settings).tolist()
            begin = [[start, language, settings.task_to_id["transcribe"]] for language in found]
            notes = [(f"heard as {names[language]}",) for language in found]
        if (plain := getattr(settings, "no_timestamps_token_id", None)) is not None:
            begin = [[*row, plain] for row in begin]
        return torch.tensor(begin, device=self.model.device), notes

    def _uses(self, row: Conversation, ids: Sequence[int], spans: Sequence[Mapping[str, Any]] | None) -> tuple[Use, ...]:
        """Each medium with the tokens that its processor wrote for it."""
        counts = dict.fromkeys(row.uses, 0)
        waiting = {kind: iter(keys) for kind, keys in row.owners.items()}
        for span in spans or ():
            key = next(waiting[span["type"]])
            counts[key] += len(self.tokenizer(span["replacement"], add_special_tokens=False)["input_ids"])
        notes: dict[str, tuple[str, ...]] = {}
        if not spans:
            for kind, keys in row.owners.items():
                token = getattr(self.processor, f"{kind}_token_id", None)
                total = sum(index == token for index in ids)
                if len(set(keys)) == 1:
                    counts[keys[0]] += total
                elif keys:
                    notes[kind] = (f"its share of {total} {kind} tokens is not told by this processor",)
        kinds = {key: kind for kind, keys in row.owners.items() for key in keys}
        return tuple(
            replace(use, tokens=counts[key], notes=(*use.notes, *notes.get(kinds[key], ()))) for key, use in row.uses.items()
        )


def _clip(frames: Any, rate: float) -> dict[str, Any]:
    """The library's account of a clip whose frames were sampled by us."""
    return {
        "total_num_frames": len(frames),
        "fps": rate,
        "frames_indices": list(range(len(frames))),
        "duration": len(frames) / rate,
    }


def _copy(turns: Sequence[Any]) -> list[Any]:
    """Processors write into the turns that they are given."""
    return [[{**turn, "content": copy.copy(turn["content"])} for turn in row] for row in turns]


def _to(made: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """On the model's device; floats in its dtype."""
    inputs: dict[str, Any] = {}
    for key, value in made.items():
        if isinstance(value, Tensor):
            inputs[key] = value.to(model.device, model.dtype if value.is_floating_point() else value.dtype)
        else:
            inputs[key] = value
    return inputs


def one_line(error: BaseException) -> str:
    """An error of a library in at most 200 characters."""
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else text[:199] + "\u2026"
