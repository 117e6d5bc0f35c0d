"""Other people's models: a local `transformers` folder as a model that generates and scores."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import Tensor
from transformers.models.auto import modeling_auto
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.utils import is_torchvision_available

from sensorium.errors import CheckpointError, DependencyError, RequestError
from sensorium.heads.text import check_sampling, generator, report
from sensorium.media.source import Access, Limits
from sensorium.model.foreign_inputs import Senses, converse
from sensorium.model.foreign_prompt import Prompt, Prompter, one_line
from sensorium.model.foreign_reply import Picker, Reply
from sensorium.model.foreign_video import NoVideo, QwenVideo, video_processor
from sensorium.model.generate import AMONG_CHOICES, UNCALIBRATED
from sensorium.parts import Answer, Message, Text, TokenScore, Usage
from sensorium.protocols import Sampling

_ROWS = 8
"""Conversations run at once."""
_IGNORED = ("bad_words_ids", "sequence_bias", "forced_bos_token_id", "forced_eos_token_id", "exponential_decay_length_penalty")
"""Settings of `generation_config.json` that shape what is said, and that are not followed."""
_LOCAL: Mapping[str, Any] = {"local_files_only": True, "trust_remote_code": False}


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
        folder = Path(path)
        config = _config(folder)
        kind = _auto_class(config, folder)
        processor = _processor(folder, config, kind)
        try:
            with _no_bars():
                model, told = kind.from_pretrained(
                    folder, dtype=dtype, use_safetensors=True, output_loading_info=True, **_LOCAL
                )
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            raise CheckpointError(folder.name, f"cannot be loaded ({one_line(error)})", "Fetch the folder again") from error
        missing = sorted({*told["missing_keys"], *(str(item) for item in told["mismatched_keys"])})
        if missing:
            problem = f"lacks {len(missing)} tensors or holds them in another shape: {', '.join(missing[:3])}"
            raise CheckpointError(folder.name, problem, "Fetch the folder again; a model is never completed by chance")
        unused = sorted(told["unexpected_keys"])
        notes = [f"{len(unused)} tensors of the checkpoint are not used: {', '.join(unused[:3])}"] if unused else []
        notes += [
            f"its generation setting {name} is not used" for name in _IGNORED if getattr(model.generation_config, name, None)
        ]
        senses = replace(_senses(folder.name, model, processor), limits=limits or Limits(), access=access or Access())
        return cls(model.to(device).eval(), processor, senses, tuple(notes))

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


@contextmanager
def _no_bars() -> Iterator[None]:
    """The library draws progress bars of its own; here only the command line does."""
    shown = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers.utils.logging.enable_progress_bar()


def _config(folder: Path) -> Any:
    """The folder's configuration, after a look at what else it holds."""
    if not (folder / "config.json").is_file():
        raise CheckpointError(str(folder), "holds no config.json", "Give the folder of a model in the Hugging Face layout")
    if not list(folder.glob("*.safetensors")):
        pickled = sorted(file.name for kind in ("*.bin", "*.pt", "*.pth") for file in folder.glob(kind))
        problem = f"holds its weights pickled ({pickled[0]})" if pickled else "holds no weights (*.safetensors)"
        raise CheckpointError(
            folder.name, problem, "Give weights in safetensors; pickled files can run code and are never read"
        )
    try:
        return transformers.AutoConfig.from_pretrained(folder, **_LOCAL)
    except (ValueError, OSError, KeyError) as error:
        kind = json.loads((folder / "config.json").read_text("utf-8")).get("model_type")
        problem = f"is of type {kind!r}, which transformers {transformers.__version__} does not know ({one_line(error)})"
        raise CheckpointError(folder.name, problem, "Use a model that needs no code of its own") from error


def _auto_class(config: Any, folder: Path) -> Any:
    kind = config.model_type
    if kind in modeling_auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES and not config.is_encoder_decoder:
        return transformers.AutoModelForMultimodalLM
    if kind in modeling_auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES and config.is_encoder_decoder:
        return transformers.AutoModelForSpeechSeq2Seq
    if kind in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and not config.is_encoder_decoder:
        return transformers.AutoModelForCausalLM
    problem = f"is of type {kind!r}, which neither chats about text, images or sound nor transcribes"
    raise CheckpointError(folder.name, problem, "Give an image-text-to-text, audio-text, speech recognition or chat checkpoint")


def _processor(folder: Path, config: Any, kind: Any) -> Any:
    """The folder's processor; a video processor, which needs torchvision, gives way to ours where that is absent."""
    auto = transformers.AutoTokenizer if kind is transformers.AutoModelForCausalLM else transformers.AutoProcessor
    try:
        made = PROCESSOR_MAPPING.get(type(config), None) if auto is transformers.AutoProcessor else None
        if made is not None and "video_processor" in made.get_attributes() and not is_torchvision_available():
            processor = _without_video(folder, made)
        else:
            processor = auto.from_pretrained(folder, **_LOCAL)
    except ImportError as error:
        raise DependencyError(folder.name, f"needs a library for its processor ({one_line(error)})", "Install it") from error
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            folder.name, f"has no processor that loads ({one_line(error)})", "Fetch the folder again"
        ) from error
    if kind is not transformers.AutoModelForSpeechSeq2Seq and not getattr(processor, "chat_template", None):
        raise CheckpointError(folder.name, "has no chat template", "Add the model's chat_template.jinja to the folder")
    return processor


def _without_video(folder: Path, kind: Any) -> Any:
    parts = {
        "tokenizer": transformers.AutoTokenizer,
        "image_processor": transformers.AutoImageProcessor,
        "feature_extractor": transformers.AutoFeatureExtractor,
    }

    class WithoutVideo(kind):  # type: ignore[misc]
        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            ours = isinstance(argument, NoVideo | QwenVideo)
            return type(argument) if ours else super().check_argument_for_proper_class(argument_name, argument)

        def __repr__(self) -> str:
            return f"{kind.__name__} without torchvision"

    settings, _ = kind.get_processor_dict(folder, **_LOCAL)
    names = kind.get_attributes()
    made = {name: parts[name].from_pretrained(folder, **_LOCAL) for name in names if name != "video_processor"}
    made["video_processor"] = video_processor(folder, kind.__name__, made.get("image_processor"))
    return WithoutVideo.from_args_and_dict([made[name] for name in names], settings)


def _senses(name: str, model: Any, processor: Any) -> Senses:
    """What both the model and its processor take."""
    takes = {"text"} | set(model.input_modalities if not isinstance(model.input_modalities, str) else [model.input_modalities])
    hearing = getattr(processor, "feature_extractor", None)
    video = getattr(processor, "video_processor", None)
    has = {
        "image": getattr(processor, "image_processor", None),
        "audio": hearing,
        "video": None if isinstance(video, NoVideo) else video,
    }
    kinds = frozenset(kind for kind, tool in has.items() if tool is not None and kind in takes)
    samples = getattr(hearing, "n_samples", None)
    rate = int(getattr(hearing, "sampling_rate", 16_000))
    longest = samples / rate if samples and not isinstance(processor, transformers.VoxtralProcessor) else None
    return Senses(name, kinds, rate, longest, blocks=hasattr(processor, "tokenizer"))


def _ends(settings: Any, tokenizer: Any, name: str) -> frozenset[int]:
    ends = settings.eos_token_id if settings.eos_token_id is not None else tokenizer.eos_token_id
    if ends is None:
        raise CheckpointError(name, "names no token that ends an answer", "Set eos_token_id in its generation_config.json")
    return frozenset([ends] if isinstance(ends, int) else ends)
