"""`nano` as it is trained: frozen towers, fresh (or given) connectors, adapter and heads; and back to the files that ship."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sensorium.fusion.projector import MLPProjector
from sensorium.fusion.resampler import Resampler
from sensorium.heads.embedding import EmbeddingHead, ResidualMap
from sensorium.model import checkpoint
from sensorium.model.config import Projector
from sensorium.model.config import Resampler as ResamplerLink
from sensorium.model.multimodal import MultimodalLM
from sensorium.model.nano import assemble
from sensorium.model.presets import Trained
from sensorium.nn.lora import LoraConfig, adapted, add_lora
from sensorium.nn.peft import PREFIX

FILES = {"image": "connectors.image.", "adapter": PREFIX, "audio": "connectors.audio.", "retrieval": "dual."}
"""Which tensors stand in which file `nano-<name>.safetensors`."""
EMBED_RMS = 0.136
"""Root mean square of SmolLM2's token embeddings: what the connectors' last norm starts from."""
WEIGHTS = Path(str(files("sensorium.model"))) / "weights"


def start(work: Path, seed: int = 0) -> MultimodalLM:
    """`nano` with fresh weights in everything that is trained; its shapes are those of `weights/nano.json`."""
    folder = work / "start"
    if not (folder / "nano.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        shapes = Trained.model_validate_json((WEIGHTS / "nano.json").read_bytes())
        torch.manual_seed(seed)
        write(folder, fresh(shapes), shapes)
    return checkpoint.load(assemble(work, trained=folder))


def fresh(shapes: Trained) -> dict[str, Tensor]:
    """Random weights by their shipped names; the adapter and the text map change nothing yet."""
    image, audio = shapes.connectors["image"], shapes.connectors["audio"]
    assert isinstance(image, Projector)
    assert isinstance(audio, ResamplerLink)
    assert shapes.adapter is not None
    modules: dict[str, nn.Module] = {
        "connectors.image.": MLPProjector(image.config),
        "connectors.audio.": Resampler(audio.config),
    }
    for module in modules.values():
        nn.init.constant_(module.get_parameter("norm_out.weight"), EMBED_RMS)
    modules["dual.image_head."] = EmbeddingHead(shapes.image_head)
    if shapes.text_map is not None:
        modules["dual.text_head."] = ResidualMap(shapes.image_head.dim_out, shapes.text_map)
    tensors = {prefix + name: tensor for prefix, module in modules.items() for name, tensor in module.state_dict().items()}
    return tensors | _fresh_adapter(shapes.adapter)


def write(folder: Path, tensors: Mapping[str, Tensor], shapes: Trained | None = None) -> None:
    """`nano-*.safetensors` in half precision, those for which tensors are given; and `nano.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, prefix in FILES.items():
        own = {key: tensor.detach().half().contiguous() for key, tensor in tensors.items() if key.startswith(prefix)}
        if own:
            save_file(own, folder / f"nano-{name}.safetensors")
    if shapes is not None:
        (folder / "nano.json").write_text(json.dumps(shapes.model_dump(mode="json"), indent=2) + "\n", "utf-8")


def trainable(module: nn.Module, prefix: str) -> dict[str, nn.Parameter]:
    """The parameters of a module, from now on trained, named with a prefix. Weights mapped from a file become our own."""
    module.requires_grad_(True).train()
    for parameter in module.parameters():
        parameter.data = parameter.data.clone()
    return {prefix + name: parameter for name, parameter in module.named_parameters()}


def adapter_of(model: MultimodalLM) -> dict[str, nn.Parameter]:
    """The adapter's parameters, from now on trained, in fp32, under PEFT's names."""
    found: dict[str, nn.Parameter] = {}
    for name, layer in adapted(model.decoder).items():
        layer.train()
        for part in ("lora_A", "lora_B"):
            parameter = layer.get_parameter(part)
            parameter.data = parameter.data.float().clone()
            found[f"{PREFIX}{name}.{part}.weight"] = parameter.requires_grad_(True)
    return found


def _fresh_adapter(config: LoraConfig) -> dict[str, Tensor]:
    wide, narrow, inner = 576, 192, 1536
    sizes = {"q_proj": (wide, wide), "k_proj": (wide, narrow), "v_proj": (wide, narrow), "o_proj": (wide, wide)}
    sizes |= {"gate_proj": (wide, inner), "up_proj": (wide, inner), "down_proj": (inner, wide)}
    tensors: dict[str, Tensor] = {}
    for layer in range(30):
        for name, (dim_in, dim_out) in sizes.items():
            block = nn.Sequential(nn.Linear(dim_in, dim_out, bias=False))
            add_lora(block, LoraConfig(config.r, config.alpha, targets=("0",)))
            path = f"{PREFIX}layers.{layer}.{'self_attn' if name[0] in 'qkvo' else 'mlp'}.{name}"
            for key, tensor in block.state_dict().items():
                if "lora" in key:
                    tensors[f"{path}.{key.removeprefix('0.')}.weight"] = tensor
    return tensors
