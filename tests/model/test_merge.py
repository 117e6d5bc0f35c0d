"""A merged checkpoint answers as the model with its adapter does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sensorium.errors import CheckpointError
from sensorium.model import checkpoint
from sensorium.model.merge import merge_adapter
from sensorium.model.multimodal import MultimodalLM
from sensorium.model.presets import tiny
from sensorium.nn.lora import LoraConfig, adapted, add_lora
from sensorium.nn.peft import save_adapter

IDS = torch.randint(3, 200, (2, 9), generator=torch.Generator().manual_seed(1))


def logits(model: MultimodalLM) -> torch.Tensor:
    with torch.no_grad():
        return model.decoder.logits(model.decoder(model.decoder.embed(IDS)))


@pytest.mark.parametrize("dora", [False, True])
def test_one_folder_with_the_same_logits(dora: bool, tmp_path: Path) -> None:
    model = tiny()
    checkpoint.save(model, tmp_path / "base")
    plain = logits(model)
    add_lora(model.decoder, LoraConfig(r=4, targets=("q_proj", "down_proj"), dora=dora))
    for layer in adapted(model.decoder).values():
        torch.nn.init.normal_(layer.lora_B, std=0.3)
    save_adapter(model.decoder, tmp_path / "adapter")
    before = (tmp_path / "base" / "model.safetensors").read_bytes()
    merge_adapter(tmp_path / "base", tmp_path / "adapter", tmp_path / "merged")
    merged = checkpoint.load(tmp_path / "merged")
    assert not adapted(merged.decoder)
    assert (logits(model) - plain).abs().max() > 1e-3
    assert (logits(merged) - logits(model)).abs().max() <= 1e-4
    assert (tmp_path / "base" / "model.safetensors").read_bytes() == before


def test_a_model_with_an_adapter_of_its_own_is_refused(tmp_path: Path) -> None:
    checkpoint.save(tiny(adapter=True), tmp_path / "base")
    with pytest.raises(CheckpointError, match="has an adapter of its own, which works on rows with pictures only"):
        merge_adapter(tmp_path / "base", tmp_path / "adapter", tmp_path / "merged")
