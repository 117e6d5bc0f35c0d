"""Public folders and GGUF files to checkpoints of ours, and a text model of ours back to a folder of `transformers`.

Read without `transformers`: Llama, SmolLM, Mistral, Qwen2, Qwen3 and Gemma 3 text models, LLaVA 1.5 shapes, GGUF files; and
single towers (see `towers`), which `compose` puts together into a new model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from sensorium.batch import Modality
from sensorium.encoders.processing import ImageProcessing
from sensorium.errors import CheckpointError
from sensorium.fusion.projector import ProjectorConfig
from sensorium.language.config import DecoderConfig
from sensorium.model import checkpoint
from sensorium.model.build import build
from sensorium.model.causal import Language, own_template, read_language, read_words, surround
from sensorium.model.config import Blueprint, Config, Dual, Link, Projector, ViTTower
from sensorium.model.tensors import assign, own_tensors, read_json, read_tensors, replacing, write_json, write_tensors
from sensorium.model.towers import Sentences, Vision, Whisper, vision_of

_TEXT = ("llama", "mistral", "qwen2", "qwen3", "gemma3_text")
_ONE_TOWER = (
    "siglip",
    "siglip_vision_model",
    "clip",
    "clip_vision_model",
    "dinov2",
    "dinov2_with_registers",
    "whisper",
    "bert",
)
_ACTIVATIONS = {"gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu", "silu": "silu"}
_PARTS = (
    (re.compile(r"^(model\.)?vision_tower\.(vision_model\.)?"), "vision."),
    (re.compile(r"^(model\.)?multi_modal_projector\."), "projector."),
    (re.compile(r"^(language_model\.model|model\.language_model)\."), "language.model."),
    (re.compile(r"^(language_model\.)?lm_head\."), "language.lm_head."),
)
"""Where the parts of a LLaVA stand in files of transformers 4 and 5."""


def convert(source: Path | str, destination: Path | str, template: str | None = None) -> None:
    """Write a public folder, or a GGUF file, as a checkpoint of ours.

    Args:
        template: a chat template instead of the source's own.

    Raises:
        CheckpointError: the source is of a kind that is not read here, or not whole; nothing is written then.
    """
    source = Path(source).expanduser()
    kind = "gguf" if source.suffix == ".gguf" else read_json(source / "config.json").get("model_type")
    if kind == "gguf" or kind in _TEXT:
        language = read_language(source, template)
        _write(language.blueprint(), language.ours(), destination)
    elif kind == "llava":
        _write(*_read_llava(source, template), destination)
    elif kind in _ONE_TOWER:
        remedy = "Put it together with a language model: sensorium.model.convert.compose"
        raise CheckpointError(str(source), f"is a single tower ({kind})", remedy)
    else:
        remedy = f"Run it as it is, with --model {source}; converted are GGUF files and {', '.join(_TEXT)}, llava"
        raise CheckpointError(str(source), f"is a {kind!r} model, which has no exact form here", remedy)


def compose(
    language: Language,
    destination: Path | str,
    *,
    connectors: Mapping[Modality, Link],
    image: Vision | None = None,
    audio: Whisper | None = None,
    dual: tuple[Sentences, Dual] | None = None,
) -> None:
    """A new model of given towers. Its connectors and heads start random: it must be trained before it can be believed.

    Args:
        connectors: for image and audio, as far as they are given.
        dual: sentence vectors, and the head that takes pictures to them.

    Raises:
        CheckpointError: parts whose widths do not fit.
    """
    plain = language.blueprint()
    towers = {Modality.IMAGE: image.tower if image else None, Modality.AUDIO: audio.tower if audio else None}
    row = plain.config.to_json() | {
        "encoders": {str(kind): tower.model_dump(mode="json") for kind, tower in towers.items() if tower is not None},
        "connectors": {str(kind): link.model_dump(mode="json") for kind, link in connectors.items()},
        "speech": audio.speech.model_dump(mode="json") if audio else None,
        "dual": dual[1].model_dump(mode="json") if dual else None,
    }
    blueprint = replace(
        plain,
        config=Config.from_json(row, "the composed model"),
        processing=image.processing if image else None,
        speech_tokenizer=audio.tokenizer if audio else None,
        text_tokenizer=dual[0].tokenizer if dual else None,
        card="# A new model\n\nIts connectors and heads are random: train them.\n",
    )
    given = {
        **language.ours(),
        **_prefixed("encoders.image.network.", image.tensors if image else {}),
        **_prefixed("encoders.audio.", audio.encoder if audio else {}),
        **_prefixed("speech_decoder.", audio.decoder if audio else {}),
        **_prefixed("dual.text.bert.", dual[0].tensors if dual else {}),
    }
    model = build(blueprint)
    new = ("connectors.", "dual.image_head.", "dual.text_head.")
    fresh = {name: tensor for name, tensor in own_tensors(model).items() if name.startswith(new)}
    assign(model, given | fresh, "the composed model")
    checkpoint.save(model, destination)


def export(source: Path | str, destination: Path | str) -> None:
    """A text model of ours as a folder of `transformers`, with the same logits.

    Raises:
        CheckpointError: it holds more than a language model.
    """
    source, destination = Path(source).expanduser(), Path(destination).expanduser().resolve()
    blueprint, tensors = checkpoint.read_blueprint(source), read_tensors(source)
    config = blueprint.config
    if config.encoders or config.adapter or config.dual:
        remedy = "Export a model of text alone; transformers has no form for the rest"
        raise CheckpointError(str(source), "holds more than a language model", remedy)
    row = {**config.language.to_hf(), "dtype": str(next(iter(tensors.values())).dtype).removeprefix("torch.")}
    row["eos_token_id"] = list(blueprint.ends)
    for name in ("bos_token", "pad_token"):
        if name in blueprint.special:
            row[f"{name}_id"] = checkpoint.token_id(blueprint.tokenizer, blueprint.special[name])
    checkpoint.refuse_other(destination)
    with replacing(destination) as fresh:
        checkpoint.write_blueprint(blueprint, fresh)
        write_json(fresh / "config.json", row)
        inner = {name.removeprefix("decoder."): tensor for name, tensor in tensors.items()}
        write_tensors(fresh, {name if name.startswith("lm_head.") else f"model.{name}": inner[name] for name in inner})


def _write(blueprint: Blueprint, tensors: dict[str, Tensor], destination: Path | str) -> None:
    """A checkpoint that is loaded once before it takes its place: what is out of order is found now."""
    folder = Path(destination).expanduser().resolve()
    checkpoint.refuse_other(folder)
    with replacing(folder) as fresh:
        checkpoint.write_blueprint(blueprint, fresh)
        write_tensors(fresh, tensors)
        checkpoint.load(fresh)


def _read_llava(source: Path, template: str | None) -> tuple[Blueprint, dict[str, Tensor]]:
    """CLIP or SigLIP, an MLP of two layers, a decoder (Liu et al. 2023): the features of one layer, without the class token."""
    row = read_json(source / "config.json")
    parts: dict[str, dict[str, Tensor]] = {"vision": {}, "projector": {}, "language": {}}
    for name, tensor in read_tensors(source).items():
        part, _, rest = _place(source, name).partition(".")
        parts[part][rest] = tensor
    layer, strategy = row.get("vision_feature_layer", -2), row.get("vision_feature_select_strategy", "default")
    shape, vision = vision_of(row["vision_config"], parts["vision"])
    wanted = "full" if shape.family == "siglip" else "default"  # patches alone: SigLIP has no class token to leave out
    if not isinstance(layer, int) or strategy != wanted:
        problem = f"takes the layers {layer} of its vision tower by {strategy!r}"
        raise CheckpointError(str(source), problem, f"Run it as it is, with --model {source}")
    config = DecoderConfig.from_hf(row["text_config"])
    language = surround(
        source, config, parts["language"], read_words(source, row["text_config"]), template or own_template(source)
    )
    activation = _ACTIVATIONS.get(row.get("projector_hidden_act", "gelu"))
    plain = language.blueprint()
    projector = ProjectorConfig.from_json(
        {
            "dim_in": shape.width,
            "dim_out": config.dim,
            "hidden": config.dim,
            "activation": activation,
            "bias": row.get("multimodal_projector_bias", True),
        }
    )
    whole = plain.config.model_copy(
        update={
            "encoders": {Modality.IMAGE: ViTTower(config=shape, layer=layer, norm=False)},
            "connectors": {Modality.IMAGE: Projector(config=projector)},
        }
    )
    note = "A picture's features stand right where the picture stands in the message, without a newline of their own.\n"
    blueprint = replace(
        plain, config=Config.from_json(whole.to_json()), processing=ImageProcessing.read(source), card=f"{plain.card}\n{note}"
    )
    tensors = {
        **language.ours(),
        **_prefixed("encoders.image.network.", vision),
        **_prefixed("connectors.image.", parts["projector"]),
    }
    return blueprint, tensors


def _place(source: Path, name: str) -> str:
    for pattern, part in _PARTS:
        if found := pattern.match(name):
            return part + name[found.end() :]
    raise CheckpointError(
        str(source), f"holds {name!r}, which has no place in a LLaVA 1.5", f"Run it as it is, with --model {source}"
    )


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    return {prefix + name: tensor for name, tensor in tensors.items()}
