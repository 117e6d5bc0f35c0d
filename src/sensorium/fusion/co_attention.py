"""Two streams that question each other: the self- and guided-attention units of MCAN, the co-attentional layer of ViLBERT."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from sensorium.batch import Features
from sensorium.fusion.attend import Attend
from sensorium.nn.closed import ClosedConfig
from sensorium.nn.mlp import ACTIVATIONS
from sensorium.nn.trace import SILENT, Trace


class UnitConfig(ClosedConfig):
    """Shapes of a unit.

    Args:
        dim: width D of both streams. hidden: inner width of the MLP. activation: GELU in ViLBERT, ReLU in MCAN.
    """

    dim: int = Field(gt=0)
    heads: int = Field(gt=0)
    hidden: int = Field(gt=0)
    activation: Literal["gelu", "relu"] = "gelu"
    eps: float = 1e-5


class Ask(nn.Module):
    """One attention sublayer, residual and norm after it (Vaswani et al. 2017): `x` asks a memory."""

    def __init__(self, config: UnitConfig) -> None:
        super().__init__()
        assert config.dim % config.heads == 0, f"width {config.dim} is no multiple of {config.heads} heads"
        self.attention = Attend(config.dim, config.dim, config.heads, config.dim // config.heads, bias=True)
        self.norm = nn.LayerNorm(config.dim, eps=config.eps)

    def forward(self, x_BLD: Tensor, memory: Features, name: str = "", trace: Trace = SILENT) -> Tensor:
        """`(B, L, D)`; the attention `(B, N, L, S)` goes to `trace(name, ...)`."""
        if trace.wants(name):
            mixed_BLD, weights_BNLS = self.attention.openly(x_BLD, memory.x_BTD, memory.valid_BT[:, None])
            trace(name, weights_BNLS)
        else:
            mixed_BLD = self.attention(x_BLD, memory.x_BTD, memory.valid_BT[:, None])
        out_BLD: Tensor = self.norm(x_BLD + mixed_BLD)
        return out_BLD


class Think(nn.Module):
    """One MLP sublayer, residual and norm after it."""

    def __init__(self, config: UnitConfig) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(config.dim, config.hidden), nn.Linear(config.hidden, config.dim)
        self.norm = nn.LayerNorm(config.dim, eps=config.eps)
        self.activate = ACTIVATIONS[config.activation]

    def forward(self, x_BLD: Tensor) -> Tensor:
        """`(B, L, D)`."""
        out_BLD: Tensor = self.norm(x_BLD + self.down(self.activate(self.up(x_BLD))))
        return out_BLD


class SelfUnit(nn.Module):
    """MCAN's SA, the encoder layer of Vaswani et al.: a stream asks itself, then thinks."""

    def __init__(self, config: UnitConfig) -> None:
        super().__init__()
        self.ask_self, self.think = Ask(config), Think(config)

    def forward(self, stream: Features, name: str = "", trace: Trace = SILENT) -> Features:
        """A stream to a stream; traces `{name}.self`."""
        x_BLD: Tensor = self.think(self.ask_self(stream.x_BTD, stream, f"{name}.self", trace))
        return Features(x_BLD, stream.valid_BT)


class GuidedUnit(nn.Module):
    """MCAN's SGA, the decoder layer of Vaswani et al. without a causal mask: a stream asks itself, then its guide, and thinks.

    Args:
        alone: also asks itself first; without, this is MCAN's GA and one side of ViLBERT's co-attention.
    """

    def __init__(self, config: UnitConfig, alone: bool = True) -> None:
        super().__init__()
        self.ask_self = Ask(config) if alone else None
        self.ask_guide, self.think = Ask(config), Think(config)

    def forward(self, stream: Features, guide: Features, name: str = "", trace: Trace = SILENT) -> Features:
        """A stream to a stream; traces `{name}.self` (where it asks itself) and `{name}.guided`."""
        x_BLD = stream.x_BTD if self.ask_self is None else self.ask_self(stream.x_BTD, stream, f"{name}.self", trace)
        x_BLD = self.think(self.ask_guide(x_BLD, guide, f"{name}.guided", trace))
        return Features(x_BLD, stream.valid_BT)


class CoAttention(nn.Module):
    """ViLBERT's co-attentional layer (Lu et al. 2019, figure 2b): each stream asks the other at once, then each asks itself."""

    def __init__(self, config: UnitConfig) -> None:
        super().__init__()
        self.words_ask, self.regions_ask = GuidedUnit(config, alone=False), GuidedUnit(config, alone=False)
        self.words, self.regions = SelfUnit(config), SelfUnit(config)

    def forward(self, words: Features, regions: Features, name: str = "", trace: Trace = SILENT) -> tuple[Features, Features]:
        """Both streams; traces `{name}.words.guided`, `{name}.regions.guided` and the two `.self`."""
        asked = self.words_ask(words, regions, f"{name}.words", trace)
        answered = self.regions_ask(regions, words, f"{name}.regions", trace)
        return self.words(asked, f"{name}.words", trace), self.regions(answered, f"{name}.regions", trace)


class Reduce(nn.Module):
    """MCAN's attentional reduction (Yu et al. 2019, eq. 11): the mean of a stream's positions, weighted by an MLP's softmax.

    Args:
        dim: width D. hidden: of the MLP.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, stream: Features, name: str = "", trace: Trace = SILENT) -> Tensor:
        """`(B, D)`; the weights `(B, L)` go to `trace(name, ...)`."""
        scores_BL = self.weigh(stream.x_BTD)[..., 0].masked_fill(~stream.valid_BT, float("-inf"))
        weights_BL = scores_BL.softmax(-1)
        trace(name, weights_BL)
        reduced_BD: Tensor = (weights_BL[:, None] @ stream.x_BTD)[:, 0]
        return reduced_BD
