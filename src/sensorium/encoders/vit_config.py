"""The shape of a vision transformer, and the public configurations it is read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sensorium.errors import CheckpointError

Family = Literal["siglip", "clip", "dinov2", "dinov2_with_registers"]
Activation = Literal["gelu", "gelu_tanh", "quick_gelu", "swiglu"]

_TYPES: dict[str, Family] = {
    "siglip_vision_model": "siglip",
    "siglip": "siglip",
    "clip_vision_model": "clip",
    "clip": "clip",
    "dinov2": "dinov2",
    "dinov2_with_registers": "dinov2_with_registers",
}
_ACTIVATIONS: dict[str, Activation] = {"gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh", "quick_gelu": "quick_gelu"}
_SHARED = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "num_channels": 3, "image_size": 224}
_DINOV2 = {"mlp_ratio": 4, "hidden_act": "gelu", "layer_norm_eps": 1e-6, "qkv_bias": True, "use_swiglu_ffn": False}
_DEFAULTS: dict[Family, dict[str, Any]] = {  # published files leave out what equals the library's defaults
    "siglip": _SHARED | {"patch_size": 16, "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6, "vision_use_head": True},
    "clip": _SHARED | {"patch_size": 32, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "projection_dim": 512},
    "dinov2": _SHARED | _DINOV2 | {"patch_size": 14},
    "dinov2_with_registers": _SHARED | _DINOV2 | {"patch_size": 16, "num_register_tokens": 4},
}
_WHOLE = {*_SHARED, "patch_size", "intermediate_size", "mlp_ratio", "projection_dim", "num_register_tokens"}
_PROJECTED = ("CLIPVisionModelWithProjection", "CLIPModel")


@dataclass(frozen=True, slots=True)
class ViTConfig:
    """The shape of a vision transformer.

    Args:
        family: decides what is built. SigLIP: no class token, final norm over all tokens. CLIP: class token, a norm before
            the blocks, the final norm on the class token alone. DINOv2: class token, layer scale, perhaps registers.
        mlp_width: inner width before SwiGLU takes its two thirds.
        image_size, patch: pixels of a side; other picture sizes interpolate the positions.
        registers: extra tokens without a place (Darcet et al. 2023).
        pooling: SigLIP's attention-pooling head is there.
        projection: width of CLIP's shared space; 0 builds no projection.
        mask_token: DINOv2's token of masked training is in the checkpoint; it is kept so that a checkpoint goes back whole.
    """

    family: Family
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_width: int = 3072
    image_size: int = 224
    patch: int = 16
    activation: Activation = "gelu"
    norm_eps: float = 1e-6
    qkv_bias: bool = True
    registers: int = 0
    pooling: bool = False
    projection: int = 0
    mask_token: bool = False

    @property
    def side(self) -> int:
        """Patches on a side of the picture that the positions were trained for."""
        return self.image_size // self.patch

    @property
    def prefix(self) -> int:
        """Tokens that stand before the patches: class token and registers."""
        return (self.family != "siglip") + self.registers

    @property
    def inner(self) -> int:
        """Inner width of the MLP."""
        return (int(self.mlp_width * 2 / 3) + 7) // 8 * 8 if self.activation == "swiglu" else self.mlp_width

    @classmethod
    def from_hf(cls, mapping: Mapping[str, Any]) -> ViTConfig:
        """From the `config.json` of a SigLIP, SigLIP 2 (fixed resolution), CLIP or DINOv2 model, whole or its vision half.

        Raises:
            CheckpointError: another model type, activation or shape.
        """
        given = dict(mapping)
        if isinstance(vision := given.get("vision_config"), Mapping):
            outer = {key: value for key, value in given.items() if key in ("architectures", "projection_dim")}
            given = {"model_type": given.get("model_type"), **vision, **outer}
        family = _TYPES.get(str(given.get("model_type")))
        if family is None:
            raise _error(f"model_type {given.get('model_type')!r}", f"Use one of {', '.join(_TYPES)}")
        row = _DEFAULTS[family] | {key: value for key, value in given.items() if value is not None}
        gated = bool(row.get("use_swiglu_ffn", False))
        if row["hidden_act"] not in _ACTIVATIONS and not gated:
            raise _error(f"hidden_act {row['hidden_act']!r}", f"Use one of {', '.join(_ACTIVATIONS)}")
        for key in _WHOLE & row.keys():
            if not isinstance(row[key], int) or row[key] < (key not in ("num_register_tokens", "num_hidden_layers")):
                raise _error(f"{key} {row[key]!r}", "Use a model of square RGB pictures and patches, with whole sizes")
        if row["num_channels"] != 3 or row["hidden_size"] % row["num_attention_heads"] or row["image_size"] < row["patch_size"]:
            shape = f"{row['num_channels']} channels, width {row['hidden_size']} for {row['num_attention_heads']} heads"
            problem = f"{shape}, patches of {row['patch_size']} in {row['image_size']} pixels"
            raise _error(problem, "Use a model of RGB pictures whose width its heads divide")
        projected = any(name in _PROJECTED for name in row.get("architectures", ()))
        return cls(
            family=family,
            width=row["hidden_size"],
            depth=row["num_hidden_layers"],
            heads=row["num_attention_heads"],
            mlp_width=row.get("intermediate_size", row["hidden_size"] * row.get("mlp_ratio", 4)),
            image_size=row["image_size"],
            patch=row["patch_size"],
            activation="swiglu" if gated else _ACTIVATIONS[row["hidden_act"]],
            norm_eps=float(row["layer_norm_eps"]),
            qkv_bias=row.get("qkv_bias", True),
            registers=row.get("num_register_tokens", 0),
            pooling=bool(row.get("vision_use_head", False)),
            projection=row.get("projection_dim", 0) if projected and family == "clip" else 0,
            mask_token=family.startswith("dinov2") and bool(row.get("use_mask_token", True)),
        )

    def to_hf(self) -> dict[str, Any]:
        """The inverse: the `config.json` of the vision model alone."""
        row: dict[str, Any] = {"hidden_size": self.width, "num_hidden_layers": self.depth, "num_attention_heads": self.heads}
        row |= {"image_size": self.image_size, "patch_size": self.patch, "num_channels": 3, "layer_norm_eps": self.norm_eps}
        if self.activation != "swiglu":
            row["hidden_act"] = next(theirs for theirs, ours in _ACTIVATIONS.items() if ours == self.activation)
        if self.family == "siglip":
            head = {
                "model_type": "siglip_vision_model",
                "architectures": ["SiglipVisionModel"],
                "vision_use_head": self.pooling,
            }
            return head | row | {"intermediate_size": self.mlp_width}
        if self.family == "clip":
            names = {
                "model_type": "clip_vision_model",
                "architectures": [_PROJECTED[0] if self.projection else "CLIPVisionModel"],
            }
            return names | row | {"intermediate_size": self.mlp_width, "projection_dim": self.projection or 512}
        row |= {
            "qkv_bias": self.qkv_bias,
            "use_swiglu_ffn": self.activation == "swiglu",
            "mlp_ratio": self.mlp_width // self.width,
        }
        if self.family == "dinov2":
            return {"model_type": "dinov2", "architectures": ["Dinov2Model"], "use_mask_token": self.mask_token} | row
        names = {"model_type": "dinov2_with_registers", "architectures": ["Dinov2WithRegistersModel"]}
        return names | row | {"num_register_tokens": self.registers}


def _error(problem: str, remedy: str) -> CheckpointError:
    return CheckpointError("vision config.json", f"has {problem}, which is not known here", remedy)
