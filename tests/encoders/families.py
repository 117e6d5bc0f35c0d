"""Encoder families with their references at toy size: the parity tests and the parity table both walk this list."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sensorium.encoders.cnn import EfficientNet, EfficientNetConfig, from_reference_names
from sensorium.encoders.text import Bert, BertConfig
from sensorium.encoders.text import names_from_hf as bert_names
from sensorium.encoders.vit import ViT, ViTConfig, names_from_hf
from sensorium.nn.trace import Trace

Outputs = Mapping[str, Tensor]
TOY = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": 28, "patch_size": 7}
TOY_MLP = TOY | {"intermediate_size": 48}


class Family(NamedTuple):
    """One encoder beside its reference.

    Args:
        build_reference: the named reference with seeded random weights.
        build_ours: ours, with the weights of that reference, which it is given.
        inputs: what both are given. run_reference, run_ours: from a module and inputs to comparable tensors by name.
    """

    name: str
    reference: str
    build_reference: Callable[[], Any]
    build_ours: Callable[[Any], nn.Module]
    inputs: Callable[[], Tensor]
    run_reference: Callable[[Any, Tensor], Outputs]
    run_ours: Callable[[Any, Tensor], Outputs]

    def differences(self) -> dict[str, float]:
        """The largest absolute difference of each output."""
        theirs, given = self.build_reference(), self.inputs()
        ours = self.build_ours(theirs)
        with torch.no_grad():
            wanted, found = self.run_reference(theirs, given), self.run_ours(ours, given)
        assert wanted.keys() == found.keys()
        return {key: float((wanted[key] - found[key]).abs().max()) for key in wanted}


def drawn(module: Any, seed: int = 0) -> Any:
    """Seeded random weights for every parameter, norms and scales included, and running statistics; evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.normal_(part.weight, std=(2 / part.weight[0].numel()) ** 0.5, generator=generator)
            if part.bias is not None:
                nn.init.normal_(part.bias, std=0.2, generator=generator)
            continue
        for weight in part.parameters(recurse=False):
            nn.init.normal_(weight, std=0.2, generator=generator)
        if isinstance(part, nn.LayerNorm | nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.8, 1.5, generator=generator)
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -0.2, 0.2, generator=generator)  # type: ignore[arg-type]
            nn.init.uniform_(part.running_var, 0.5, 1.5, generator=generator)  # type: ignore[arg-type]
    return module.eval()


def hf_config(model: Any) -> dict[str, Any]:
    """The content of `config.json`, with the architecture that saving would write."""
    return {**model.config.to_dict(), "architectures": [type(model).__name__]}


def pixels(height: int = 28, width: int = 28) -> Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(5))


def vit_of(reference: Any) -> ViT:
    config = ViTConfig.from_hf(hf_config(reference))
    ours = ViT(config).eval()
    ours.load_state_dict(names_from_hf(reference.state_dict(), config))
    return ours


def _vision(name: str, model: str, config: str, other_size: bool = False, **options: Any) -> Family:
    import transformers

    def build_reference() -> Any:
        return drawn(getattr(transformers, model)(getattr(transformers, config)(**options, attn_implementation="eager")))

    def run_reference(theirs: Any, given: Tensor) -> Outputs:
        extra = {"interpolate_pos_encoding": True} if other_size and not model.startswith("Dino") else {}
        out = theirs(pixel_values=given, output_hidden_states=True, output_attentions=True, **extra)
        pooled = out.image_embeds if "Projection" in model else out.pooler_output
        tensors = {"tokens": out.last_hidden_state, "hidden": out.hidden_states[-2], "attention": out.attentions[1]}
        return tensors | ({} if pooled is None else {"pooled": pooled})

    def run_ours(ours: ViT, given: Tensor) -> Outputs:
        trace = Trace(["encoder.image.1.attention", "encoder.image.1.hidden"])
        x_PTD = ours(given, trace)
        kept = trace.result()
        tensors = {
            "tokens": ours.finish(x_PTD),
            "hidden": kept["encoder.image.1.hidden"],
            "attention": kept["encoder.image.1.attention"],
        }
        return tensors | ({"pooled": ours.pooled(x_PTD)} if ours.config.family != "siglip" or ours.config.pooling else {})

    given = (35, 42) if other_size else (28, 28)
    return Family(name, f"transformers.{model}", build_reference, vit_of, lambda: pixels(*given), run_reference, run_ours)


def vision_families() -> list[Family]:
    """SigLIP, CLIP and DINOv2 in the forms that we read."""
    giant = {"use_swiglu_ffn": True, "qkv_bias": False}
    rows = [
        ("SigLIP", "SiglipVisionModel", "SiglipVisionConfig", TOY_MLP),
        ("SigLIP without head", "SiglipVisionModel", "SiglipVisionConfig", TOY_MLP | {"vision_use_head": False}),
        ("CLIP", "CLIPVisionModel", "CLIPVisionConfig", TOY_MLP),
        ("CLIP with gelu", "CLIPVisionModel", "CLIPVisionConfig", TOY_MLP | {"hidden_act": "gelu"}),
        ("CLIP with projection", "CLIPVisionModelWithProjection", "CLIPVisionConfig", TOY_MLP | {"projection_dim": 16}),
        ("DINOv2", "Dinov2Model", "Dinov2Config", TOY),
        ("DINOv2 with SwiGLU", "Dinov2Model", "Dinov2Config", TOY | giant),
        ("DINOv2 with registers", "Dinov2WithRegistersModel", "Dinov2WithRegistersConfig", TOY | {"num_register_tokens": 3}),
    ]
    plain = [_vision(name, model, config, **options) for name, model, config, options in rows]
    sizes = [
        _vision(f"{name} at another size", model, config, True, **options)
        for name, model, config, options in rows
        if name in ("SigLIP", "CLIP", "DINOv2", "DINOv2 with registers")
    ]
    return plain + sizes


def text_families() -> list[Family]:
    """BERT."""

    def build_reference() -> Any:
        import transformers

        config = BertConfig(vocabulary=40, width=32, depth=3, heads=4, mlp_width=48, positions=24).to_hf()
        return drawn(transformers.BertModel(transformers.BertConfig(**config)))

    def build_ours(theirs: Any) -> Bert:
        config = BertConfig.from_hf(theirs.config.to_dict())
        ours = Bert(config).eval()
        ours.load_state_dict(bert_names(theirs.state_dict(), config))
        return ours

    def ids() -> Tensor:
        return torch.randint(1, 40, (3, 11), generator=torch.Generator().manual_seed(1))

    def run_reference(theirs: Any, given: Tensor) -> Outputs:
        out = theirs(input_ids=given)
        return {"tokens": out.last_hidden_state, "pooled": out.pooler_output}

    def run_ours(ours: Bert, given: Tensor) -> Outputs:
        hidden = ours(given)
        return {"tokens": hidden, "pooled": ours.pooled(hidden)}

    return [Family("BERT", "transformers.BertModel", build_reference, build_ours, ids, run_reference, run_ours)]


def cnn_families() -> list[Family]:
    """EfficientNet-Lite 0 to 4, unfused; needs `efficientnet_lite_pytorch`."""
    return [_lite(variant) for variant in range(5)]


def _lite(variant: int) -> Family:
    def build_reference() -> Any:
        import efficientnet_lite_pytorch as package

        return drawn(package.EfficientNet.from_name(f"efficientnet-lite{variant}", num_classes=10, image_size=64))

    def build_ours(theirs: Any) -> EfficientNet:
        config = EfficientNetConfig.lite(variant, classes=10)
        ours = EfficientNet(config).eval()
        ours.load_state_dict(from_reference_names(theirs.state_dict(), config))
        return ours

    def run_ours(ours: EfficientNet, given: Tensor) -> Outputs:
        features = ours(given)
        return {"features": features, "logits": ours.classify(features)}

    return Family(
        f"EfficientNet-Lite{variant}",
        "efficientnet_lite_pytorch.EfficientNet",
        build_reference,
        build_ours,
        lambda: pixels(64, 64),
        lambda theirs, given: {"features": theirs.extract_features(given), "logits": theirs(given)},
        run_ours,
    )
