"""Self-attention that looks both ways, shared by the picture and the text encoder."""

from __future__ import annotations

from torch import Tensor, nn

from sensorium.nn.attention import attend, attend_openly, bias_of


class SelfAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017) with q, k and v in one product.

    Args:
        width: of the input and output, D. heads: N; D is N times H.
        qkv_bias: whether q, k and v have biases.
    """

    def __init__(self, width: int, heads: int, *, qkv_bias: bool = True) -> None:
        super().__init__()
        assert width % heads == 0, f"width {width} is no multiple of {heads} heads"
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=qkv_bias)
        self.out = nn.Linear(width, width)

    def forward(self, x_PTD: Tensor, valid_PT: Tensor | None = None) -> Tensor:
        """`(P, T, D)` to `(P, T, D)`; positions where `valid_PT` is False are not looked at."""
        return self._merge(attend(*self._project(x_PTD), bias_BNLS=_bias(valid_PT, x_PTD)))

    def openly(self, x_PTD: Tensor, valid_PT: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The same, with the attention `(P, N, T, S)` that it rests on; slower."""
        mixed_PNTH, weights_PNTS = attend_openly(*self._project(x_PTD), bias_BNLS=_bias(valid_PT, x_PTD))
        return self._merge(mixed_PNTH), weights_PNTS

    def _project(self, x_PTD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        qkv_PTND = self.qkv(x_PTD).unflatten(-1, (3, self.heads, -1))
        q_PNTH, k_PNTH, v_PNTH = qkv_PTND.permute(2, 0, 3, 1, 4).unbind(0)
        return q_PNTH, k_PNTH, v_PNTH

    def _merge(self, mixed_PNTH: Tensor) -> Tensor:
        out_PTD: Tensor = self.out(mixed_PNTH.transpose(1, 2).flatten(2))
        return out_PTD


def _bias(valid_PT: Tensor | None, x_PTD: Tensor) -> Tensor | None:
    return None if valid_PT is None else bias_of(valid_PT[:, None], x_PTD.dtype)
