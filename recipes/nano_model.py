"""`nano` as it is trained: frozen towers, given or fresh connectors, adapter and heads; and back to the files that ship."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sensorium.model import checkpoint
from sensorium.model.multimodal import MultimodalLM
from sensorium.model.nano import assemble
from sensorium.model.presets import Trained
from sensorium.nn.lora import adapted
from sensorium.nn.peft import PREFIX

FILES = {"image": "connectors.image.", "adapter": PREFIX, "audio": "connectors.audio.", "retrieval": "dual."}
"""Which tensors stand in which file `nano-<name>.safetensors`."""
EMBED_RMS = 0.136
"""Root mean square of SmolLM2's token embeddings: what the connectors' last norm starts from."""
WEIGHTS = Path(str(files("sensorium.model"))) / "weights"


def start(work: Path, shapes: Trained, make: Callable[[Trained], Mapping[str, Tensor]], seed: int = 0) -> MultimodalLM:
    """`nano` in these shapes, with fresh weights, which `make` makes, in everything that is trained."""
    folder = work / "start"
    if not (folder / "nano.json").is_file():
        torch.manual_seed(seed)
        write(folder, make(shapes), shapes)
    return checkpoint.load(assemble(work, trained=folder))


def write(folder: Path, tensors: Mapping[str, Tensor], shapes: Trained | None = None) -> None:
    """`nano-*.safetensors` in half precision, those for which tensors are given; and `nano.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, prefix in FILES.items():
        own = {key: tensor.detach().half().contiguous() for key, tensor in tensors.items() if key.startswith(prefix)}
        if own:
            save_file(own, folder / f"nano-{name}.safetensors")
    if shapes is not None:
        (folder / "nano.json").write_text(json.dumps(shapes.model_dump(mode="json"), indent=2) + "\n", "utf-8")


def ship(trained: Path, out: Path) -> bool:
    """Copy the files that ship if all of them are there: parts of two trainings do not fit together."""
    names = ["nano.json", *(f"nano-{name}.safetensors" for name in FILES)]
    whole = all((trained / name).is_file() for name in names)
    if whole and trained != out:
        out.mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copyfile(trained / name, out / name)
    return whole


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
