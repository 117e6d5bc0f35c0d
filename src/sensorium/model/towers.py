"""One encoder out of a public folder: its configuration, its tensors under our names, and what prepares its input."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer
from torch import Tensor

from sensorium.encoders import audio, text, vit_names
from sensorium.encoders.audio import WhisperConfig
from sensorium.encoders.processing import ImageProcessing
from sensorium.encoders.text import BertConfig
from sensorium.encoders.vit_config import ViTConfig
from sensorium.errors import CheckpointError
from sensorium.language import speech
from sensorium.language.speech import SpeechConfig
from sensorium.language.speech_tokens import SpeechTokens
from sensorium.model.checkpoint import read_tokenizer
from sensorium.model.config import Speech, Text, ViTTower, WhisperTower
from sensorium.model.tensors import read_json, read_tensors

Tensors = dict[str, Tensor]

_OPEN_CLIP = "open_clip_config.json"


class Vision(NamedTuple):
    """SigLIP, CLIP or DINOv2; `tensors` are those of `ViT`."""

    tower: ViTTower
    tensors: Tensors
    processing: ImageProcessing


class Whisper(NamedTuple):
    """`encoder` holds the tensors of `AudioEncoder`, `decoder` those of `SpeechDecoder`."""

    tower: WhisperTower
    encoder: Tensors
    speech: Speech
    decoder: Tensors
    tokenizer: Tokenizer


class Sentences(NamedTuple):
    """BERT, MiniLM; `tensors` are those of `Bert`."""

    text: Text
    tensors: Tensors
    tokenizer: Tokenizer


def read_vision(folder: Path) -> Vision:
    """A SigLIP, CLIP or DINOv2 folder, whole or the vision half; or an open_clip folder.

    Raises:
        CheckpointError: another kind of model, or tensors that are missing or left over.
    """
    if (folder / _OPEN_CLIP).is_file():
        return _read_open_clip(folder)
    config = ViTConfig.from_hf(read_json(folder / "config.json"))
    tensors = vit_names.names_from_hf(read_tensors(folder), config)
    return Vision(ViTTower(config=config), tensors, ImageProcessing.read(folder))


def read_whisper(folder: Path) -> Whisper:
    """A Whisper folder, encoder and decoder.

    Raises:
        CheckpointError: another kind of model, or tensors that are missing or left over.
    """
    row, tensors = read_json(folder / "config.json"), read_tensors(folder)
    said = Speech(config=SpeechConfig.from_hf(row), tokens=SpeechTokens.from_hf(read_json(folder / "generation_config.json")))
    return Whisper(
        WhisperTower(config=WhisperConfig.from_hf(row)),
        audio.names_from_hf(tensors),
        said,
        speech.names_from_hf(tensors),
        read_tokenizer(folder / "tokenizer.json"),
    )


def read_sentences(folder: Path, window: int = 256) -> Sentences:
    """A BERT-shaped folder; `window`: tokens read at once.

    Raises:
        CheckpointError: another kind of model, or tensors that are missing or left over.
    """
    tensors = read_tensors(folder)
    config = BertConfig.from_hf(read_json(folder / "config.json"), pooler=any("pooler." in name for name in tensors))
    tokenizer = read_tokenizer(folder / "tokenizer.json")
    return Sentences(Text(config=config, window=window), text.names_from_hf(tensors, config), tokenizer)


def vision_of(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> tuple[ViTConfig, Tensors]:
    """The vision tower within a composite: its `vision_config`, and its tensors with the composite's prefix taken off."""
    row = dict(config)
    if row.get("model_type") == "siglip_vision_model":
        row["vision_use_head"] = any(name.startswith("head.") for name in tensors)
    shape = ViTConfig.from_hf(row)
    return shape, vit_names.names_from_hf(tensors, shape)


def _read_open_clip(folder: Path) -> Vision:
    """open_clip's own names: q, k and v are one matrix there, as they are here."""
    row = read_json(folder / _OPEN_CLIP)
    model = row.get("model_cfg", {})
    shape, prepare = model.get("vision_cfg", {}), row.get("preprocess_cfg", {})
    if not all(isinstance(shape.get(key), int) for key in ("image_size", "layers", "width", "patch_size")):
        raise CheckpointError(str(folder / _OPEN_CLIP), "is not of a plain vision transformer", "Use a ViT model of open_clip")
    width = shape["width"]
    config = ViTConfig(
        "clip",
        width,
        shape["layers"],
        width // shape.get("head_width", 64),
        int(width * shape.get("mlp_ratio", 4.0)),
        image_size=shape["image_size"],
        patch=shape["patch_size"],
        activation="quick_gelu" if model.get("quick_gelu", False) else "gelu",
        norm_eps=1e-5,
        projection=model["embed_dim"],
    )
    visual = {
        name.removeprefix("visual."): tensor for name, tensor in read_tensors(folder).items() if name.startswith("visual.")
    }
    tensors = {_from_open_clip(name): tensor for name, tensor in visual.items()}
    tensors["projection.weight"] = tensors["projection.weight"].T.contiguous()
    size = shape["image_size"]
    processing = ImageProcessing(
        size=size,
        crop=(size, size),
        mean=tuple(prepare.get("mean", (0.48145466, 0.4578275, 0.40821073))),
        std=tuple(prepare.get("std", (0.26862954, 0.26130258, 0.27577711))),
    )
    return Vision(ViTTower(config=config), tensors, processing)


_OPEN_CLIP_TOP = {
    "class_embedding": "class_token",
    "positional_embedding": "positions",
    "proj": "projection.weight",
    "conv1": "patches",
    "ln_pre": "before",
    "ln_post": "norm",
}
_OPEN_CLIP_BLOCK = {
    "ln_1.": "attention_norm.",
    "attn.in_proj_": "attention.qkv.",
    "attn.out_proj.": "attention.out.",
    "ln_2.": "mlp_norm.",
    "mlp.c_fc.": "up.",
    "mlp.c_proj.": "down.",
}


def _from_open_clip(name: str) -> str:
    head, _, rest = name.partition(".")
    if name in _OPEN_CLIP_TOP or head in _OPEN_CLIP_TOP:
        return _OPEN_CLIP_TOP[head] + (f".{rest}" if rest else "")
    block = name.removeprefix("transformer.resblocks.")
    number, _, inner = block.partition(".")
    for theirs, ours in _OPEN_CLIP_BLOCK.items():
        if inner.startswith(theirs):
            return f"blocks.{number}.{ours}{inner.removeprefix(theirs)}"
    raise CheckpointError("open_clip weights", f"hold {name!r}, which has no place here", "Use a plain ViT model of open_clip")
