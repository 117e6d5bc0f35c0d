"""Weights in int8 or int4, activations in int8: a quarter or a sixth of the memory, and faster on a CPU.

int8 keeps one scale for each output row, int4 a scale and a minimum (fp16, ggml's Q4_1) for each 32 weights of a row, so that
weights that come from a Q4_1 file are kept exactly. The input is rounded to int8 for each token in groups of 32, in both forms:
with one scale for a whole token (or, as torch's dynamic quantisation does, for the whole tensor) small models lose much more.

Without compiled code (see `native`) the same numbers are computed in torch from weights unpacked on the fly, which is slow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.errors import CheckpointError, RequestError
from sensorium.language.native import CLinear, native
from sensorium.language.step import NativeStep
from sensorium.nn.lora import LoraLinear

if TYPE_CHECKING:
    from sensorium.language.decoder import Decoder

Bits = Literal[8, 4]
GROUP = 32
"""Inputs that share a scale, and in int4 weights that do."""

_BLOCK = 16
_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class QuantizedLinear(nn.Module):
    """`nn.Linear` with packed weights, frozen; gradients still flow to its input (adapters on it can be trained).

    Its state dict holds `weight_int8` `(out, in)` and `weight_scale` `(out,)`; or `weight_int4` `(out, in/2)` (even inputs in
    the low nibbles), `weight_scale` and `weight_low` `(out, in/32)` in fp16. In memory the weights lie in native.c's blocks.

    Args:
        weight_ED: `(out, in)`, floating point. bias_E: `(out,)` or None. bits: 8 or 4.
    """

    def __init__(self, weight_ED: Tensor, bias_E: Tensor | None, bits: Bits) -> None:
        super().__init__()
        self.out_features, self.in_features = weight_ED.shape
        self.bits: Bits = bits
        self.packed: Tensor
        self.scales: Tensor
        self.bias: Tensor | None
        self.register_buffer("bias", None if bias_E is None else bias_E.detach().float().clone(), persistent=False)
        codes_ED, scales = _round8(weight_ED.detach()) if bits == 8 else _round4(weight_ED.detach())
        self._keep(codes_ED, scales)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """`(..., in)` to `(..., out)`, in the dtype of x."""
        compiled = native() if x_BLD.device.type == "cpu" and not (x_BLD.requires_grad and torch.is_grad_enabled()) else None
        if compiled is None:
            plain_BLE: Tensor = F.linear(_rounded(x_BLD.float()), self.dequantized(), self.bias)
            return plain_BLE.to(x_BLD.dtype)
        flat_BD = x_BLD.detach().reshape(-1, self.in_features).float()
        return compiled.linear(self.c_layer(), flat_BD).to(x_BLD.dtype).view(*x_BLD.shape[:-1], self.out_features)

    def dequantized(self) -> Tensor:
        """The weights as they are computed with, fp32 `(out, in)`."""
        codes_ED, scales = self._rows()
        if self.bits == 8:
            return codes_ED.float() * scales[:, None]
        step_EG, low_EG = scales.float().unbind(-1)
        grouped_EGW = codes_ED.float().reshape(len(codes_ED), -1, GROUP) * step_EG[:, :, None] + low_EG[:, :, None]
        return grouped_EGW.flatten(1)[:, : self.in_features]

    def c_layer(self) -> CLinear:
        """This layer for native.c, valid while its buffers stay where they are."""
        bias = None if self.bias is None else self.bias.data_ptr()
        return CLinear(
            kind=1 if self.bits == 8 else 2,
            inputs=self.in_features,
            outputs=self.out_features,
            weight=self.packed.data_ptr(),
            scale=self.scales.data_ptr(),
            bias=bias,
        )

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bits={self.bits}"

    def _keep(self, codes_ED: Tensor, scales: Tensor) -> None:
        """Store codes (int8 -127..127 or 0..15, padded in width) and scales `(out,)` or `(out, groups, 2)` in blocks."""
        rows = -len(codes_ED) % _BLOCK
        codes_ED = F.pad(codes_ED, (0, -codes_ED.shape[1] % GROUP, 0, rows))
        scales = F.pad(scales, (0, 0) * (scales.dim() - 1) + (0, rows))
        if self.bits == 8:
            quads = (codes_ED.to(torch.int16) + 128).to(torch.uint8).reshape(-1, _BLOCK, codes_ED.shape[1] // 4, 4)
            packed = quads.transpose(1, 2).contiguous()  # block, quad, row, 4
        else:
            quads = codes_ED.to(torch.uint8).reshape(-1, _BLOCK, codes_ED.shape[1] // GROUP, GROUP // 4, 4)
            quads = quads.permute(0, 2, 3, 1, 4)  # block, group, quad, row, 4
            packed = (quads[:, :, :4] | quads[:, :, 4:] << 4).contiguous()
            scales = scales.reshape(-1, _BLOCK, *scales.shape[1:]).permute(0, 2, 3, 1)  # block, group, scale or low, row
        self.register_buffer("packed", packed, persistent=False)
        self.register_buffer("scales", scales.contiguous(), persistent=False)

    def _rows(self) -> tuple[Tensor, Tensor]:
        """Codes `(out, in)` (int4: padded to whole groups) and scales as `_keep` takes them."""
        if self.bits == 8:
            codes = (self.packed.transpose(1, 2).flatten(2).flatten(0, 1).to(torch.int16) - 128).to(torch.int8)
            return codes[: self.out_features, : self.in_features], self.scales[: self.out_features]
        quads = torch.cat((self.packed & 15, self.packed >> 4), dim=2).permute(0, 3, 1, 2, 4)
        scales = self.scales.permute(0, 3, 1, 2).flatten(0, 1)
        return quads.flatten(2).flatten(0, 1)[: self.out_features].to(torch.int8), scales[: self.out_features]

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **options: Any) -> QuantizedLinear:
        def move(tensor: Tensor) -> Tensor:  # to another device, never to another dtype
            return tensor.to(fn(tensor[:0]).device)

        super()._apply(move, *args, **options)  # type: ignore[no-untyped-call]
        return self

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        codes_ED, scales = self._rows()
        if self.bits == 8:
            destination[f"{prefix}weight_int8"], destination[f"{prefix}weight_scale"] = codes_ED.contiguous(), scales.clone()
        else:
            codes_ED = codes_ED.to(torch.uint8)
            destination[f"{prefix}weight_int4"] = codes_ED[:, ::2] | codes_ED[:, 1::2] << 4
            destination[f"{prefix}weight_scale"], destination[f"{prefix}weight_low"] = (
                s.contiguous() for s in scales.unbind(-1)
            )
        if self.bias is not None:
            destination[f"{prefix}bias"] = self.bias

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        _metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        names = (
            [f"weight_int{self.bits}", "weight_scale"] + ["weight_low"] * (self.bits == 4) + ["bias"] * (self.bias is not None)
        )
        here = {key[len(prefix) :]: value for key, value in state_dict.items() if key.startswith(prefix)}
        missing_keys += [prefix + name for name in names if name not in here]
        unexpected_keys += [prefix + name for name in here if name not in names] if strict else []
        if not all(name in here for name in names):
            return
        codes_ED, *scales = (here[name] for name in names if name != "bias")
        if self.bits == 4:
            codes_ED, scales = torch.stack((codes_ED & 15, codes_ED >> 4), -1).flatten(1), [torch.stack(scales, -1).half()]
        width = self.in_features if self.bits == 8 else -(-self.in_features // GROUP) * GROUP
        if tuple(codes_ED.shape) != (self.out_features, width) or len(scales[0]) != self.out_features:
            error_msgs.append(f"{prefix}{names[0]} has the shape {tuple(here[names[0]].shape)}, not that of this layer")
            return
        self._keep(codes_ED.to(self.packed.device), scales[0].to(self.packed.device))
        if self.bias is not None:
            self.bias.copy_(here["bias"])


class QuantizedEmbedding(QuantizedLinear):
    """`nn.Embedding` in int8 with a scale for each token, which serves as a tied head too."""

    def __init__(self, weight_VD: Tensor) -> None:
        super().__init__(weight_VD, None, 8)

    def forward(self, ids_BL: Tensor) -> Tensor:
        """Token ids to fp32 embeddings `(B, L, D)`."""
        codes_BLD = self.packed[ids_BL // _BLOCK, :, ids_BL % _BLOCK].flatten(-2)[..., : self.in_features]
        return (codes_BLD.float() - 128) * self.scales[ids_BL, None]

    def project(self, hidden_BLD: Tensor) -> Tensor:
        """Hidden states `(..., D)` to the scores of all tokens `(..., V)`."""
        return super().forward(hidden_BLD)


def quantize(decoder: Decoder, bits: Bits) -> Decoder:
    """Pack the decoder's weights, in place, and decode by `NativeStep` from now on; returns the same decoder.

    Attention and MLP take `bits`; embeddings and head always take 8. Norms and adapters stay as they are. An untied
    embedding is packed too.

    Raises:
        RequestError: bits other than 8 and 4, merged or DoRA adapters (they need the weights), or weights packed already.
    """
    if bits not in (8, 4):
        raise RequestError("quantize", f"to {bits} bits is not possible", "Use 8 or 4")
    if isinstance(decoder.embed_tokens, QuantizedLinear):
        raise RequestError("quantize", "the weights are packed already", "Load the model again, unquantised")
    for name, layer in decoder.named_modules():
        if isinstance(layer, LoraLinear) and (layer.merged or layer.lora_magnitude is not None):
            raise RequestError(f"adapter of {name}", "needs the floating-point weights", "Absorb it before you quantise")
    decoder.unfuse()
    for layer in decoder.layers:
        for part in (layer.self_attn, layer.mlp):
            for name in _PROJECTIONS:
                if not hasattr(part, name):
                    continue
                holder, slot = part, name
                while isinstance(getattr(holder, slot), LoraLinear):
                    holder, slot = getattr(holder, slot), "base"
                plain = getattr(holder, slot)
                setattr(holder, slot, QuantizedLinear(plain.weight, plain.bias, bits))
    if not decoder.config.tie_embeddings:
        decoder.add_module("lm_head", QuantizedLinear(decoder.lm_head.weight, None, 8))
    decoder.add_module("embed_tokens", QuantizedEmbedding(decoder.embed_tokens.weight))
    decoder.step = NativeStep()
    return decoder


def to_tensors(decoder: Decoder) -> dict[str, Tensor]:
    """The quantised decoder's tensors for a checkpoint; names as unquantised, `weight` becoming `weight_int8` and so on."""
    return {name: tensor.contiguous() for name, tensor in decoder.state_dict().items()}


def from_tensors(decoder: Decoder, tensors: Mapping[str, Tensor]) -> Decoder:
    """Put `to_tensors`' tensors into an unquantised decoder of the same configuration, in place; its weights may be random.

    Raises:
        CheckpointError: tensors that are missing, too many or of another shape.
    """
    bits: Bits = 4 if any(name.endswith("weight_int4") for name in tensors) else 8
    quantize(decoder, bits)
    try:
        decoder.load_state_dict(dict(tensors), strict=True)
    except RuntimeError as error:
        problem = str(error).split("\n\t", 1)[-1].strip()
        raise CheckpointError("quantised tensors", problem, "Use those of this very configuration") from error
    return decoder


def _round8(weight_ED: Tensor) -> tuple[Tensor, Tensor]:
    """Codes -127..127 and a scale for each row."""
    weight_ED = weight_ED.float()
    scale_E = weight_ED.abs().amax(1) / 127
    codes_ED = (weight_ED / scale_E.clamp_min(torch.finfo(torch.float32).tiny)[:, None]).round()
    return codes_ED.to(torch.int8), scale_E


def _round4(weight_ED: Tensor) -> tuple[Tensor, Tensor]:
    """Codes 0..15, padded to whole groups, and for each group scale and minimum, fp16 `(out, groups, 2)`."""
    grouped_EGW = F.pad(weight_ED.float(), (0, -weight_ED.shape[1] % GROUP)).reshape(len(weight_ED), -1, GROUP)
    low_EG, high_EG = grouped_EGW.amin(-1).half(), grouped_EGW.amax(-1)
    step_EG = ((high_EG - low_EG.float()) / 15).half()
    floor = torch.finfo(torch.float16).smallest_normal
    codes = ((grouped_EGW - low_EG.float()[..., None]) / step_EG.float().clamp_min(floor)[..., None]).round().clamp(0, 15)
    return codes.to(torch.int8).flatten(1), torch.stack((step_EG, low_EG), -1)


def _rounded(x_BLD: Tensor) -> Tensor:
    """The input as native.c's int8 sees it (the gradient passes as if it were not rounded)."""
    width = x_BLD.shape[-1]
    grouped = F.pad(x_BLD.detach(), (0, -width % GROUP)).reshape(*x_BLD.shape[:-1], -1, GROUP)
    scale = grouped.abs().amax(-1, keepdim=True) / 127
    rounded = (grouped / scale.clamp_min(torch.finfo(torch.float32).tiny)).round() * scale
    seen_BLD: Tensor = x_BLD + (rounded.flatten(-2)[..., :width] - x_BLD.detach())
    return seen_BLD
