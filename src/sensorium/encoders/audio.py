"""Sound to features: Whisper's encoder, at a cost that follows the sound's own length.

Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision"; reference: `WhisperEncoder`
of transformers. That one always reads 30 s; here a sound keeps its length.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium.batch import Features, Modality, Piece
from sensorium.encoders.spectrogram import RATE, log_mel
from sensorium.errors import CheckpointError, RequestError
from sensorium.media.audio import Sound, chunks
from sensorium.nn.trace import SILENT, Trace
from sensorium.nn.whisper import LAYER, Names, split_names, stack_names, whole_numbers

STEPS = 50
"""Features a second."""
NAMES: Names = {
    **LAYER,
    "conv1": ("conv1",),
    "conv2": ("conv2",),
    "positions": ("embed_positions",),
    "norm": ("layer_norm",),
}


@dataclass(frozen=True, slots=True)
class WhisperConfig:
    """The shape of the encoder; the defaults are Whisper tiny's.

    Args:
        mels: bands of the spectrogram, 80 or 128. dim: width. inner: width of the MLP. steps: most positions, 50 a second.
    """

    mels: int = 80
    dim: int = 384
    layers: int = 4
    heads: int = 6
    inner: int = 1536
    steps: int = 1500

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> Self:
        """From `config.json` of a Whisper checkpoint.

        Raises:
            CheckpointError: another family, another activation, or a field is missing.
        """
        if (found := (config.get("model_type"), config.get("activation_function", "gelu"))) != ("whisper", "gelu"):
            raise CheckpointError(
                "config.json", f"has model type and activation {found}", "Give the configuration of a Whisper model"
            )
        fields = (
            "num_mel_bins",
            "d_model",
            "encoder_layers",
            "encoder_attention_heads",
            "encoder_ffn_dim",
            "max_source_positions",
        )
        return cls(*whole_numbers(config, fields))

    def to_hf(self) -> dict[str, Any]:
        """The encoder's fields of `config.json`."""
        return {
            "model_type": "whisper",
            "activation_function": "gelu",
            "num_mel_bins": self.mels,
            "d_model": self.dim,
            "encoder_layers": self.layers,
            "encoder_attention_heads": self.heads,
            "encoder_ffn_dim": self.inner,
            "max_source_positions": self.steps,
        }


class AudioEncoder(nn.Module):
    """Whisper's encoder: two convolutions (the second halves the frames), then pre-norm transformer blocks.

    Args:
        layer: which block's output `forward` gives, from 1; None is the last one's, after the last norm, as the decoder
            reads it. The sounds themselves are plainest in the middle; the last block has begun to turn them into words.

    Traces: `encoder.audio.stem`; of block i `encoder.audio.{i}.attention` (weights, `PNTT`) and `encoder.audio.{i}`.

    Raises:
        RequestError: there is no such layer.
    """

    modality = Modality.AUDIO

    def __init__(self, config: WhisperConfig, layer: int | None = None) -> None:
        super().__init__()
        if layer is not None and not 1 <= layer <= config.layers:
            raise RequestError(f"audio layer {layer}", f"is not among 1 to {config.layers}", "Choose one of those")
        self.config, self.dim, self.layer = config, config.dim, layer
        self.conv1 = nn.Conv1d(config.mels, config.dim, 3, padding=1)
        self.conv2 = nn.Conv1d(config.dim, config.dim, 3, stride=2, padding=1)
        self.positions = nn.Embedding(config.steps, config.dim)
        self.positions.weight.requires_grad_(False)
        with torch.no_grad():
            self.positions.weight.copy_(_sinusoids(config.steps, config.dim))
        self.blocks = nn.ModuleList(AudioBlock(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dim)

    def prepare(self, decoded: Sound) -> list[Piece]:
        """A sound as pieces of at most 30 s that together are the whole of it, each `mel_MT` of its own length.

        Raises:
            RequestError: the sound is not at 16 kHz.
        """
        if decoded.rate != RATE:
            raise RequestError(
                f"{decoded.name} at {decoded.rate} Hz", f"must be at {RATE} Hz here", f"Decode it with rate={RATE}"
            )
        return [self._piece(part) for part in chunks(decoded, self.config.steps / STEPS)]

    def _piece(self, part: Sound) -> Piece:
        mel_MT = log_mel(part.wave_T, self.config.mels)
        return Piece(self.modality, (part.start, part.stop), self.grid(mel_MT), tensor=mel_MT)

    def grid(self, tensor: Tensor) -> tuple[int, ...]:
        """`(steps,)`: one for every two frames."""
        return ((tensor.shape[-1] + 1) // 2,)

    def forward(self, media: Sequence[Tensor], trace: Trace = SILENT) -> Features:
        """P spectrograms `mel_MT` of any lengths to `(P, T, dim)`; each row is what it would be alone, and 0 beyond its end.

        Raises:
            RequestError: a piece is longer than the encoder's positions.
        """
        return self.encode(media, self.layer, trace)

    def encode(self, media: Sequence[Tensor], layer: int | None = None, trace: Trace = SILENT) -> Features:
        """`forward` to a chosen layer; None is all of them and the last norm, which a speech decoder reads."""
        steps = [self.grid(mel_MT)[0] for mel_MT in media]
        if max(steps) > self.config.steps:
            raise RequestError(
                f"sound of {max(steps) / STEPS:.1f} s",
                f"is longer than the encoder's {self.config.steps / STEPS:g} s",
                "Cut it into shorter pieces",
            )
        mel_PMT = torch.stack([F.pad(mel_MT, (0, 2 * max(steps) - mel_MT.shape[-1])) for mel_MT in media])
        valid_PT = torch.arange(max(steps), device=mel_PMT.device) < torch.tensor(steps, device=mel_PMT.device)[:, None]
        mask = None if min(steps) == max(steps) else valid_PT[:, None, None, :]

        x_PTD = F.gelu(self.conv2(F.gelu(self.conv1(mel_PMT)))).transpose(1, 2)
        x_PTD = x_PTD + self.positions.weight[: x_PTD.shape[1]]
        trace("encoder.audio.stem", x_PTD)
        for number, block in enumerate(self.blocks[:layer]):
            x_PTD = block(x_PTD, mask, trace, f"encoder.audio.{number}")
        x_PTD = self.norm(x_PTD) if layer is None else x_PTD
        return Features(x_PTD if mask is None else x_PTD.masked_fill(~valid_PT[..., None], 0.0), valid_PT)


class AudioBlock(nn.Module):
    """`x + attention(norm(x))`, then `x + mlp(norm(x))`."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.dim)
        self.attention = AudioAttention(config.dim, config.heads)
        self.mlp_norm = nn.LayerNorm(config.dim)
        self.up = nn.Linear(config.dim, config.inner)
        self.down = nn.Linear(config.inner, config.dim)

    def forward(self, x_PTD: Tensor, mask: Tensor | None, trace: Trace, name: str) -> Tensor:
        """`(P, T, D)` to the same shape; `mask` is True at the steps that may be attended to."""
        x_PTD = x_PTD + self.attention(self.attention_norm(x_PTD), mask, trace, f"{name}.attention")
        x_PTD = x_PTD + self.down(F.gelu(self.up(self.mlp_norm(x_PTD))))
        trace(name, x_PTD)
        return x_PTD


class AudioAttention(nn.Module):
    """Every step of a sound attends to all of its steps."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x_PTD: Tensor, mask: Tensor | None, trace: Trace, name: str) -> Tensor:
        """`(P, T, D)` to the same shape; `mask` is True at the steps that may be attended to."""
        q_PNTH, k_PNTH, v_PNTH = self.qkv(x_PTD).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if trace.wants(name):
            score_PNTT = q_PNTH @ k_PNTH.transpose(-1, -2) * q_PNTH.shape[-1] ** -0.5
            trace(name, (score_PNTT if mask is None else score_PNTT.masked_fill(~mask, -torch.inf)).softmax(-1))
        mixed_PNTH = F.scaled_dot_product_attention(q_PNTH, k_PNTH, v_PNTH, attn_mask=mask)
        mixed: Tensor = self.out(mixed_PNTH.transpose(1, 2).flatten(2))
        return mixed


def names_from_hf(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's tensors, `model.encoder...`, as `AudioEncoder` names them; others are left alone.

    Raises:
        CheckpointError: a tensor of the encoder is missing or unknown.
    """
    return stack_names(state, "model.encoder.", NAMES)


def names_to_hf(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `names_from_hf`."""
    return split_names(state, "model.encoder.", NAMES)


def _sinusoids(steps: int, dim: int) -> Tensor:
    rates = torch.exp(-math.log(10_000.0) / (dim // 2 - 1) * torch.arange(dim // 2))
    angles = torch.arange(steps)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)
