"""A checkpoint: one folder in the Hugging Face layout, written at once or not at all, read strictly and by memory map.

config.json               what is built (`model/config.py`)
model.safetensors         the weights, or shards and model.safetensors.index.json
tokenizer.json, tokenizer_config.json, chat_template.jinja
preprocessor_config.json  how pictures are prepared
generation_config.json    the default sampling and the tokens that end an answer
text_tokenizer.json, speech_tokenizer.json   of the text encoder and the speech decoder, where there are such
README.md                 the card
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from torch import Tensor

from sensorium.encoders.processing import FILE as PROCESSING
from sensorium.encoders.processing import ImageProcessing
from sensorium.errors import CheckpointError
from sensorium.language.quantized import quantize as pack
from sensorium.model.build import build_unfilled
from sensorium.model.config import Blueprint, Config, Packing
from sensorium.model.multimodal import MultimodalLM
from sensorium.model.tensors import (
    SHARD_BYTES,
    assign,
    own_tensors,
    read_json,
    read_tensors,
    recover,
    replacing,
    write_json,
    write_tensors,
)
from sensorium.nn.lora import LoraConfig
from sensorium.protocols import Sampling

CONFIG = "config.json"
TOKENIZER, TOKENIZER_CONFIG, TEMPLATE = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"
GENERATION = "generation_config.json"
TEXT_TOKENIZER, SPEECH_TOKENIZER = "text_tokenizer.json", "speech_tokenizer.json"
CARD = "README.md"

_SAMPLING = {
    "max_new_tokens": "max_tokens",
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
    "num_beams": "beams",
    "length_penalty": "length_penalty",
}


def save(model: MultimodalLM, folder: Path | str, shard_bytes: int = SHARD_BYTES) -> None:
    """Write `folder` anew; an interrupted write leaves what was there before.

    Raises:
        CheckpointError: `folder` holds something that is not a checkpoint, or the model is quantised.
    """
    blueprint = model.blueprint
    assert blueprint is not None, "only a model that was built from a blueprint can be saved"
    if blueprint.config.quantize:
        raise CheckpointError(
            str(folder), f"cannot take a model quantised to {blueprint.config.quantize}", "Load it unquantised and save that"
        )
    folder = Path(folder).expanduser().resolve()
    refuse_other(folder)
    with replacing(folder) as fresh:
        write_blueprint(blueprint, fresh)
        write_tensors(fresh, own_tensors(model), shard_bytes)


def load(folder: Path | str, *, quantize: Packing | None = None) -> MultimodalLM:
    """The model of a folder, in evaluation mode, its weights mapped from the file.

    Args:
        quantize: pack the language model's weights after loading, whatever `config.json` says.

    Raises:
        CheckpointError: a file that is missing or damaged, a configuration that does not fit together, or tensors that are
            missing, unexpected or of another shape, each by name.
    """
    folder = Path(folder).expanduser()
    recover(folder)
    blueprint = read_blueprint(folder)
    if quantize is not None:
        blueprint = replace(blueprint, config=blueprint.config.model_copy(update={"quantize": quantize}))
    tensors = read_tensors(folder)
    _check_size(blueprint.config, tensors, str(folder))
    model = build_unfilled(blueprint)
    assign(model, tensors, str(folder))
    if blueprint.config.quantize is not None:
        pack(model.decoder, 8 if blueprint.config.quantize == "int8" else 4)
    return model


def write_blueprint(blueprint: Blueprint, folder: Path) -> None:
    """Every file of a checkpoint but the weights."""
    write_json(folder / CONFIG, blueprint.config.to_json())
    write_json(folder / GENERATION, sampling_to_hf(blueprint.sampling, blueprint.ends))
    special = {**blueprint.special, "model_max_length": blueprint.config.language.max_positions}
    write_json(folder / TOKENIZER_CONFIG, {"tokenizer_class": "PreTrainedTokenizerFast", **special})
    (folder / TEMPLATE).write_text(blueprint.template, encoding="utf-8")
    (folder / CARD).write_text(blueprint.card, encoding="utf-8")
    for tokenizer, file in (
        (blueprint.tokenizer, TOKENIZER),
        (blueprint.text_tokenizer, TEXT_TOKENIZER),
        (blueprint.speech_tokenizer, SPEECH_TOKENIZER),
    ):
        if tokenizer is not None:
            (folder / file).write_text(tokenizer.to_str(), encoding="utf-8")
    if blueprint.processing is not None:
        blueprint.processing.write(folder)


def read_blueprint(folder: Path) -> Blueprint:
    """The inverse of `write_blueprint`.

    Raises:
        CheckpointError: a file is missing, damaged, or says what cannot be built.
    """
    if not folder.is_dir():
        raise CheckpointError(str(folder), "is not a folder", "Give the folder that holds config.json and model.safetensors")
    config = Config.from_json(read_json(folder / CONFIG), str(folder / CONFIG))
    sampling, ends = sampling_from_hf(read_json(folder / GENERATION), str(folder / GENERATION))
    return Blueprint(
        config,
        read_tokenizer(folder / TOKENIZER),
        read_text(folder / TEMPLATE),
        special_tokens(read_json(folder / TOKENIZER_CONFIG)),
        ends,
        ImageProcessing.read(folder) if (folder / PROCESSING).is_file() else None,
        sampling,
        read_tokenizer(folder / TEXT_TOKENIZER) if config.dual else None,
        read_tokenizer(folder / SPEECH_TOKENIZER) if config.speech else None,
        read_text(folder / CARD) if (folder / CARD).is_file() else "",
    )


def read_tokenizer(path: Path) -> Tokenizer:
    """A `tokenizer.json`.

    Raises:
        CheckpointError: it is missing or not a tokenizer.
    """
    text = read_text(path)
    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # the Rust library raises nothing narrower
        raise CheckpointError(str(path), f"is not a tokenizer ({error})", "Copy the whole checkpoint folder again") from error


def read_text(path: Path) -> str:
    """A UTF-8 file.

    Raises:
        CheckpointError: it is missing or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise CheckpointError(str(path), "is missing", "Copy the whole checkpoint folder again") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(str(path), f"cannot be read ({error})", "Copy the whole checkpoint folder again") from error


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of a token that must be in the vocabulary.

    Raises:
        CheckpointError: it is not.
    """
    found = tokenizer.token_to_id(token)
    if found is None:
        raise CheckpointError("tokenizer.json", f"has no token {token!r}", "Use the tokenizer that belongs to the weights")
    return int(found)


def special_tokens(row: Mapping[str, Any]) -> dict[str, str]:
    """The special tokens of a `tokenizer_config.json`, `{"eos_token": "</s>", ...}`, whichever way they are written."""
    found = {}
    for name, value in row.items():
        text = value.get("content") if isinstance(value, dict) else value
        if re.fullmatch(r"(bos|eos|pad|unk|cls|sep|mask)_token", name) and isinstance(text, str):
            found[name] = text
    return found


def sampling_to_hf(sampling: Sampling, ends: tuple[int, ...]) -> dict[str, Any]:
    """A `generation_config.json`."""
    row: dict[str, Any] = {theirs: getattr(sampling, ours) for theirs, ours in _SAMPLING.items()}
    row["do_sample"] = sampling.temperature > 0
    if not row["do_sample"]:
        row["temperature"] = 1.0
    return row | {"stop_strings": list(sampling.stop) or None, "eos_token_id": list(ends)}


def sampling_from_hf(row: Mapping[str, Any], thing: str) -> tuple[Sampling, tuple[int, ...]]:
    """The inverse: the default sampling and the ids that end an answer. Without `do_sample` it is greedy, as in transformers.

    Raises:
        CheckpointError: no token ends an answer, or a value is of the wrong type.
    """
    ends = row.get("eos_token_id")
    ends = [ends] if isinstance(ends, int) else ends
    if not isinstance(ends, list) or not ends or not all(isinstance(end, int) for end in ends):
        given = row.get("eos_token_id")
        raise CheckpointError(thing, f"has eos_token_id {given!r}", "Give the id, or ids, of the token that ends an answer")
    values = {ours: row[theirs] for theirs, ours in _SAMPLING.items() if row.get(theirs) is not None}
    for name, value in values.items():
        wanted = type(getattr(Sampling(), name))
        if isinstance(value, bool) or not isinstance(value, int | float) or (wanted is int and not isinstance(value, int)):
            raise CheckpointError(thing, f"says {value!r} for {name}", f"It must be a number of type {wanted.__name__}")
        values[name] = wanted(value)
    sampling = replace(Sampling(), **values)
    if not row.get("do_sample", False):
        sampling = replace(sampling, temperature=0.0)
    return replace(sampling, stop=tuple(row.get("stop_strings") or ())), tuple(ends)


def decoder_names(tensors: Mapping[str, Tensor], adapter: LoraConfig | None) -> dict[str, Tensor]:
    """Tensors of a causal language model of `transformers` under the names they have in a `MultimodalLM`."""
    found = {}
    for name, tensor in tensors.items():
        path, _, leaf = name.removeprefix("model.").rpartition(".")
        inner = f"{path}.base" if adapter is not None and adapter.hits(path) else path
        found[f"decoder.{inner}.{leaf}"] = tensor
    return found


def _check_size(config: Config, tensors: Mapping[str, Tensor], thing: str) -> None:
    """A configuration that asks for far more than the file holds is refused before memory is asked for."""
    held, language = sum(tensor.numel() for tensor in tensors.values()), config.language
    wanted = language.vocab_size * language.dim + language.layers * language.dim * (language.inner_dim + language.head_dim)
    if wanted > held or language.layers > len(tensors):
        problem = (
            f"holds {held:,} numbers in {len(tensors):,} tensors, and its config.json describes a model of over {wanted:,}"
        )
        raise CheckpointError(thing, problem, "Copy the whole checkpoint folder again")


def refuse_other(folder: Path) -> None:
    """A folder that is replaced whole must not be somebody's photos.

    Raises:
        CheckpointError: it is a file, or holds something and no `config.json`.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / CONFIG).is_file()):
        raise CheckpointError(
            str(folder), "holds something that is not a checkpoint", "Name a new folder, or an old checkpoint"
        )
