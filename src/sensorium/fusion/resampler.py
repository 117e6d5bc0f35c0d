"""Perceiver resampler: a fixed number of learned queries reads a piece of media of any length (Flamingo)."""

from __future__ import annotations

from math import log
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from sensorium.batch import Features
from sensorium.errors import RequestError
from sensorium.fusion.attend import Attend
from sensorium.fusion.codebook import Codebook
from sensorium.nn.closed import ClosedConfig


class ResamplerConfig(ClosedConfig):
    """Shapes of a `Resampler`.

    Args:
        dim_in, dim_out: widths of media and result. dim: width inside; a linear layer leads in and out where they differ.
        queries, layers, heads, head_dim, hidden: as usual; `hidden` is the MLP's inner width.
        time: `learned` or `sinusoid` embeddings added to the media, one for every `per_step` features (49 for frames of 7 x 7);
            `share` is the sinusoid of how much of the medium has passed, from 0 to 100, so that a word said slowly looks
            like the same word said quickly.
        steps: learned time steps at most.
        norm_in: a LayerNorm of the media first: features from the middle of an encoder have a few very large numbers.
        queries_in_keys: the queries attend to [media; queries] (Flamingo) rather than to the media alone.
        norm_out: a LayerNorm at the end, after `out` where there is one.
        codes: so many messages that the output chooses among, at the very end (see `Codebook`); 0 leaves it as it is.
    """

    dim_in: int = Field(gt=0)
    dim_out: int = Field(gt=0)
    dim: int = Field(gt=0)
    queries: int = Field(gt=0)
    layers: int = Field(gt=0)
    heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    hidden: int = Field(gt=0)
    time: Literal["none", "learned", "sinusoid", "share"] = "none"
    steps: int = Field(default=0, ge=0)
    per_step: int = Field(default=1, ge=1)
    norm_in: bool = False
    queries_in_keys: bool = True
    bias: bool = False
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    norm_out: Literal["none", "layer", "rms"] = "layer"
    eps: float = 1e-5
    codes: int = Field(default=0, ge=0)


class Resampler(nn.Module):
    """Alayrac et al. 2022 (arXiv:2204.14198), figure 5: `x += attention([media; x]); x += mlp(x)`, layer by layer."""

    def __init__(self, config: ResamplerConfig) -> None:
        super().__init__()
        self.config, self.dim_in, self.dim_out = config, config.dim_in, config.dim_out
        self.norm_in = nn.LayerNorm(config.dim_in, eps=config.eps) if config.norm_in else nn.Identity()
        self.inward = nn.Linear(config.dim_in, config.dim) if config.dim_in != config.dim else nn.Identity()
        self.queries = nn.Parameter(torch.randn(config.queries, config.dim) * 0.02)
        self.times = nn.Parameter(torch.randn(config.steps, config.dim) * 0.02) if config.time == "learned" else None
        self.layers = nn.ModuleList(ResamplerLayer(config) for _ in range(config.layers))
        self.outward = nn.Linear(config.dim, config.dim_out) if config.dim_out != config.dim else nn.Identity()
        norms = {"none": nn.Identity, "layer": nn.LayerNorm, "rms": nn.RMSNorm}
        self.norm_out = nn.Identity() if config.norm_out == "none" else norms[config.norm_out](config.dim_out, eps=config.eps)
        self.codebook = Codebook(config.codes, config.queries, config.dim_out) if config.codes else None

    def grid(self, grid: tuple[int, ...]) -> tuple[int, ...]:
        """The queries, on no axis of the medium: `(queries,)` for pictures and clips, `(1, queries)` for sound.

        `Placement.cell` reads from the unusual number of axes that each position shows the whole piece.
        """
        return (1, self.config.queries) if len(grid) == 1 else (self.config.queries,)

    def forward(self, features: Features) -> Features:
        """`(P, T, dim_in)` to `(P, queries, dim_out)`, all valid.

        Raises:
            RequestError: more time steps than were learned, or a piece without a single valid feature.
        """
        y_PQD = self.gather(features)
        y_PQD = y_PQD if self.codebook is None else self.codebook(y_PQD)
        return Features(y_PQD, torch.ones(y_PQD.shape[:2], dtype=torch.bool, device=y_PQD.device))

    def gather(self, features: Features) -> Tensor:
        """`forward` before the codebook, `(P, queries, dim_out)`."""
        if not bool(features.valid_BT.any(1).all()):
            raise RequestError("resampler", "was given a piece without a valid feature", "Leave empty media out of the request")
        media_PTD = self.inward(self.norm_in(features.x_BTD.to(self.queries.dtype)))
        if self.config.time == "share":
            media_PTD = media_PTD + 0.5 * _sinusoids(_shares(features.valid_BT), self.config.dim).to(media_PTD.dtype)
        else:
            media_PTD = media_PTD + self._times(features.x_BTD.shape[1], media_PTD)
        x_PQD = self.queries.expand(media_PTD.shape[0], -1, -1)
        for layer in self.layers:
            x_PQD = layer(x_PQD, media_PTD, features.valid_BT)
        y_PQD: Tensor = self.norm_out(self.outward(x_PQD))
        return y_PQD

    def _times(self, length: int, like: Tensor) -> Tensor:
        steps = torch.arange(length, device=like.device) // self.config.per_step
        if self.config.time == "none":
            return like.new_zeros(1)
        if self.times is None:
            return _sinusoids(steps, self.config.dim).to(like.dtype)
        if length > self.config.steps * self.config.per_step:
            limit = self.config.steps * self.config.per_step
            raise RequestError(
                "resampler", f"has {length} features, its learned times end at {limit}", "Cut the medium shorter"
            )
        return self.times[steps]


class ResamplerLayer(nn.Module):
    """One block, norms first."""

    def __init__(self, config: ResamplerConfig) -> None:
        super().__init__()
        self.queries_in_keys = config.queries_in_keys
        self.norm_media = nn.LayerNorm(config.dim, eps=config.eps)
        self.norm_queries = nn.LayerNorm(config.dim, eps=config.eps)
        self.attention = Attend(config.dim, config.dim, config.heads, config.head_dim, bias=config.bias)
        self.norm_mlp = nn.LayerNorm(config.dim, eps=config.eps)
        self.mlp = nn.Sequential(
            nn.Linear(config.dim, config.hidden, bias=config.bias),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, config.dim, bias=config.bias),
        )

    def forward(self, x_PQD: Tensor, media_PTD: Tensor, valid_PT: Tensor) -> Tensor:
        """The queries after one reading of the media."""
        q_PQD, keys_PMD, seen_PM = self.norm_queries(x_PQD), self.norm_media(media_PTD), valid_PT
        if self.queries_in_keys:
            keys_PMD = torch.cat([keys_PMD, q_PQD], dim=1)
            seen_PM = torch.cat([valid_PT, valid_PT.new_ones(q_PQD.shape[:2])], dim=1)
        x_PQD = x_PQD + self.attention(q_PQD, keys_PMD, seen_PM[:, None])
        out: Tensor = x_PQD + self.mlp(self.norm_mlp(x_PQD))
        return out


def _shares(valid_BT: Tensor) -> Tensor:
    """How much of each medium comes before each of its features, `(B, T)`, from 0 to 100."""
    return 100.0 * (valid_BT.cumsum(1) - 1).clamp(min=0) / valid_BT.sum(1, keepdim=True)


def _sinusoids(steps_T: Tensor, dim: int) -> Tensor:
    """Whisper's table: sines in the first half of the width, cosines in the second, wavelengths 1 to 10,000.

    `(..., T)` to `(..., T, dim)`.
    """
    half = dim // 2
    rates = torch.exp(-log(10_000.0) / max(half - 1, 1) * torch.arange(half, device=steps_T.device))
    angles = steps_T[..., None].float() * rates
    return torch.cat([angles.sin(), angles.cos(), angles.new_zeros(*steps_T.shape, dim - 2 * half)], dim=-1)
