"""Whisper's text decoder: words given a sound's features, which every block attends to, and the cache of words already said.

Radford et al. 2022; reference: `WhisperDecoder` of transformers. Rows may be several beams of one piece of sound: its keys and
values are computed once, and the beams stand side by side as queries, so that memory does not grow with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium.batch import Features
from sensorium.errors import CheckpointError, RequestError
from sensorium.nn.trace import SILENT, Trace
from sensorium.nn.whisper import LAYER, Names, split_names, stack_names, whole_numbers

NAMES: Names = {
    **LAYER,
    "blocks.{}.cross_norm": ("layers.{}.encoder_attn_layer_norm",),
    "blocks.{}.cross.query": ("layers.{}.encoder_attn.q_proj",),
    "blocks.{}.cross.key_value": ("layers.{}.encoder_attn.k_proj", "layers.{}.encoder_attn.v_proj"),
    "blocks.{}.cross.out": ("layers.{}.encoder_attn.out_proj",),
    "embed": ("embed_tokens",),
    "positions": ("embed_positions",),
    "norm": ("layer_norm",),
}


@dataclass(frozen=True, slots=True)
class SpeechConfig:
    """The shape of the decoder; the defaults are Whisper tiny.en's. `inner`: width of the MLP; `positions`: most tokens."""

    vocab: int = 51864
    dim: int = 384
    layers: int = 4
    heads: int = 6
    inner: int = 1536
    positions: int = 448

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> Self:
        """From `config.json` of a Whisper checkpoint.

        Raises:
            CheckpointError: another family, another activation, scaled embeddings, or a field is missing.
        """
        found = (config.get("model_type"), config.get("activation_function", "gelu"), config.get("scale_embedding", False))
        if found != ("whisper", "gelu", False):
            raise CheckpointError(
                "config.json", f"has model type, activation and scaling {found}", "Give the configuration of a Whisper model"
            )
        fields = (
            "vocab_size",
            "d_model",
            "decoder_layers",
            "decoder_attention_heads",
            "decoder_ffn_dim",
            "max_target_positions",
        )
        return cls(*whole_numbers(config, fields))

    def to_hf(self) -> dict[str, Any]:
        """The decoder's fields of `config.json`."""
        return {
            "model_type": "whisper",
            "activation_function": "gelu",
            "scale_embedding": False,
            "vocab_size": self.vocab,
            "d_model": self.dim,
            "decoder_layers": self.layers,
            "decoder_attention_heads": self.heads,
            "decoder_ffn_dim": self.inner,
            "max_target_positions": self.positions,
        }


@dataclass(frozen=True, slots=True)
class SpeechMemory:
    """What each block attends to in P pieces of sound: keys and values `PNMH`, and which of the M steps are sound.

    Args:
        mask: bool `(P, 1, 1, M)`; None when all are.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    mask: Tensor | None

    def select(self, pieces: Tensor) -> SpeechMemory:
        """These pieces, in this order."""
        mask = None if self.mask is None else self.mask[pieces]
        return SpeechMemory(tuple(keys[pieces] for keys in self.keys), tuple(values[pieces] for values in self.values), mask)


class SpeechCache:
    """Keys and values of the tokens already read, of every block; for decoding only (no gradient passes through it)."""

    def __init__(self) -> None:
        self.length = 0
        self._kv: Tensor | None = None  # (layers, 2, rows, heads, room, width of a head)

    def append(self, layer: int, layers: int, kv_2BNLH: Tensor) -> Tensor:
        """Store a block's new keys and values; gives all of them, `(2, B, N, S, H)`."""
        new = kv_2BNLH.shape[3]
        if self._kv is None or self._kv.shape[4] < self.length + new:
            self._grow(layers, kv_2BNLH)
        assert self._kv is not None
        self._kv[layer, ..., self.length : self.length + new, :] = kv_2BNLH
        return self._kv[layer, ..., : self.length + new, :]

    def select(self, rows: Tensor) -> None:
        """Keep these rows, in this order; a row may be taken several times."""
        if self._kv is not None:
            self._kv = self._kv[..., : self.length + 1, :].index_select(2, rows)

    def _grow(self, layers: int, kv_2BNLH: Tensor) -> None:
        _, rows, heads, new, width = kv_2BNLH.shape
        room = kv_2BNLH.new_empty(layers, 2, rows, heads, 2 * (self.length + new) + 30, width)
        if self._kv is not None:
            room[..., : self.length, :] = self._kv[..., : self.length, :]
        self._kv = room


class SpeechDecoder(nn.Module):
    """Tokens and a sound to hidden states; `logits` turns those into scores over the vocabulary (the head is the embedding).

    Gives to a trace, for each block: `speech.{i}.cross_attention` (weights over the sound, `BNLM`) and `speech.{i}`.
    """

    def __init__(self, config: SpeechConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab, config.dim)
        self.positions = nn.Embedding(config.positions, config.dim)
        self.blocks = nn.ModuleList(SpeechBlock(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dim)

    def memory(self, features: Features) -> SpeechMemory:
        """An encoder's features as what the blocks attend to; computed once for a sound."""
        pairs = [cast(SpeechBlock, block).cross.remember(features.x_BTD) for block in self.blocks]
        mask = None if bool(features.valid_BT.all()) else features.valid_BT[:, None, None, :]
        return SpeechMemory(tuple(keys for keys, _ in pairs), tuple(values for _, values in pairs), mask)

    def forward(self, ids_BL: Tensor, memory: SpeechMemory, cache: SpeechCache | None = None, trace: Trace = SILENT) -> Tensor:
        """Tokens to `hidden_BLD`.

        Args:
            ids_BL: B is P, or P times the beams, a piece's beams one after another. With a cache: the tokens that follow it.

        Raises:
            RequestError: there are more tokens than the decoder has positions.
        """
        start = 0 if cache is None else cache.length
        stop = start + ids_BL.shape[1]
        if stop > self.config.positions:
            raise RequestError(
                f"text of {stop} tokens", f"is longer than the {self.config.positions} positions", "Cut the sound shorter"
            )
        x_BLD = self.embed(ids_BL) + self.positions.weight[start:stop]
        for number, block in enumerate(self.blocks):
            x_BLD = block(x_BLD, memory, number, cache, trace)
        if cache is not None:
            cache.length = stop
        hidden: Tensor = self.norm(x_BLD)
        return hidden

    def logits(self, hidden_BD: Tensor) -> Tensor:
        """`(..., D)` to `(..., V)`. For two to a dozen rows the product is taken the other way round: up to 1.8 x as fast."""
        if hidden_BD.ndim == 2 and 1 < len(hidden_BD) <= 12:
            return self.embed.weight.mm(hidden_BD.T).T.contiguous()
        return F.linear(hidden_BD, self.embed.weight)


class SpeechBlock(nn.Module):
    """Pre-norm: attend to the tokens said, attend to the sound, MLP."""

    def __init__(self, config: SpeechConfig) -> None:
        super().__init__()
        self.layers = config.layers
        self.attention_norm = nn.LayerNorm(config.dim)
        self.attention = SpokenAttention(config.dim, config.heads)
        self.cross_norm = nn.LayerNorm(config.dim)
        self.cross = SoundAttention(config.dim, config.heads)
        self.mlp_norm = nn.LayerNorm(config.dim)
        self.up = nn.Linear(config.dim, config.inner)
        self.down = nn.Linear(config.inner, config.dim)

    def forward(self, x_BLD: Tensor, memory: SpeechMemory, layer: int, cache: SpeechCache | None, trace: Trace) -> Tensor:
        """`(B, L, D)` to the same shape; `layer` is this block's number in cache, memory and trace."""
        x_BLD = x_BLD + self.attention(self.attention_norm(x_BLD), layer, self.layers, cache)
        x_BLD = x_BLD + self.cross(self.cross_norm(x_BLD), memory, layer, trace)
        x_BLD = x_BLD + self.down(F.gelu(self.up(self.mlp_norm(x_BLD))))
        trace(f"speech.{layer}", x_BLD)
        return x_BLD


class SpokenAttention(nn.Module):
    """Causal attention over the tokens."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x_BLD: Tensor, layer: int, layers: int, cache: SpeechCache | None) -> Tensor:
        """`(B, L, D)` to the same shape."""
        qkv_3BNLH = self.qkv(x_BLD).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        kv_2BNSH = qkv_3BNLH[1:] if cache is None else cache.append(layer, layers, qkv_3BNLH[1:])
        new, seen = x_BLD.shape[1], kv_2BNSH.shape[3]
        mask = None if new in (1, seen) else torch.ones(new, seen, dtype=torch.bool, device=x_BLD.device).tril(seen - new)
        mixed_BNLH = F.scaled_dot_product_attention(
            qkv_3BNLH[0], kv_2BNSH[0], kv_2BNSH[1], attn_mask=mask, is_causal=mask is None and new > 1
        )
        mixed: Tensor = self.out(mixed_BNLH.transpose(1, 2).flatten(2))
        return mixed


class SoundAttention(nn.Module):
    """Every token attends to every step of its sound."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)

    def remember(self, x_PMD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the sound, `PNMH` each, laid out for reading them once a token."""
        keys, values = self.key_value(x_PMD).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return keys.contiguous(), values.contiguous()

    def forward(self, x_BLD: Tensor, memory: SpeechMemory, layer: int, trace: Trace) -> Tensor:
        """`(B, L, D)` to the same shape; the beams of one piece are queries side by side."""
        keys, values = memory.keys[layer], memory.values[layer]
        q_PNLH = self.query(x_BLD).view(len(keys), -1, self.heads, keys.shape[-1]).transpose(1, 2)
        if trace.wants(name := f"speech.{layer}.cross_attention"):
            score = q_PNLH @ keys.transpose(-1, -2) * keys.shape[-1] ** -0.5
            score = score if memory.mask is None else score.masked_fill(~memory.mask, -torch.inf)
            trace(name, score.softmax(-1).transpose(1, 2).reshape(*x_BLD.shape[:2], self.heads, -1).transpose(1, 2))
        mixed_PNLH = F.scaled_dot_product_attention(q_PNLH, keys, values, attn_mask=memory.mask)
        mixed: Tensor = self.out(mixed_PNLH.transpose(1, 2).reshape(x_BLD.shape))
        return mixed


def names_from_hf(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The decoder's tensors, `model.decoder...`, as `SpeechDecoder` names them; others are left alone.

    Raises:
        CheckpointError: a tensor of the decoder is missing or unknown, or `proj_out` is not the embedding.
    """
    ours = stack_names(state, "model.decoder.", NAMES)
    head = state.get("proj_out.weight")
    if head is not None and not (head is ours["embed.weight"] or torch.equal(head, ours["embed.weight"])):
        raise CheckpointError(
            "proj_out.weight", "differs from the embedding", "Use a Whisper checkpoint: its head is its embedding"
        )
    return ours


def names_to_hf(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `names_from_hf`, `proj_out.weight` included."""
    theirs = split_names(state, "model.decoder.", NAMES)
    return theirs | {"proj_out.weight": theirs["model.decoder.embed_tokens.weight"]}
