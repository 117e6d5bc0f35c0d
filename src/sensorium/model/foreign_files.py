"""A `transformers` folder read from disk: configuration, weights, processor, and what model and processor take in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from safetensors import SafetensorError
from transformers.models.auto import modeling_auto
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.utils import is_torchvision_available

from sensorium.errors import CheckpointError, DependencyError
from sensorium.model.foreign_inputs import Senses
from sensorium.model.foreign_prompt import one_line
from sensorium.model.foreign_video import NoVideo, QwenVideo, video_processor

_IGNORED = ("bad_words_ids", "sequence_bias", "forced_bos_token_id", "forced_eos_token_id", "exponential_decay_length_penalty")
"""Settings of `generation_config.json` that shape what is said, and that are not followed."""
_LOCAL: Mapping[str, Any] = {"local_files_only": True, "trust_remote_code": False}


class Folder(NamedTuple):
    """What a folder holds, as the library reads it.

    Args:
        processor: a tokenizer for a text model. senses: what model and processor take in. notes: what is left to say, such as
            tensors that the model does not use.
    """

    model: Any
    processor: Any
    senses: Senses
    notes: tuple[str, ...]


def read_folder(folder: Path, dtype: torch.dtype) -> Folder:
    """Read it; nothing is fetched and none of its code is run.

    Raises:
        CheckpointError: not such a folder, pickled or incomplete weights, code of its own, no chat template.
        DependencyError: its processor needs a library that is not installed.
    """
    config = _config(folder)
    kind = _auto_class(config, folder)
    processor = _processor(folder, config, kind)
    try:
        with _no_bars():
            model, told = kind.from_pretrained(folder, dtype=dtype, use_safetensors=True, output_loading_info=True, **_LOCAL)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise CheckpointError(folder.name, f"cannot be loaded ({one_line(error)})", "Fetch the folder again") from error
    missing = sorted({*told["missing_keys"], *(str(item) for item in told["mismatched_keys"])})
    if missing:
        problem = f"lacks {len(missing)} tensors or holds them in another shape: {', '.join(missing[:3])}"
        raise CheckpointError(folder.name, problem, "Fetch the folder again; a model is never completed by chance")
    unused = sorted(told["unexpected_keys"])
    notes = [f"{len(unused)} tensors of the checkpoint are not used: {', '.join(unused[:3])}"] if unused else []
    notes += [f"its generation setting {name} is not used" for name in _IGNORED if getattr(model.generation_config, name, None)]
    return Folder(model, processor, _senses(folder.name, model, processor), tuple(notes))


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
