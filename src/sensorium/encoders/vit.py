"""One vision transformer (Dosovitskiy et al. 2020) in the forms of SigLIP, CLIP and DINOv2: pictures to patch features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.batch import Features, Modality, Piece
from sensorium.encoders.attention import SelfAttention
from sensorium.encoders.grouping import AT_ONCE, encode_grouped
from sensorium.encoders.processing import ImageProcessing
from sensorium.encoders.vit_config import Activation, ViTConfig
from sensorium.encoders.vit_names import names_from_hf, names_to_hf
from sensorium.errors import RequestError
from sensorium.media.image import Picture
from sensorium.nn.trace import SILENT, Trace

__all__ = ["AttentionPooling", "ViT", "ViTBlock", "ViTConfig", "ViTEncoder", "names_from_hf", "names_to_hf"]


def _activate(x: Tensor, activation: Activation) -> Tensor:
    if activation == "swiglu":
        gate, up = x.chunk(2, dim=-1)
        return F.silu(gate) * up
    if activation == "quick_gelu":
        return x * torch.sigmoid(1.702 * x)
    return F.gelu(x, approximate="tanh" if activation == "gelu_tanh" else "none")


class ViTBlock(nn.Module):
    """Norm, attention, residual; norm, MLP, residual; DINOv2 scales both branches channel by channel."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.activation: Activation = config.activation
        self.attention_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.attention = SelfAttention(config.width, config.heads, qkv_bias=config.qkv_bias)
        self.mlp_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.up = nn.Linear(config.width, config.inner * (2 if config.activation == "swiglu" else 1))
        self.down = nn.Linear(config.inner, config.width)
        scaled = config.family.startswith("dinov2")
        self.attention_scale = nn.Parameter(torch.ones(config.width)) if scaled else None
        self.mlp_scale = nn.Parameter(torch.ones(config.width)) if scaled else None

    def forward(self, x_PTD: Tensor, name: str = "", trace: Trace = SILENT) -> Tensor:
        """`(P, T, D)` to `(P, T, D)`; `name` is the block's prefix in traces."""
        normed_PTD = self.attention_norm(x_PTD)
        if trace.wants(f"{name}.attention"):
            mixed_PTD, weights_PNTS = self.attention.openly(normed_PTD)
            trace(f"{name}.attention", weights_PNTS)
        else:
            mixed_PTD = self.attention(normed_PTD)
        x_PTD = x_PTD + (mixed_PTD if self.attention_scale is None else mixed_PTD * self.attention_scale)
        thought_PTD: Tensor = self.down(_activate(self.up(self.mlp_norm(x_PTD)), self.activation))
        return x_PTD + (thought_PTD if self.mlp_scale is None else thought_PTD * self.mlp_scale)


class AttentionPooling(nn.Module):
    """SigLIP's head: one learned query looks at all patches (Zhai et al. 2022, MAP)."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.activation: Activation = config.activation
        self.probe = nn.Parameter(torch.zeros(config.width))
        self.attention = nn.MultiheadAttention(config.width, config.heads, batch_first=True)
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.up = nn.Linear(config.width, config.mlp_width)
        self.down = nn.Linear(config.mlp_width, config.width)

    def forward(self, x_PTD: Tensor) -> Tensor:
        """`(P, T, D)` to `(P, D)`."""
        probe_P1D = self.probe.expand(len(x_PTD), 1, -1)
        pooled_P1D, _ = self.attention(probe_P1D, x_PTD, x_PTD, need_weights=False)
        pooled_P1D = pooled_P1D + self.down(_activate(self.up(self.norm(pooled_P1D)), self.activation))
        pooled_PD: Tensor = pooled_P1D[:, 0]
        return pooled_PD


class ViT(nn.Module):
    """The network: patches, class token and registers where the family has them, positions, blocks, norm, pooling."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        has_class, clip = config.family != "siglip", config.family == "clip"
        self.patches = nn.Conv2d(3, config.width, config.patch, config.patch, bias=not clip)
        self.positions = nn.Parameter(torch.zeros(config.side**2 + has_class, config.width))
        self.class_token = nn.Parameter(torch.zeros(config.width)) if has_class else None
        self.registers = nn.Parameter(torch.zeros(config.registers, config.width)) if config.registers else None
        self.mask_token = nn.Parameter(torch.zeros(config.width)) if config.mask_token else None
        self.before = nn.LayerNorm(config.width, eps=config.norm_eps) if clip else nn.Identity()
        self.blocks = nn.ModuleList(ViTBlock(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.pooling = AttentionPooling(config) if config.pooling else None
        self.projection = nn.Linear(config.width, config.projection, bias=False) if config.projection else None

    def forward(self, pixels_PCHW: Tensor, trace: Trace = SILENT, blocks: int | None = None) -> Tensor:
        """Prepared pixels to all tokens `(P, T, D)`, class token and registers first, before the last norm.

        Args:
            blocks: how many are run; all when None.
        """
        x_PTD: Tensor = self.before(self._embed(pixels_PCHW))
        for index, block in enumerate(self.blocks[:blocks]):
            x_PTD = block(x_PTD, f"encoder.image.{index}", trace)
            trace(f"encoder.image.{index}.hidden", x_PTD)
        return x_PTD

    def finish(self, x_PTD: Tensor) -> Tensor:
        """The last norm over all tokens; CLIP has none there."""
        normed_PTD: Tensor = x_PTD if self.config.family == "clip" else self.norm(x_PTD)
        return normed_PTD

    def pooled(self, x_PTD: Tensor) -> Tensor:
        """All tokens after the last block to one vector a picture, `(P, D)`, or `(P, projection)` with CLIP's projection.

        Raises:
            RequestError: a SigLIP without its pooling head.
        """
        if self.class_token is not None:
            class_PD: Tensor = self.norm(x_PTD[:, 0])
            return class_PD if self.projection is None else F.linear(class_PD, self.projection.weight)
        if self.pooling is None:
            raise RequestError("SigLIP encoder", "has no pooling head", "Use its patch features or a checkpoint with the head")
        pooled_PD: Tensor = self.pooling(self.norm(x_PTD))
        return pooled_PD

    def _embed(self, pixels_PCHW: Tensor) -> Tensor:
        patches_PDHW = self.patches(pixels_PCHW)
        rows, cols = patches_PDHW.shape[2:]
        x_PTD: Tensor = patches_PDHW.flatten(2).transpose(1, 2) + self._places(rows, cols)
        if self.class_token is None:
            return x_PTD
        first_TD = (self.class_token + self.positions[0])[None]
        if self.registers is not None:
            first_TD = torch.cat([first_TD, self.registers])
        return torch.cat([first_TD.expand(len(x_PTD), -1, -1), x_PTD], dim=1)

    def _places(self, rows: int, cols: int) -> Tensor:
        """The patches' positions `(rows * cols, D)`, interpolated as the reference does when the grid is another."""
        config = self.config
        places_TD = self.positions[-(config.side**2) :]
        if (rows, cols) == (config.side, config.side):
            return places_TD
        grid_1DHW = places_TD.view(config.side, config.side, -1).permute(2, 0, 1)[None]
        antialias = config.family == "dinov2_with_registers"
        grid_1DHW = F.interpolate(grid_1DHW, (rows, cols), mode="bicubic", align_corners=False, antialias=antialias)
        return grid_1DHW[0].flatten(1).T


class ViTEncoder(nn.Module):
    """Pictures in, patch features out, row by row.

    Args:
        layer: which hidden state the features are: 0 is the embedding, i what block i gives, negative from the end.
        norm: the last layer's features pass the last norm (as `last_hidden_state` does); LLaVA's class of models takes
            layer -2, which never does.

    Traces: `encoder.image.{i}.hidden` `(P, T, D)` and `encoder.image.{i}.attention` `(P, N, T, S)`, T and S counting the
    class token and registers, which come first.
    """

    modality = Modality.IMAGE

    def __init__(self, network: ViT, processing: ImageProcessing, layer: int = -1, *, norm: bool = True) -> None:
        super().__init__()
        depth = network.config.depth
        if not -depth - 1 <= layer <= depth:
            raise RequestError(f"vision layer {layer}", f"is not among {-depth - 1} to {depth}", "Choose one of those")
        self.network, self.processing, self.dim = network, processing, network.config.width
        self.layer = layer % (depth + 1)
        self.norm = norm and self.layer == depth

    def prepare(self, decoded: Picture) -> list[Piece]:
        """A picture, and its tiles if the processing cuts any; extents leave out what the last patches do not reach."""
        pieces: list[Piece] = []
        for pixels_CHW, (y0, x0, y1, x1) in self.processing.views(decoded):
            rows, cols = self.grid(pixels_CHW)
            reach_y, reach_x = rows * self.network.config.patch, cols * self.network.config.patch
            height, width = (y1 - y0) * reach_y / pixels_CHW.shape[1], (x1 - x0) * reach_x / pixels_CHW.shape[2]
            pieces.append(Piece(self.modality, (y0, x0, y0 + height, x0 + width), (rows, cols), tensor=pixels_CHW))
        return pieces

    def grid(self, tensor: Tensor) -> tuple[int, ...]:
        """`(rows, cols)` of patches.

        Raises:
            RequestError: the picture is smaller than a patch.
        """
        patch = self.network.config.patch
        rows, cols = tensor.shape[-2] // patch, tensor.shape[-1] // patch
        if rows * cols == 0:
            problem = f"is smaller than a patch of {patch} pixels"
            raise RequestError(f"picture of {tensor.shape[-2]} by {tensor.shape[-1]} pixels", problem, "Prepare it larger")
        return rows, cols

    def forward(self, media: Sequence[Tensor], trace: Trace = SILENT) -> Features:
        """Prepared pictures to `(P, rows * cols, D)`."""
        return encode_grouped(media, self._patches, trace)

    @torch.no_grad()
    def pooled(self, media: Sequence[Tensor]) -> Tensor:
        """Prepared pictures of one size to one vector each, `(P, D)`; see `ViT.pooled`."""
        passes = [torch.stack(list(media[start : start + AT_ONCE])) for start in range(0, len(media), AT_ONCE)]
        return torch.cat([self.network.pooled(self.network(pixels_PCHW)) for pixels_PCHW in passes])

    def _patches(self, pixels_PCHW: Tensor, trace: Trace) -> Tensor:
        x_PTD: Tensor = self.network(pixels_PCHW, trace, self.layer)
        x_PTD = self.network.finish(x_PTD) if self.norm else x_PTD
        return x_PTD[:, self.network.config.prefix :]
