"""The joint recipe, from captions to a folder, and rows as its batches."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sensorium.data.row import Row
from sensorium.data.synthetic import World
from sensorium.encoders.processing import ImageProcessing
from sensorium.encoders.vit_config import ViTConfig
from sensorium.errors import DataError
from sensorium.model.config import ViTTower
from sensorium.model.joint import Joint
from sensorium.model.joint_checkpoint import load
from sensorium.model.joint_config import BlockConfig, JointBlueprint, JointConfig, RegionConfig, SingleStream, word_tokenizer
from sensorium.parts import Message, Sample, Text
from sensorium.training.joint import LayJoint, blind_joint, join_joint
from sensorium.training.recipe import execute

SMALL = [
    *("data.train=synthetic:captions", "data.rows=6", "data.judge=6", "data.pixels=24", "data.scenes=64"),
    *("training.steps=3", "training.evaluate_every=0", "training.precision=fp32"),
]
FRESH = ["size=24", "patch=8", "width=16", "depth=1", "vocabulary=64"]
TERMS = {"masked_language", "masked_region_features", "matching", "word_region", "contrast"}


def test_the_recipe_trains_evaluates_sighted_and_blind_and_writes_a_model(tmp_path: Path) -> None:
    outcome = execute("joint", [*SMALL, *FRESH], tmp_path / "run")["main"]
    assert outcome.steps == 3
    assert outcome.last.keys() >= TERMS
    assert load(tmp_path / "run" / "model").config.streams == SingleStream(depth=1)
    more = [*SMALL, f"model={tmp_path / 'run' / 'model'}", "weights.word_region=0", "weights.contrast=0"]
    assert "word_region" not in execute("joint", more, tmp_path / "more")["main"].last


def test_two_streams_regions_at_boxes_and_tags_are_settings(tmp_path: Path) -> None:
    execute("joint", [*SMALL, *FRESH, "streams=vilbert", "regions=boxes", "tags=true"], tmp_path / "run")
    config = load(tmp_path / "run" / "model").config
    assert (config.streams.kind, config.regions.at, config.tags) == ("vilbert", "boxes", True)


def model(at: str = "cells") -> Joint:
    tokenizer = word_tokenizer([sample.messages[1].parts[0].text for sample in World(size=24).samples(40)])  # type: ignore[union-attr]
    config = JointConfig(
        vocabulary=tokenizer.get_vocab_size(),
        blocks=BlockConfig(width=16, heads=4, mlp_width=16),
        regions=RegionConfig(dim=12, at=at),  # type: ignore[arg-type]
        streams=SingleStream(depth=1),
        image=ViTTower(config=ViTConfig("siglip", 12, 0, 1, 12, image_size=24, patch=8), norm=False),
    )
    return Joint(JointBlueprint(config, tokenizer, ImageProcessing(size=(24, 24))))


@pytest.mark.parametrize("at", ["cells", "boxes"])
def test_rows_side_by_side_are_the_pairs_that_the_model_makes(at: str) -> None:
    made = model(at)
    lay = LayJoint(made)
    samples = World(size=24).samples(3)
    batch = join_joint([lay(Row(sample, "world", number + 1)) for number, sample in enumerate(samples)])
    alone = made.reader([samples[1]], ("assistant",))
    length = alone.ids_BL.shape[1]
    assert torch.equal(batch.words.ids_BL[1, :length], alone.ids_BL[0])
    assert batch.words.valid_BL[1].sum() == length
    assert batch.words.spots[1] == alone.spots[0]
    regions = made.look(batch.views)
    things = [len(samples.scene(index).things) for index in range(3)]
    assert regions.valid_BG.sum(1).tolist() == (things if at == "boxes" else [9] * 3)
    if at == "boxes":
        assert regions.boxes_BGX[0, 0].tolist() == pytest.approx(list(samples.scene(0).things[0].box))
    dark, swapped = blind_joint(batch, "zeroed"), blind_joint(batch, "swapped")
    assert dark is not None
    assert swapped is not None
    assert not any(tensor.any() for view in dark.views for tensor in view.tensors)
    assert torch.equal(swapped.views[0].tensors[0], batch.views[1].tensors[0])


def test_a_row_that_says_nothing_is_named() -> None:
    row = Row(Sample("a", (Message("user", (Text("?"),)),)), "captions.json", 7)
    with pytest.raises(DataError, match="captions.json, row 7: has no caption"):
        LayJoint(model())(row)
