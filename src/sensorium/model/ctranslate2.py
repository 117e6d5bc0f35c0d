"""Whisper weights from CTranslate2's `model.bin`, in the names of `transformers`.

The file (little-endian): u32 version, string kind, u32 revision, u32 n; n tensors (string name, u8 rank, rank x u32 dims,
u8 type, u32 bytes, data); u32 m, m x (string alias, string target). A string is a u16 length, its trailing NUL counted, and
its bytes. Every field is checked before it is believed, so that a damaged or hostile file is refused and costs no memory.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sensorium.errors import CheckpointError

Array = np.ndarray[Any, np.dtype[Any]]

MAX_BYTES = 8 * 2**30
"""Larger files are refused; Whisper large-v3 in float32 is 6.2 GB."""

_VERSIONS = (5, 6)
_MAX_TENSORS, _MAX_RANK = 20_000, 4
_FLOATS: dict[int, np.dtype[Any]] = {0: np.dtype("<f4"), 4: np.dtype("<f2")}
_INTEGERS: dict[int, np.dtype[Any]] = {1: np.dtype("i1"), 2: np.dtype("<i2"), 3: np.dtype("<i4")}
_SETTINGS: Mapping[str, int | None] = {
    "activation": 3,
    "alibi": 0,
    "alignment_heads": None,
    "alignment_layer": None,
    "num_heads": None,
    "pre_norm": 1,
    "scale_embeddings": 0,
    "start_from_zero_embedding": 0,
}
"""Last words of the scalars beside the weights, and their value in Whisper (3 is the exact GELU); None: `config.json` says."""

_MODULES = {
    "self_attention/layer_norm": "self_attn_layer_norm",
    "self_attention/linear_1": "self_attn.out_proj",
    "attention/layer_norm": "encoder_attn_layer_norm",
    "attention/linear_0": "encoder_attn.q_proj",
    "attention/linear_2": "encoder_attn.out_proj",
    "ffn/layer_norm": "final_layer_norm",
    "ffn/linear_0": "fc1",
    "ffn/linear_1": "fc2",
}
_STACKED = {
    "self_attention/linear_0": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention/linear_1": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
}
_KINDS = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}


def read_ctranslate2(path: str | Path) -> dict[str, Tensor]:
    """A CTranslate2 Whisper file as the float32 state dict of `WhisperForConditionalGeneration`.

    Args:
        path: a `model.bin`, float32 or float16 (`convert` with `quantization="float16"`).

    Returns:
        `model.encoder...`, `model.decoder...`, and `proj_out.weight`, the same tensor as `model.decoder.embed_tokens.weight`.

    Raises:
        CheckpointError: not such a file, damaged, of another architecture, or quantised to integers.
    """
    file = Path(path)
    try:
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise CheckpointError(str(path), f"has {size:,} bytes; the limit is {MAX_BYTES:,}", "Use a Whisper model.bin")
        if size == 0:
            raise CheckpointError(str(path), "is empty", "Fetch the file again")
        data = np.memmap(file, dtype=np.uint8, mode="r")
    except OSError as error:
        raise CheckpointError(
            str(path), f"cannot be read ({error.strerror})", "Give the path of a CTranslate2 model.bin"
        ) from error
    return _to_transformers(_Reader(str(path), data).tensors(), str(path))


class _Reader:
    """The file's fields, one after another, each checked against what is left of the file."""

    def __init__(self, name: str, data: Array) -> None:
        self.name, self.data, self.at = name, data, 0

    def refuse(self, problem: str) -> CheckpointError:
        return CheckpointError(
            self.name,
            f"{problem} (byte {self.at:,} of {len(self.data):,})",
            "Fetch the file again; it must be a CTranslate2 Whisper model.bin",
        )

    def take(self, count: int) -> Array:
        if count > len(self.data) - self.at:
            raise self.refuse(f"ends early: {count:,} more bytes are needed")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, form: str) -> int:
        return int(struct.unpack(f"<{form}", self.take(struct.calcsize(form)).tobytes())[0])

    def string(self) -> str:
        raw = self.take(self.number("H")).tobytes()
        text = raw[:-1]
        if not raw.endswith(b"\0") or not text.isascii() or not text.decode("ascii", "replace").isprintable():
            raise self.refuse("holds a name that is not plain text")
        return text.decode("ascii")

    def tensors(self) -> dict[str, Array]:
        if (version := self.number("I")) not in _VERSIONS:
            raise self.refuse(f"has format version {version}, known are {_VERSIONS}")
        if (kind := self.string()) != "WhisperSpec":
            raise self.refuse(f"holds a {kind!r}, not a WhisperSpec")
        self.number("I")
        found: dict[str, Array] = {}
        for _ in range(self._count()):
            name = self.string()
            if name in found:
                raise self.refuse(f"holds {name} twice")
            found[name] = self._tensor(name)
        for _ in range(self._count()):
            alias, target = self.string(), self.string()
            if alias in found or target not in found:
                raise self.refuse(f"has an alias {alias} of {target} that cannot be")
            found[alias] = found[target]
        if self.at != len(self.data):
            raise self.refuse(f"has {len(self.data) - self.at:,} bytes after its end")
        return found

    def _count(self) -> int:
        if (count := self.number("I")) > _MAX_TENSORS:
            raise self.refuse(f"announces {count:,} tensors; the limit is {_MAX_TENSORS:,}")
        return count

    def _tensor(self, name: str) -> Array:
        if (rank := self.number("B")) > _MAX_RANK:
            raise self.refuse(f"gives {name} {rank} dimensions; the limit is {_MAX_RANK}")
        shape = tuple(self.number("I") for _ in range(rank))
        code, count = self.number("B"), self.number("I")
        kind = (_FLOATS | _INTEGERS).get(code)
        if kind is None:
            raise self.refuse(f"gives {name} the unknown type {code}")
        if math.prod(shape) * kind.itemsize != count:
            raise self.refuse(f"gives {name} shape {shape} and {count:,} bytes, which do not agree")
        return self.take(count).view(kind).reshape(shape)


def _to_transformers(found: Mapping[str, Array], file: str) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for name, array in found.items():
        if name == "decoder/projection/weight":
            continue
        if (setting := name.rsplit("/", 1)[-1]) in _SETTINGS:
            if (want := _SETTINGS[setting]) is not None and (array.size != 1 or array.item() != want):
                raise CheckpointError(
                    f"{file}, {name}", f"is {array.tolist()}, in Whisper it is {want}", "Use a Whisper model.bin"
                )
            continue
        if array.dtype not in _FLOATS.values():
            raise CheckpointError(
                f"{file}, {name}", f"is quantised to {array.dtype}", "Use a float16 or float32 conversion of the model"
            )
        _put(state, name, torch.from_numpy(array.astype(np.float32)), file)
    embedding = state.get("model.decoder.embed_tokens.weight")
    if embedding is None:
        raise CheckpointError(file, "holds no decoder/embeddings/weight", "Use a whole Whisper model.bin")
    projection = found.get("decoder/projection/weight")
    if projection is not None and not np.array_equal(projection, found["decoder/embeddings/weight"]):
        raise CheckpointError(
            file, "has an output projection of its own", "Use a model whose projection is its embedding, as Whisper's is"
        )
    state["proj_out.weight"] = embedding
    return state


def _put(state: dict[str, Tensor], name: str, tensor: Tensor, file: str) -> None:
    """One tensor under its other name, or under several when CTranslate2 stacked them."""
    stack, module, kind = _split(name)
    if module in _STACKED and tensor.ndim > 0 and len(tensor) % len(_STACKED[module]) == 0:
        for part, rows in zip(_STACKED[module], tensor.chunk(len(_STACKED[module])), strict=True):
            if kind == "bias" and part.endswith("k_proj"):
                if rows.any():
                    raise CheckpointError(
                        f"{file}, {name}", "gives the keys a bias, which Whisper has not", "Use a Whisper model.bin"
                    )
            else:
                state[f"{stack}.{part}.{kind}"] = rows.clone()
    elif module in _MODULES:
        state[f"{stack}.{_MODULES[module]}.{kind}"] = tensor
    elif found := re.fullmatch(r"(encoder|decoder)/(conv[12]|layer_norm)/(weight|bias|gamma|beta)", name):
        state[f"model.{found[1]}.{found[2]}.{_KINDS[found[3]]}"] = tensor
    elif found := re.fullmatch(r"(encoder|decoder)/position_encodings/encodings", name):
        state[f"model.{found[1]}.embed_positions.weight"] = tensor
    elif name == "decoder/embeddings/weight":
        state["model.decoder.embed_tokens.weight"] = tensor
    else:
        raise CheckpointError(
            f"{file}, {name}", f"of shape {tuple(tensor.shape)} has no place in a Whisper model", "Use a Whisper model.bin"
        )


def _split(name: str) -> tuple[str, str, str]:
    """`decoder/layer_3/ffn/linear_0/weight` -> `("model.decoder.layers.3", "ffn/linear_0", "weight")`; empty if of no layer."""
    found = re.fullmatch(r"(encoder|decoder)/layer_(\d{1,3})/(.+)/(weight|bias|gamma|beta)", name)
    if found is None:
        return "", "", ""
    return f"model.{found[1]}.layers.{found[2]}", found[3], _KINDS[found[4]]
