"""The dual encoder's recipe, from captions to a folder that finds pictures by words."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sensorium.data.row import Row
from sensorium.data.synthetic import World
from sensorium.errors import DataError
from sensorium.model.pair import Pair
from sensorium.parts import Message, Sample, Text
from sensorium.training.recipe import execute
from sensorium.training.shown import LayShown, blind_shown, join_shown

SMALL = [
    *(
        "data.train=synthetic:captions",
        "data.rows=8",
        "data.judge=8",
        "data.pixels=32",
        "data.scenes=64",
        "training.precision=fp32",
    ),
    *("training.steps=3", "training.evaluate_every=0"),
]
FRESH = ["fresh.size=32", "fresh.patch=16", "fresh.width=32", "fresh.depth=1", "fresh.words=64"]


def test_the_recipe_trains_evaluates_sighted_and_blind_and_writes_a_model(tmp_path: Path) -> None:
    outcome = execute("search", [*SMALL, *FRESH, "chunk=4"], tmp_path / "run")["main"]
    assert outcome.steps == 3
    assert {"loss", "found", "crowded"} <= outcome.last.keys()
    model = Pair.load(tmp_path / "run" / "model")
    assert model.texts(["A red circle."]).shape == (1, 32)
    again = execute("search", [*SMALL, f"model={tmp_path / 'run' / 'model'}", "form=sigmoid", "trim=0.2"], tmp_path / "more")
    assert again["main"].steps == 3


def test_rows_become_pictures_with_captions_and_what_lacks_one_is_said() -> None:
    torch.manual_seed(0)
    from sensorium.model.pair import tiny_dual

    lay = LayShown(tiny_dual(["a"], size=32, width=32, depth=1))
    samples = World(size=32).samples(2)
    batch = join_shown([lay(Row(sample, "world", number + 1)) for number, sample in enumerate(samples)])
    assert batch.pixels_PCHW.shape == (2, 3, 32, 32)
    assert list(batch.texts) == [sample.messages[1].parts[0].text for sample in samples]  # type: ignore[union-attr]
    swapped = blind_shown(batch, "swapped")
    assert swapped is not None and torch.equal(swapped.pixels_PCHW[0], batch.pixels_PCHW[1])
    picture = samples[0].messages[0]
    with pytest.raises(DataError, match="world, row 3: has no caption. Give it an answer, the caption of its picture"):
        lay(Row(Sample("s", (picture,)), "world", 3))
    with pytest.raises(DataError, match="world, row 4: has no picture. Use rows of pictures with captions"):
        lay(Row(Sample("s", (Message("assistant", (Text("A star."),)),)), "world", 4))
