"""What is exported is what was trained, or it is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sensorium.batch import Modality
from sensorium.data.synthetic import World
from sensorium.errors import CheckpointError, RequestError
from sensorium.model import checkpoint
from sensorium.model.presets import tiny
from sensorium.nn.lora import adapted
from sensorium.training import gate
from sensorium.training.start import Adapter, fresh_adapter, fresh_connector, open_model


def test_a_model_is_written_read_back_and_carries_its_card(tmp_path: Path) -> None:
    model = open_model("tiny", words=False)
    card = gate.card_of("tiny", "mine", {"held loss": "1.5", "steps": 3}, "# tiny\n")
    gate.export(model, tmp_path / "model", card, [World(0, 32).samples(1)[0]])
    again = checkpoint.load(tmp_path / "model")
    assert again.blueprint is not None
    assert "| held loss | 1.5 |" in again.blueprint.card
    assert "## Begun from: tiny\n\n# tiny" in again.blueprint.card
    assert again.reader.policy.words_in_images is False


def test_a_model_that_reads_back_differently_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoiled(folder: Path) -> object:
        model = checkpoint_load(folder)
        with torch.no_grad():
            model.decoder.layers[0].mlp.down_proj.weight.mul_(1.5)
        return model

    checkpoint_load = checkpoint.load
    monkeypatch.setattr(gate.checkpoint, "load", spoiled)
    with pytest.raises(CheckpointError, match="differs from the trained one in the logits of conversation text, by"):
        gate.export(tiny(), tmp_path / "model", "")
    assert not (tmp_path / "model").exists()
    assert (tmp_path / "model.refused" / "config.json").is_file()


def test_another_template_is_seen() -> None:
    one, two = tiny(), tiny()
    two.layout.template += " "
    with pytest.raises(CheckpointError, match="in its chat template"):
        gate.compare(one, two, [])


def test_a_fresh_connector_is_new_and_a_fresh_adapter_changes_nothing(tmp_path: Path) -> None:
    model, other = tiny(), tiny()
    fresh_connector(model, Modality.IMAGE, seed=3)
    before, after = (one.connectors["image"].get_parameter("linear_1.weight") for one in (other, model))
    assert before.shape == after.shape
    assert not torch.equal(before, after)
    assert model.connectors["video"] is model.connectors["image"]
    with pytest.raises(RequestError, match="is that of image"):
        fresh_connector(model, Modality.VIDEO, 0)
    samples = [World(0, 32).samples(1)[0]]
    for one in (model, other):
        one.reader = replace(one.reader, policy=replace(one.reader.policy, words_in_images=False))
    batch = model.batch(samples)
    plain = model(batch).hidden_BLD
    fresh_adapter(model, Adapter(r=2, targets=("q_proj",)))
    assert torch.allclose(model(batch).hidden_BLD, plain, atol=1e-6)
    gate.export(model, tmp_path / "model", "", samples)
    assert len(adapted(checkpoint.load(tmp_path / "model").decoder)) == 2
    with pytest.raises(RequestError, match="is there already"):
        fresh_adapter(model, Adapter())
