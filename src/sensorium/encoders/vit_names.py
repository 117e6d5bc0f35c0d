"""A vision transformer's tensors under the names of `transformers`, both ways."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sensorium.encoders.names import Name, NameMap
from sensorium.encoders.vit_config import ViTConfig

_ELSEWHERE = ("text_model.", "text_projection.", "logit_scale", "logit_bias", "embeddings.position_ids")
"""Of a whole CLIP or SigLIP: its text half and temperature; and a buffer that old files hold."""

Modules = dict[str, tuple[str, ...]]


def names_from_hf(state: Mapping[str, Tensor], config: ViTConfig) -> dict[str, Tensor]:
    """The state of a public vision model, as published or as `transformers` holds it in memory, as that of `ViT`.

    Of a whole CLIP or SigLIP the text half is left alone.

    Raises:
        CheckpointError: a tensor is missing, or one is left over.
    """
    bare = {name.removeprefix("vision_model.").removeprefix(f"{config.family}."): tensor for name, tensor in state.items()}
    ignored = _ELSEWHERE if config.projection else (*_ELSEWHERE, "visual_projection.")
    published = not any(".attention.q_proj." in name for name in bare)
    return name_map(config, published=published).from_theirs(bare, ignored)


def names_to_hf(state: Mapping[str, Tensor], config: ViTConfig) -> dict[str, Tensor]:
    """The inverse, under the published names; CLIP's and SigLIP's stand under `vision_model.` there.

    Raises:
        CheckpointError: a tensor is missing, or one is left over.
    """
    theirs = name_map(config).to_theirs(state)
    if config.family.startswith("dinov2"):
        return theirs
    return {name if name.startswith("visual_projection.") else f"vision_model.{name}": theirs[name] for name in theirs}


def name_map(config: ViTConfig, *, published: bool = True) -> NameMap:
    """The table of one shape. `published`: as files have it; DINOv2's names in memory differ."""
    if config.family.startswith("dinov2"):
        names, modules, layer = _dinov2(config, published)
        stem, layers = "embeddings.patch_embeddings.projection", "encoder.layer"
    else:
        names, modules, layer = _twin(config)
        stem, layers = "embeddings.patch_embedding", "encoder.layers"
    names.append(Name("patches.weight", (f"{stem}.weight",)))
    if config.family != "clip":
        names.append(Name("patches.bias", (f"{stem}.bias",)))
    for index in range(config.depth):
        prefix = f"{layers}.{index}."
        modules |= {f"blocks.{index}.{ours}": tuple(prefix + name for name in theirs) for ours, theirs in layer.items()}
        if config.family.startswith("dinov2"):
            names.append(Name(f"blocks.{index}.attention_scale", (f"{prefix}layer_scale1.lambda1",)))
            names.append(Name(f"blocks.{index}.mlp_scale", (f"{prefix}layer_scale2.lambda1",)))
    for ours, theirs in modules.items():
        names.append(Name(f"{ours}.weight", tuple(f"{name}.weight" for name in theirs)))
        if config.qkv_bias or not ours.endswith(".qkv"):
            names.append(Name(f"{ours}.bias", tuple(f"{name}.bias" for name in theirs)))
    return NameMap(config.family, tuple(names))


def _twin(config: ViTConfig) -> tuple[list[Name], Modules, Modules]:
    """CLIP and SigLIP: single tensors, modules, and the modules of a layer."""
    names = [Name("positions", ("embeddings.position_embedding.weight",))]
    modules: Modules = {"norm": ("post_layernorm",)}
    layer: Modules = {
        "attention_norm": ("layer_norm1",),
        "attention.qkv": tuple(f"self_attn.{key}_proj" for key in "qkv"),
        "attention.out": ("self_attn.out_proj",),
        "mlp_norm": ("layer_norm2",),
        "up": ("mlp.fc1",),
        "down": ("mlp.fc2",),
    }
    if config.family == "clip":
        names.append(Name("class_token", ("embeddings.class_embedding",)))
        modules["before"] = ("pre_layrnorm",)
    if config.projection:
        names.append(Name("projection.weight", ("visual_projection.weight",)))
    if config.pooling:
        names.append(Name("pooling.probe", ("head.probe",), leading=2))
        names += [Name(f"pooling.attention.in_proj_{key}", (f"head.attention.in_proj_{key}",)) for key in ("weight", "bias")]
        modules |= {"pooling.attention.out_proj": ("head.attention.out_proj",), "pooling.norm": ("head.layernorm",)}
        modules |= {"pooling.up": ("head.mlp.fc1",), "pooling.down": ("head.mlp.fc2",)}
    return names, modules, layer


def _dinov2(config: ViTConfig, published: bool) -> tuple[list[Name], Modules, Modules]:
    names = [
        Name("positions", ("embeddings.position_embeddings",), leading=1),
        Name("class_token", ("embeddings.cls_token",), leading=2),
    ]
    if config.mask_token:
        names.append(Name("mask_token", ("embeddings.mask_token",), leading=1))
    if config.registers:
        names.append(Name("registers", ("embeddings.register_tokens",), leading=1))
    layer: Modules = {
        "attention_norm": ("norm1",),
        "attention.qkv": tuple(f"attention.{key}_proj" for key in "qkv"),
        "attention.out": ("attention.o_proj",),
        "mlp_norm": ("norm2",),
        "up": ("mlp.fc1",),
        "down": ("mlp.fc2",),
    }
    if published:
        layer["attention.qkv"] = tuple(f"attention.attention.{key}" for key in ("query", "key", "value"))
        layer["attention.out"] = ("attention.output.dense",)
    if config.activation == "swiglu":
        layer["up"] = ("mlp.weights_in",) if published else ("mlp.gate_proj", "mlp.up_proj")
        layer["down"] = ("mlp.weights_out" if published else "mlp.down_proj",)
    return names, {"norm": ("layernorm",)}, layer
