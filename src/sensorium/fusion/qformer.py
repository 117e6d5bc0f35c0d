"""Q-Former: learned queries that talk among themselves and read the media in every other layer (BLIP-2)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from sensorium.batch import Features
from sensorium.errors import CheckpointError, RequestError
from sensorium.fusion.attend import Attend
from sensorium.nn.closed import ClosedConfig


class QFormerConfig(ClosedConfig):
    """Shapes of a `QFormer`; defaults are BLIP-2's.

    Args:
        dim_in, dim_out: widths of media and result. dim, heads, hidden: width, attention heads and MLP width inside.
        every: a layer reads the media if its number, from 0, is a multiple of this.
    """

    dim_in: int = Field(default=1408, gt=0)
    dim_out: int = Field(default=2560, gt=0)
    dim: int = Field(default=768, gt=0)
    queries: int = Field(default=32, gt=0)
    layers: int = Field(default=12, gt=0)
    heads: int = Field(default=12, gt=0)
    hidden: int = Field(default=3072, gt=0)
    every: int = Field(default=2, gt=0)
    eps: float = 1e-12


class QFormer(nn.Module):
    """Li et al. 2023 (arXiv:2301.12597), the image side; `outward` is BLIP-2's language projection."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.config, self.dim_in, self.dim_out = config, config.dim_in, config.dim_out
        self.queries = nn.Parameter(torch.randn(config.queries, config.dim) * 0.02)
        self.norm = nn.LayerNorm(config.dim, eps=config.eps)
        self.layers = nn.ModuleList(QFormerLayer(config, reads=k % config.every == 0) for k in range(config.layers))
        self.outward = nn.Linear(config.dim, config.dim_out)

    def grid(self, grid: tuple[int, ...]) -> tuple[int, ...]:
        """The queries, on no axis of the medium; see `Resampler.grid`."""
        return (1, self.config.queries) if len(grid) == 1 else (self.config.queries,)

    def forward(self, features: Features) -> Features:
        """`(P, T, dim_in)` to `(P, queries, dim_out)`, all valid.

        Raises:
            RequestError: a piece without a single valid feature.
        """
        if not bool(features.valid_BT.any(1).all()):
            raise RequestError("Q-Former", "was given a piece without a valid feature", "Leave empty media out of the request")
        y_PQD = self.outward(self.read(features))
        return Features(y_PQD, torch.ones(y_PQD.shape[:2], dtype=torch.bool, device=y_PQD.device))

    def read(self, features: Features) -> Tensor:
        """The queries after the last layer, `(P, queries, dim)`, before the projection."""
        x_PQD: Tensor = self.norm(self.queries).expand(features.x_BTD.shape[0], -1, -1)
        for layer in self.layers:
            x_PQD = layer(x_PQD, features.x_BTD.to(x_PQD.dtype), features.valid_BT)
        return x_PQD


class QFormerLayer(nn.Module):
    """Self-attention, perhaps cross-attention, MLP; norms last, as in BERT."""

    def __init__(self, config: QFormerConfig, reads: bool) -> None:
        super().__init__()
        head_dim = config.dim // config.heads
        self.attention = Attend(config.dim, config.dim, config.heads, head_dim, bias=True)
        self.norm_attention = nn.LayerNorm(config.dim, eps=config.eps)
        self.reading = Attend(config.dim, config.dim_in, config.heads, head_dim, bias=True) if reads else None
        self.norm_reading = nn.LayerNorm(config.dim, eps=config.eps) if reads else None
        self.up, self.down = nn.Linear(config.dim, config.hidden), nn.Linear(config.hidden, config.dim)
        self.norm_mlp = nn.LayerNorm(config.dim, eps=config.eps)

    def forward(self, x_PQD: Tensor, media_PTD: Tensor, valid_PT: Tensor) -> Tensor:
        """The queries after one layer."""
        all_PQ = valid_PT.new_ones(x_PQD.shape[:2])
        x_PQD = self.norm_attention(x_PQD + self.attention(x_PQD, x_PQD, all_PQ[:, None]))
        if self.reading is not None and self.norm_reading is not None:
            x_PQD = self.norm_reading(x_PQD + self.reading(x_PQD, media_PTD, valid_PT[:, None]))
        out: Tensor = self.norm_mlp(x_PQD + self.down(F.gelu(self.up(x_PQD))))
        return out


_LAYER = {
    "attention.attention.": "attention.",
    "attention.output.dense.": "attention.out.",
    "attention.output.LayerNorm.": "norm_attention.",
    "crossattention.attention.": "reading.",
    "crossattention.output.dense.": "reading.out.",
    "crossattention.output.LayerNorm.": "norm_reading.",
    "intermediate_query.dense.": "up.",
    "output_query.dense.": "down.",
    "output_query.LayerNorm.": "norm_mlp.",
}


def from_blip2(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a `Blip2ForConditionalGeneration` checkpoint that make a `QFormer`, under our names.

    Args:
        state: `qformer.*`, `query_tokens` and `language_projection.*`; tensors of other parts are left out.

    Raises:
        CheckpointError: a Q-Former tensor that the image side does not have (one with text inputs, for instance).
    """
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        short = name.removeprefix("model.")
        if short == "query_tokens":
            found["queries"] = tensor.reshape(tensor.shape[-2:])
        elif short.startswith("language_projection."):
            found["outward." + short.removeprefix("language_projection.")] = tensor
        elif short.startswith("qformer.layernorm."):
            found["norm." + short.removeprefix("qformer.layernorm.")] = tensor
        elif short.startswith("qformer."):
            found[_layer_name(name, short)] = tensor
    return found


def _layer_name(name: str, short: str) -> str:
    number, _, rest = short.removeprefix("qformer.encoder.layer.").partition(".")
    for theirs, ours in _LAYER.items():
        if rest.startswith(theirs):
            return f"layers.{number}.{ours}{rest.removeprefix(theirs)}"
    raise CheckpointError(name, "is no tensor of a Q-Former's image side", "Convert a BLIP-2 checkpoint without text inputs")
