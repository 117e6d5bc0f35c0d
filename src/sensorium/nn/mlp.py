"""The gated feed-forward layer (Shazeer 2020): `down(act(gate(x)) * up(x))`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.nn.fused import fuse


def _gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {"silu": F.silu, "gelu": F.gelu, "gelu_tanh": _gelu_tanh, "relu": F.relu}
)
"""Activations by the names that configurations use."""


class GatedMlp(nn.Module):
    """SwiGLU, GeGLU and their kin, without biases.

    Args:
        dim: width in and out.
        inner_dim: width between.
        activation: a name in `ACTIVATIONS`.
    """

    def __init__(self, dim: int, inner_dim: int, activation: str) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(dim, inner_dim, bias=False)
        self.up_proj = nn.Linear(dim, inner_dim, bias=False)
        self.down_proj = nn.Linear(inner_dim, dim, bias=False)
        self.activate = ACTIVATIONS[activation]
        self.gate_up: Callable[[Tensor], Tensor] | None = None  # faster ways to the same, for inference: `fuse`
        self.down: Callable[[Tensor], Tensor] | None = None

    def forward(self, x_BLD: Tensor) -> Tensor:
        """`(..., dim)` to `(..., dim)`."""
        if self.gate_up is not None:
            gate_BLE, up_BLE = self.gate_up(x_BLD).chunk(2, dim=-1)
        else:
            gate_BLE, up_BLE = self.gate_proj(x_BLD), self.up_proj(x_BLD)
        out_BLD: Tensor = (self.down or self.down_proj)(self.activate(gate_BLE) * up_BLE)
        return out_BLD

    def fuse(self, packed: bool) -> None:
        """Run gate and up as one; see `nn.fused`."""
        self.gate_up = fuse([self.gate_proj, self.up_proj], packed)
        self.down = fuse([self.down_proj], packed) if packed else None

    def unfuse(self) -> None:
        """Back to the layers one by one."""
        self.gate_up = self.down = None
