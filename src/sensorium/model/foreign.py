"""Other people's models: a local `transformers` folder as a model that generates and scores."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from sensorium.errors import CheckpointError, RequestError
from sensorium.heads.text import check_sampling, generator, report
from sensorium.media.source import Access, Limits
from sensorium.model.foreign_files import read_folder
from sensorium.model.foreign_inputs import Senses, converse
from sensorium.model.foreign_prompt import Prompt, Prompter
from sensorium.model.foreign_reply import Picker, Reply
from sensorium.model.generate import AMONG_CHOICES, UNCALIBRATED
from sensorium.parts import Answer, Message, Text, TokenScore, Usage
from sensorium.protocols import Sampling

_ROWS = 8
"""Conversations run at once."""


class ForeignModel:
    """Any image-text-to-text, audio-text, speech recognition or text checkpoint that the installed `transformers` knows.

    Args:
        model, processor: of `transformers`; the processor is a tokenizer for a text model.
        senses: what it takes in, and how media are read for it.

    Attributes:
        name: the folder's. notes: what its own files leave to say, such as tensors that the model does not use.
    """

    def __init__(self, model: Any, processor: Any, senses: Senses, notes: tuple[str, ...] = ()) -> None:
        self.model, self.processor, self.senses, self.notes = model, processor, senses, notes
        self.name = senses.model
        self.tokenizer = getattr(processor, "tokenizer", processor)
        self.speech = bool(model.config.is_encoder_decoder)
        self.told = model.generation_config
        self.ends = _ends(self.told, self.tokenizer, self.name)
        self.prompter = Prompter(model, processor, self.told, senses)
        model.generation_config = self._neutral()

    @property
    def defaults(self) -> Sampling:
        """Greedy answers; what the folder says of drawing is followed only when a caller asks for it."""
        return Sampling()

    @classmethod
    def load(
        cls,
        path: str | Path,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        limits: Limits | None = None,
        access: Access | None = None,
    ) -> ForeignModel:
        """Read a folder; nothing is fetched and none of its code is run.

        Args:
            limits, access: of the media that it will be shown.

        Raises:
            CheckpointError: not such a folder, pickled or incomplete weights, code of its own, no chat template.
            DependencyError: its processor needs a library that is not installed.
        """
        folder = read_folder(Path(path), dtype)
        senses = replace(folder.senses, limits=limits or Limits(), access=access or Access())
        return cls(folder.model.to(device).eval(), folder.processor, senses, folder.notes)

    # Generates

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[str | Answer]:
        """One conversation: pieces of text as they come, then the Answer. Beams and choices come in one piece.

        Raises:
            RequestError: options that mean nothing, a medium without a tower, a conversation too long or refused by the
                template. MediaError: a medium that cannot be decoded.
        """
        if sampling.choices or sampling.beams > 1:
            (answer,) = self.answer([messages], sampling)
            yield from (answer.text, answer)
            return
        check_sampling(sampling)
        prompt = self.prompt([messages], sampling.max_tokens)
        (reply,) = self._replies(prompt, sampling)
        news: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        picker = self._picker([reply], after=lambda: news.put(reply.fresh()))
        with ThreadPoolExecutor(1, "foreign") as pool:
            work = pool.submit(self._generate, prompt, picker, sampling)
            work.add_done_callback(lambda _: news.put(None))
            try:
                while (fresh := news.get()) is not None:
                    if fresh:
                        yield fresh
            finally:
                picker.cancelled = True
            work.result()
        yield reply.answer(self._usage(prompt, 0, len(reply.ids)), UNCALIBRATED)

    def answer(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[Answer]:
        """Many conversations, those with the same kinds of media together; raises what `stream` raises."""
        check_sampling(sampling)
        if sampling.choices:
            return [self._choose(messages, sampling) for messages in conversations]
        decoded = [converse(messages, self.senses) for messages in conversations]
        answers: dict[int, Answer] = {}
        for kinds in sorted({item.kinds for item in decoded}):
            rows = [row for row, item in enumerate(decoded) if item.kinds == kinds]
            size = _ROWS if sampling.beams == 1 else 1
            for begin in range(0, len(rows), size):
                few = rows[begin : begin + size]
                prompt = self.prompter([decoded[row] for row in few], sampling.max_tokens)
                answers |= dict(zip(few, self._answers(prompt, sampling), strict=True))
        return [answers[row] for row in range(len(decoded))]

    # Scores

    def score(self, messages: Sequence[Message], answers: Sequence[str]) -> list[float]:
        """The log-probability of each answer and of its end (any of the model's end tokens), media decoded once."""
        prompt = self.prompt([messages])
        return [self._score(prompt, self.prompter.answer_ids(prompt, text)) for text in answers]

    # What stands between

    def prompt(self, conversations: Sequence[Sequence[Message]], room: int = 0) -> Prompt:
        """Decode, apply the folder's chat template and processor; `room`: positions to be kept free for the answer."""
        return self.prompter([converse(messages, self.senses) for messages in conversations], room)

    @torch.no_grad()
    def logits(self, prompt: Prompt, answer: Sequence[int] = ()) -> Tensor:
        """The model's own logits of one conversation and an answer begun with these tokens, `(L, V)`."""
        inputs = dict(prompt.inputs)
        ids_1L = inputs["decoder_input_ids" if self.speech else "input_ids"]
        more_1L = torch.tensor([list(answer)], dtype=ids_1L.dtype, device=ids_1L.device)
        for key, value in prompt.inputs.items():
            if isinstance(value, Tensor) and value.shape == ids_1L.shape and answer:
                fill = more_1L if value is ids_1L else torch.full_like(more_1L, int(key.endswith("attention_mask")))
                inputs[key] = torch.cat([value, fill.to(value.dtype)], 1)
        logits_LV: Tensor = self.model(**inputs).logits[0]
        return logits_LV

    def _replies(self, prompt: Prompt, sampling: Sampling) -> list[Reply]:
        ids = prompt.inputs["decoder_input_ids" if self.speech else "input_ids"]
        masks = torch.ones_like(ids) if self.speech else prompt.inputs["attention_mask"]
        said = [row[mask.bool()].tolist() for row, mask in zip(ids, masks, strict=True)]
        return [Reply(self._decode, self.ends, row, sampling) for row in said]

    def _decode(self, ids: list[int], plain: bool) -> str:
        text: str = self.tokenizer.decode(ids, skip_special_tokens=plain, clean_up_tokenization_spaces=False)
        return text

    def _picker(self, replies: Sequence[Reply], after: Any = None) -> Picker:
        return Picker(replies, self.told.suppress_tokens or (), self.told.begin_suppress_tokens or (), after)

    def _answers(self, prompt: Prompt, sampling: Sampling) -> list[Answer]:
        if sampling.beams > 1:
            replies = self._beams(prompt, sampling)
        else:
            replies = self._replies(prompt, sampling)
            self._generate(prompt, self._picker(replies), sampling)
        return [reply.answer(self._usage(prompt, row, len(reply.ids)), UNCALIBRATED) for row, reply in enumerate(replies)]

    def _generate(self, prompt: Prompt, picker: Picker, sampling: Sampling) -> None:
        """Their loop, their cache, their positions; our choice of every token."""
        settings = self._neutral()
        settings.max_new_tokens = sampling.max_tokens
        transformers.GenerationMixin.generate(
            self.model,
            **prompt.inputs,
            generation_config=settings,
            logits_processor=transformers.LogitsProcessorList([picker]),
            stopping_criteria=transformers.StoppingCriteriaList([picker.over]),
        )

    def _neutral(self) -> Any:
        """Generation settings that say where answers end and nothing of how to draw them: the caller's Sampling does."""
        start = self.told.decoder_start_token_id
        return transformers.GenerationConfig(
            do_sample=False,
            bos_token_id=self.told.bos_token_id,
            eos_token_id=sorted(self.ends),
            pad_token_id=min(self.ends),
            decoder_start_token_id=getattr(self.model.config, "decoder_start_token_id", None) if start is None else start,
            use_cache=True,
        )

    def _beams(self, prompt: Prompt, sampling: Sampling) -> list[Reply]:
        for name, given in (("stop", sampling.stop), ("top_logprobs", sampling.top_logprobs)):
            if given:
                raise RequestError(name, "cannot be combined with beams", f"Set beams to 1, or leave {name} out")
        settings = self._neutral()
        settings.update(
            max_new_tokens=sampling.max_tokens,
            num_beams=sampling.beams,
            length_penalty=sampling.length_penalty,
            repetition_penalty=sampling.repetition_penalty,
            suppress_tokens=self.told.suppress_tokens,
            begin_suppress_tokens=self.told.begin_suppress_tokens,
        )
        (row,) = transformers.GenerationMixin.generate(self.model, **prompt.inputs, generation_config=settings).tolist()
        (reply,) = self._replies(prompt, sampling)
        said = row[prompt.inputs["decoder_input_ids" if self.speech else "input_ids"].shape[1] :]
        ends = [place for place, token in enumerate(said) if token in self.ends]
        ids = said[: ends[0] + 1] if ends else said
        for token, logprob in zip(ids, self._logprobs(prompt, ids), strict=True):
            reply.take(token, logprob, ())
        return [reply]

    def _choose(self, messages: Sequence[Message], sampling: Sampling) -> Answer:
        prompt = self.prompt([messages])
        ids = [self.prompter.answer_ids(prompt, text) for text in sampling.choices]
        totals = torch.tensor([self._score(prompt, row) for row in ids], dtype=torch.float64)
        picked = int(totals.argmax())
        if sampling.temperature > 0:
            weights = (totals / sampling.temperature).softmax(0)
            picked = int(torch.multinomial(weights, 1, generator=generator(sampling)))
        text = sampling.choices[picked]
        tokens = (TokenScore(text, float(totals[picked])),)
        usage = self._usage(prompt, 0, len(ids[picked]))
        message = Message("assistant", (Text(text),))
        return Answer(message, usage, "choice", float(totals.softmax(0)[picked]), AMONG_CHOICES, tokens)

    def _score(self, prompt: Prompt, ids: Sequence[int]) -> float:
        """Its tokens, then the end."""
        logprobs_LV = self.logits(prompt, ids)[-len(ids) - 1 :].float().log_softmax(-1).double()
        picked = logprobs_LV[:-1].gather(1, torch.tensor(ids, device=logprobs_LV.device)[:, None]).sum()
        return float(picked + logprobs_LV[-1, sorted(self.ends)].logsumexp(0))

    def _logprobs(self, prompt: Prompt, ids: Sequence[int]) -> list[float]:
        logits_LV = self.logits(prompt, ids)[-len(ids) - 1 : -1]
        picked: list[float] = report(logits_LV, torch.tensor(ids, device=logits_LV.device)).logprobs_B.tolist()
        return picked

    def _usage(self, prompt: Prompt, row: int, said: int) -> Usage:
        return Usage(prompt.lengths[row], said, prompt.uses[row])


def _ends(settings: Any, tokenizer: Any, name: str) -> frozenset[int]:
    ends = settings.eos_token_id if settings.eos_token_id is not None else tokenizer.eos_token_id
    if ends is None:
        raise CheckpointError(name, "names no token that ends an answer", "Set eos_token_id in its generation_config.json")
    return frozenset([ends] if isinstance(ends, int) else ends)
