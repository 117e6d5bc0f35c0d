"""EfficientNet-Lite 0 to 4: pictures to a grid of 1280-wide features.

After Tan and Le 2019 (EfficientNet) in the Lite form: no squeeze-and-excitation, ReLU6, stem and head not widened.
Names of published weights are those of the package `efficientnet-lite-pytorch`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.batch import Features, Modality, Piece
from sensorium.encoders.grouping import encode_grouped
from sensorium.encoders.names import Name, NameMap
from sensorium.encoders.processing import EFFICIENTNET_LITE, ImageProcessing
from sensorium.errors import RequestError
from sensorium.media.image import Picture
from sensorium.nn.trace import SILENT, Trace

FEATURES = 1280
_STEM = 32
_NORM_EPS = 1e-3


class Stage(NamedTuple):
    """A row of the paper's table: `repeats` blocks of one kind, the first with `stride`."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


class BlockShape(NamedTuple):
    """One inverted bottleneck after scaling."""

    channels_in: int
    channels_out: int
    kernel: int
    stride: int
    expansion: int


@dataclass(frozen=True, slots=True)
class EfficientNetConfig:
    """A Lite variant.

    Args:
        width, depth: factors on the channels and repeats of the stages between stem and head.
        image_size: pixels of the square picture that it was trained on.
        classes: outputs of the ImageNet head; 0 builds none.
        fused: batch norms are folded into the convolutions (see `EfficientNet.fuse`).
    """

    width: float = 1.0
    depth: float = 1.0
    image_size: int = 224
    classes: int = 1000
    fused: bool = False

    @classmethod
    def lite(cls, variant: int, classes: int = 1000, *, fused: bool = False) -> EfficientNetConfig:
        """EfficientNet-Lite `variant`, 0 to 4.

        Raises:
            RequestError: another number.
        """
        shapes = ((1.0, 1.0, 224), (1.0, 1.1, 240), (1.1, 1.2, 260), (1.2, 1.4, 280), (1.4, 1.8, 300))
        if not 0 <= variant < len(shapes):
            raise RequestError(f"EfficientNet-Lite{variant}", "is not known", f"Use a variant from 0 to {len(shapes) - 1}")
        width, depth, size = shapes[variant]
        return cls(width, depth, size, classes, fused)

    def blocks(self) -> list[BlockShape]:
        """Every block, in order."""
        shapes: list[BlockShape] = []
        channels = _STEM
        for index, stage in enumerate(STAGES):
            edge = index in (0, len(STAGES) - 1)
            out = _round_channels(stage.channels * self.width)
            for repeat in range(stage.repeats if edge else ceil(stage.repeats * self.depth)):
                shapes.append(BlockShape(channels, out, stage.kernel, stage.stride if repeat == 0 else 1, stage.expansion))
                channels = out
        return shapes


class Conv(NamedTuple):
    """A convolution's square kernel, stride and groups."""

    kernel: int
    stride: int = 1
    groups: int = 1


def _round_channels(channels: float) -> int:
    """The nearest multiple of 8, at least 8, and never under nine tenths of what was asked."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class ConvNorm(nn.Module):
    """Convolution with TensorFlow's "same" padding (the odd pixel goes after), batch norm unless folded in, ReLU6."""

    def __init__(self, channels_in: int, channels_out: int, conv: Conv, *, relu: bool, fused: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, conv.kernel, conv.stride, groups=conv.groups, bias=fused)
        self.norm = nn.Identity() if fused else nn.BatchNorm2d(channels_out, eps=_NORM_EPS, momentum=0.01)
        self.relu = relu

    def forward(self, x_PCHW: Tensor) -> Tensor:
        """`(P, C, H, W)` to `(P, C', ceil(H / stride), ceil(W / stride))`."""
        conv = self.conv
        before_h, after_h = _same(x_PCHW.shape[2], conv.kernel_size[0], conv.stride[0])
        before_w, after_w = _same(x_PCHW.shape[3], conv.kernel_size[1], conv.stride[1])
        if before_h != after_h or before_w != after_w:
            x_PCHW = F.pad(x_PCHW, (before_w, after_w, before_h, after_h))
            before_h = before_w = 0
        if conv.bias is not None and _one_call(x_PCHW):
            return _conv_relu6(x_PCHW, conv, (before_h, before_w), self.relu)
        x_PCHW = F.conv2d(x_PCHW, conv.weight, conv.bias, conv.stride, (before_h, before_w), groups=conv.groups)
        x_PCHW = self.norm(x_PCHW)
        return F.relu6(x_PCHW) if self.relu else x_PCHW

    @torch.no_grad()
    def fuse(self) -> None:
        """Fold the batch norm's running statistics into the convolution; exact outside training."""
        norm = self.norm
        if not isinstance(norm, nn.BatchNorm2d):
            return
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        self.conv.weight.mul_(scale[:, None, None, None])
        self.conv.bias = nn.Parameter(norm.bias - norm.running_mean * scale)
        self.norm = nn.Identity()


def _same(length: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((ceil(length / stride) - 1) * stride + kernel - length, 0)
    return total // 2, total - total // 2


def _one_call(x_PCHW: Tensor) -> bool:
    """Whether oneDNN may do convolution, bias and ReLU6 in one call, as torch's own compiler has it do (1.2 to 1.6 x)."""
    plain = x_PCHW.device.type == "cpu" and x_PCHW.dtype == torch.float32 and not torch.is_grad_enabled()
    return plain and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


def _conv_relu6(x_PCHW: Tensor, conv: nn.Conv2d, padding: tuple[int, int], relu: bool) -> Tensor:
    name, bounds = ("hardtanh", [0.0, 6.0]) if relu else ("none", [])
    call = torch.ops.mkldnn._convolution_pointwise
    result: Tensor = call(x_PCHW, conv.weight, conv.bias, padding, conv.stride, conv.dilation, conv.groups, name, bounds, "")
    return result


class Block(nn.Module):
    """Inverted bottleneck: widen, filter each channel, narrow; with a residual where shapes allow."""

    def __init__(self, shape: BlockShape, *, fused: bool) -> None:
        super().__init__()
        inner = shape.channels_in * shape.expansion
        self.expand = ConvNorm(shape.channels_in, inner, Conv(1), relu=True, fused=fused) if shape.expansion > 1 else None
        self.depthwise = ConvNorm(inner, inner, Conv(shape.kernel, shape.stride, inner), relu=True, fused=fused)
        self.project = ConvNorm(inner, shape.channels_out, Conv(1), relu=False, fused=fused)
        self.residual = shape.stride == 1 and shape.channels_in == shape.channels_out

    def forward(self, x_PCHW: Tensor) -> Tensor:
        """`(P, C, H, W)` to `(P, C', H', W')`."""
        inner_PCHW = x_PCHW if self.expand is None else self.expand(x_PCHW)
        out_PCHW: Tensor = self.project(self.depthwise(inner_PCHW))
        return out_PCHW + x_PCHW if self.residual else out_PCHW


class EfficientNet(nn.Module):
    """The network: stem, blocks, head, and an optional classifier."""

    def __init__(self, config: EfficientNetConfig) -> None:
        super().__init__()
        self.config = config
        shapes = config.blocks()
        self.stem = ConvNorm(3, _STEM, Conv(3, 2), relu=True, fused=config.fused)
        self.blocks = nn.ModuleList(Block(shape, fused=config.fused) for shape in shapes)
        self.head = ConvNorm(shapes[-1].channels_out, FEATURES, Conv(1), relu=True, fused=config.fused)
        self.classifier = nn.Linear(FEATURES, config.classes) if config.classes else None

    def forward(self, pixels_PCHW: Tensor, trace: Trace = SILENT) -> Tensor:
        """Prepared pixels `(P, 3, H, W)` to features `(P, 1280, ceil(H / 32), ceil(W / 32))`, 0..6."""
        x_PCHW: Tensor = self.stem(pixels_PCHW)
        for index, block in enumerate(self.blocks):
            x_PCHW = block(x_PCHW)
            trace(f"encoder.image.{index}.hidden", x_PCHW)
        features_PCHW: Tensor = self.head(x_PCHW)
        return features_PCHW

    def classify(self, features_PCHW: Tensor) -> Tensor:
        """Features to logits `(P, classes)` over ImageNet's classes.

        Raises:
            RequestError: built without a classifier.
        """
        if self.classifier is None:
            raise RequestError("EfficientNet", "has no classifier", "Build it with classes=1000")
        logits_PV: Tensor = self.classifier(features_PCHW.mean((2, 3)))
        return logits_PV

    def fuse(self) -> EfficientNet:
        """Fold all batch norms in place; `config.fused` says so afterwards, and such a state loads into a network built so."""
        for module in self.modules():
            if isinstance(module, ConvNorm):
                module.fuse()
        self.config = replace(self.config, fused=True)
        return self


class EfficientNetEncoder(nn.Module):
    """Pictures in, features on a grid out; 7 by 7 at 224 pixels, row by row.

    The network is fused and laid out channels last, which is the fast form on a CPU; it does not train its batch norms.
    """

    modality = Modality.IMAGE
    dim = FEATURES

    def __init__(self, network: EfficientNet, processing: ImageProcessing = EFFICIENTNET_LITE) -> None:
        super().__init__()
        self.network = network.fuse().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.processing = processing

    def prepare(self, decoded: Picture) -> list[Piece]:
        """A picture, and its tiles if the processing cuts any."""
        views = self.processing.views(decoded)
        return [Piece(self.modality, view.box, self.grid(view.pixels_CHW), tensor=view.pixels_CHW) for view in views]

    def grid(self, tensor: Tensor) -> tuple[int, ...]:
        """`(rows, cols)`: one feature for 32 by 32 pixels, begun ones included."""
        return ceil(tensor.shape[-2] / 32), ceil(tensor.shape[-1] / 32)

    def spatial(self, pixels_PCHW: Tensor, trace: Trace = SILENT) -> Tensor:
        """Prepared pixels of one size to `(P, 1280, rows, cols)`."""
        x_PCHW: Tensor = self.network(pixels_PCHW.contiguous(memory_format=torch.channels_last), trace)
        return x_PCHW

    def forward(self, media: Sequence[Tensor], trace: Trace = SILENT) -> Features:
        """Prepared pictures to `(P, rows * cols, 1280)`."""
        return encode_grouped(media, self._row_by_row, trace)

    def _row_by_row(self, pixels_PCHW: Tensor, trace: Trace) -> Tensor:
        return self.spatial(pixels_PCHW, trace).flatten(2).transpose(1, 2)

    def classify(self, media: Sequence[Tensor]) -> Tensor:
        """Prepared pictures to logits `(P, 1000)` over ImageNet's classes.

        Raises:
            RequestError: built without a classifier.
        """
        pooled = [self.network.classify(self.spatial(pixels_CHW[None])) for pixels_CHW in media]
        return torch.cat(pooled)


def from_reference_names(state: Mapping[str, Tensor], config: EfficientNetConfig) -> dict[str, Tensor]:
    """The state of `efficientnet-lite-pytorch` under our names, for an unfused network; `config.classes` 0 drops the head.

    Raises:
        CheckpointError: a tensor is missing, or one is left over.
    """
    return _names(config).from_theirs(state, ignored=() if config.classes else ("_fc.",))


def to_reference_names(state: Mapping[str, Tensor], config: EfficientNetConfig) -> dict[str, Tensor]:
    """The inverse of `from_reference_names`.

    Raises:
        CheckpointError: a tensor is missing, or one is left over (a fused network cannot go back).
    """
    return _names(config).to_theirs(state)


def _names(config: EfficientNetConfig) -> NameMap:
    names: list[Name] = []

    def pair(ours: str, conv: str, norm: str) -> None:
        names.append(Name(f"{ours}.conv.weight", (f"{conv}.weight",)))
        for key in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            names.append(Name(f"{ours}.norm.{key}", (f"{norm}.{key}",)))

    pair("stem", "_conv_stem", "_bn0")
    for index, shape in enumerate(config.blocks()):
        ours, theirs = f"blocks.{index}", f"_blocks.{index}"
        if shape.expansion > 1:
            pair(f"{ours}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0")
        pair(f"{ours}.depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1")
        pair(f"{ours}.project", f"{theirs}._project_conv", f"{theirs}._bn2")
    pair("head", "_conv_head", "_bn1")
    if config.classes:
        names += [Name(f"classifier.{key}", (f"_fc.{key}",)) for key in ("weight", "bias")]
    return NameMap("EfficientNet-Lite", tuple(names))
