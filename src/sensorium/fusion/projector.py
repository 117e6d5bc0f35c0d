"""MLP projector: an encoder's features pass a small MLP into the token stream, pooled on their grid where asked for."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt, prod
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from sensorium.batch import Features
from sensorium.errors import RequestError
from sensorium.nn.closed import ClosedConfig

Grid = tuple[int, ...]


class ProjectorConfig(ClosedConfig):
    """Shapes of an `MLPProjector`.

    Args:
        dim_in, dim_out: widths. hidden: width between two linear layers; 0 is one linear layer.
        axes: 2 for pictures and frames, 1 for sound.
        pool: `average` over size x size cells; `adaptive` average to size x size cells; `shuffle`, space to depth of
            size x size cells into one of size * size times the width (Idefics3, SmolVLM). Sound pools `size` steps.
        grid_in: rows and columns of one picture or frame; None is a square.
        positions: rows and columns (or steps) of a learned position added after the MLP; None is none.
        norm_in, norm_out: before and after the MLP (and positions). eps: of both. dropout: between the linear layers.
    """

    dim_in: int = Field(gt=0)
    dim_out: int = Field(gt=0)
    hidden: int = Field(default=0, ge=0)
    axes: Literal[1, 2] = 2
    pool: Literal["none", "average", "adaptive", "shuffle"] = "none"
    size: int = Field(default=1, ge=1)
    grid_in: tuple[int, int] | None = None
    positions: Grid | None = None
    activation: Literal["gelu", "gelu_tanh", "relu", "silu"] = "gelu"
    norm_in: Literal["none", "layer", "rms"] = "none"
    norm_out: Literal["none", "layer", "rms"] = "none"
    eps: float = 1e-5
    bias: bool = True
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)


class MLPProjector(nn.Module):
    """LLaVA's projector (Liu et al. 2023, arXiv:2310.03744) with the poolings of its descendants.

    Without a grid in the call, one piece is `grid_in` (or a square), and a clip is as many of these as its length holds.
    """

    def __init__(self, config: ProjectorConfig) -> None:
        super().__init__()
        self.config, self.dim_in, self.dim_out = config, config.dim_in, config.dim_out
        width = config.dim_in * (config.size**config.axes if config.pool == "shuffle" else 1)
        hidden = config.hidden or config.dim_out
        self.norm_in = _norm(config.norm_in, width, config.eps)
        self.linear_1 = nn.Linear(width, hidden, bias=config.bias)
        self.linear_2 = nn.Linear(hidden, config.dim_out, bias=config.bias) if config.hidden else None
        self.dropout = nn.Dropout(config.dropout)
        self.position = nn.Parameter(torch.zeros(prod(config.positions), config.dim_out)) if config.positions else None
        self.norm_out = _norm(config.norm_out, config.dim_out, config.eps)

    def grid(self, grid: Grid) -> Grid:
        """Image `(rows, cols)`, video `(frames, rows, cols)` or, with one axis, sound `(steps,)` after pooling.

        Raises:
            RequestError: a grid that the pooling does not divide.
        """
        *front, last = grid
        size, pool = self.config.size, self.config.pool
        if self.config.axes == 1:
            return (*front, last if pool == "none" else size if pool == "adaptive" else -(-last // size))
        if len(grid) < 2:
            raise RequestError("projector", f"needs rows and columns, the grid is {grid}", "Set axes to 1 for sound")
        if pool == "none":
            return grid
        if pool == "adaptive":
            return (*grid[:-2], size, size)
        rows, cols = grid[-2:]
        if rows % size or cols % size:
            raise RequestError(
                "projector",
                f"cannot pool a grid of {rows} x {cols} in cells of {size} x {size}",
                "Use adaptive pooling, or an encoder input whose grid divides",
            )
        return (*grid[:-2], rows // size, cols // size)

    def forward(self, features: Features, grids: Sequence[Grid] | None = None) -> Features:
        """`(P, T, dim_in)` to `(P, T', dim_out)`; `grids`, one a piece, where the pieces are not alike.

        Raises:
            RequestError: a grid that does not fit the number of features, the pooling or the learned positions.
        """
        if grids is None and self.config.pool == "none" and self.position is None:
            return Features(self.project(features.x_BTD), features.valid_BT)
        lengths = features.valid_BT.sum(1).tolist()
        grids = [self._guess(length) for length in lengths] if grids is None else list(grids)
        for length, grid in zip(lengths, grids, strict=True):
            if prod(grid) != length:
                raise RequestError("projector", f"has {length} features for a grid of {grid}", "State the grid they are on")
        outs = {grid: self.grid(grid) for grid in set(grids)}
        steps = max((prod(grid) for grid in outs.values()), default=0)
        y_PTD = features.x_BTD.new_zeros(len(grids), steps, self.dim_out, dtype=self.linear_1.weight.dtype)
        valid_PT = torch.zeros(len(grids), steps, dtype=torch.bool, device=y_PTD.device)
        for grid, out in outs.items():
            index = torch.tensor([k for k, item in enumerate(grids) if item == grid], device=y_PTD.device)
            assert bool(features.valid_BT[index, : prod(grid)].all()), "valid features stand first, on their grid"
            pooled_PTD = self._pool(features.x_BTD[index, : prod(grid)], grid)
            y_PTD = y_PTD.index_put(
                (index[:, None], torch.arange(prod(out), device=index.device)), self.project(pooled_PTD, out)
            )
            valid_PT[index, : prod(out)] = True
        return Features(y_PTD, valid_PT)

    def project(self, x_PTD: Tensor, grid: Grid | None = None) -> Tensor:
        """The MLP alone, on features already pooled; `grid` is theirs, for the learned positions."""
        x_PTD = self.linear_1(self.norm_in(x_PTD.to(self.linear_1.weight.dtype)))
        if self.linear_2 is not None:
            x_PTD = self.linear_2(self.dropout(_activate(self.config.activation, x_PTD)))
        if self.position is not None and grid is not None:
            x_PTD = x_PTD + self._positions(grid)
        out: Tensor = self.norm_out(x_PTD)
        return out

    def _positions(self, grid: Grid) -> Tensor:
        table, own = self.position, self.config.positions
        assert table is not None
        assert own is not None
        if self.config.axes == 1:
            if grid[-1] > own[-1]:
                raise RequestError(
                    "projector", f"has {own[-1]} learned positions for {grid[-1]} steps", "Cut the sound shorter"
                )
            return table[: grid[-1]]
        if grid[-2:] != own:
            raise RequestError("projector", f"has learned positions for {own}, the grid is {grid[-2:]}", "Resize the picture")
        return table.repeat(prod(grid[:-2]), 1)

    def _guess(self, length: int) -> Grid:
        if self.config.axes == 1:
            return (length,)
        rows, cols = self.config.grid_in or (isqrt(length), isqrt(length))
        if rows * cols == 0 or length % (rows * cols):
            raise RequestError("projector", f"has {length} features, not a multiple of {rows} x {cols}", "State their grid")
        return (rows, cols) if length == rows * cols else (length // (rows * cols), rows, cols)

    def _pool(self, x_PTD: Tensor, grid: Grid) -> Tensor:
        pool, size = self.config.pool, self.config.size
        if pool == "none":
            return x_PTD
        if self.config.axes == 1:
            return _pool_steps(x_PTD, pool, size)
        pieces, width = x_PTD.shape[0], x_PTD.shape[-1]
        rows, cols = grid[-2:]
        if pool == "shuffle":
            x = x_PTD.reshape(-1, rows // size, size, cols // size, size, width)
            return x.permute(0, 1, 3, 2, 4, 5).reshape(pieces, -1, size * size * width)
        plane_PDHW = x_PTD.reshape(-1, rows, cols, width).permute(0, 3, 1, 2)
        pooled = F.avg_pool2d(plane_PDHW, size) if pool == "average" else F.adaptive_avg_pool2d(plane_PDHW, size)
        return pooled.permute(0, 2, 3, 1).reshape(pieces, -1, width)


def _pool_steps(x_PTD: Tensor, pool: str, size: int) -> Tensor:
    pieces, steps, width = x_PTD.shape
    if pool == "adaptive":
        return F.adaptive_avg_pool1d(x_PTD.transpose(1, 2), size).transpose(1, 2)
    groups = -(-steps // size)
    x = F.pad(x_PTD, (0, 0, 0, groups * size - steps)).reshape(pieces, groups, size, width)
    if pool == "shuffle":
        return x.flatten(2)
    counts = torch.full((groups, 1), float(size), device=x.device)
    counts[-1] = steps - (groups - 1) * size
    return x.sum(2) / counts.to(x.dtype)


def _norm(kind: str, dim: int, eps: float) -> nn.Module:
    if kind == "none":
        return nn.Identity()
    return nn.LayerNorm(dim, eps=eps) if kind == "layer" else nn.RMSNorm(dim, eps=eps)


def _activate(name: str, x: Tensor) -> Tensor:
    if name in ("gelu", "gelu_tanh"):
        return F.gelu(x, approximate="tanh" if name == "gelu_tanh" else "none")
    return F.relu(x) if name == "relu" else F.silu(x)
