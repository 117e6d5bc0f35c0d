"""Several linear layers with one input, run as one for inference; their weights become views of one tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PACKED_ROWS = range(2, 33)
"""Inputs of this many rows are faster with oneDNN's packed weights than with plain ones, on CPU in fp32."""


class Fused:
    """Calls layers that share their input as one matrix product; outputs lie side by side.

    The layers keep their names and parameters (which become views, and are frozen), so that a state dict is unchanged. No
    extra memory is used, except when packed. A deep copy of it is None: the copy of a fused module is not fused.

    Args:
        layers: linear layers without adapters, all with a bias or none; or one embedding, used as a head.
        packed: keep a second copy in oneDNN's own layout, for batches of `PACKED_ROWS` rows.
    """

    def __init__(self, layers: Sequence[nn.Linear | nn.Embedding], packed: bool = False) -> None:
        biases = [bias for layer in layers if (bias := getattr(layer, "bias", None)) is not None]
        alone = len(layers) == 1
        self.weight = layers[0].weight.detach() if alone else torch.cat([layer.weight.detach() for layer in layers])
        self.bias = torch.cat(biases).detach() if biases else None
        start = 0
        for layer in layers:
            rows = slice(start, start := start + layer.weight.shape[0])
            layer.weight = nn.Parameter(self.weight[rows], requires_grad=False)
            if self.bias is not None:
                layer.bias = nn.Parameter(self.bias[rows], requires_grad=False)
        self.packed = _pack(self.weight) if packed else None

    def __call__(self, x_BLD: Tensor) -> Tensor:
        """`(..., dim)` to `(..., sum of widths)`."""
        if self.packed is None or x_BLD.requires_grad or x_BLD.shape[:-1].numel() not in PACKED_ROWS:
            return F.linear(x_BLD, self.weight, self.bias)
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x_BLD, self.packed, self.bias, "none", [], "")
        return out

    def __deepcopy__(self, memo: object) -> None:
        return None


def fuse(layers: Sequence[nn.Module], packed: bool = False) -> Fused | None:
    """The layers as one, or None where one of them is not a plain linear layer (adapted, quantised)."""
    plain = [layer for layer in layers if type(layer) is nn.Linear]
    if len(plain) < len(layers) or len({layer.bias is None for layer in plain}) > 1:
        return None
    return Fused(plain, packed)


def _pack(weight_ED: Tensor) -> Tensor | None:
    """A copy of an fp32 CPU weight in oneDNN's layout, or None where there is no such layout."""
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if weight_ED.dtype != torch.float32 or weight_ED.device.type != "cpu" or not available:
        return None
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight_ED, 8)
    return packed
