"""Connectors of the shapes that `nano` has, for tests without the trained weights."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from sensorium.batch import Modality
from sensorium.fusion.projector import MLPProjector, ProjectorConfig
from sensorium.fusion.resampler import Resampler, ResamplerConfig
from sensorium.heads.embedding import EmbeddingConfig, EmbeddingHead, ResidualMap
from sensorium.model import config
from sensorium.model.presets import Trained


def trained_shapes() -> Trained:
    image = ProjectorConfig(dim_in=1280, dim_out=576, hidden=64, pool="adaptive", size=5, grid_in=(7, 7), norm_out="rms")
    audio = ResamplerConfig(dim_in=384, dim_out=576, dim=64, queries=8, layers=1, heads=2, head_dim=32, hidden=64)
    return Trained(
        connectors={
            Modality.IMAGE: config.Projector(config=image),
            Modality.VIDEO: config.Shared(modality=Modality.IMAGE),
            Modality.AUDIO: config.Resampler(config=audio),
        },
        adapter=None,
        image_head=EmbeddingConfig(dim_in=1280, dim_out=384, queries=1, dim=16, hidden=16),
        text_map=16,
        max_tokens=64,
    )


def write_trained(folder: Path) -> Path:
    """`nano.json` and random tensors of these shapes, in half precision as they ship."""
    shapes = trained_shapes()
    image, audio = shapes.connectors[Modality.IMAGE], shapes.connectors[Modality.AUDIO]
    assert isinstance(image, config.Projector)
    assert isinstance(audio, config.Resampler)
    assert shapes.text_map is not None
    torch.manual_seed(0)
    parts: dict[str, nn.Module] = {
        "connectors.image": MLPProjector(image.config),
        "connectors.audio": Resampler(audio.config),
        "dual.image_head": EmbeddingHead(shapes.image_head),
        "dual.text_head": ResidualMap(384, shapes.text_map),
    }
    tensors = {f"{name}.{leaf}": tensor.half() for name, part in parts.items() for leaf, tensor in part.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nano.json").write_text(shapes.model_dump_json(indent=2))
    save_file(tensors, folder / "nano-connectors.safetensors")
    return folder
