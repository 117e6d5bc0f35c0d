"""The table of names: stacking, axes of length one, and strictness in both directions."""

from __future__ import annotations

import pytest
import torch

from sensorium.encoders.names import Name, NameMap
from sensorium.errors import CheckpointError

TABLE = NameMap("Toy", (Name("qkv", ("q", "k", "v")), Name("class", ("cls",), leading=2), Name("count", ("steps",))))
THEIRS = {
    "q": torch.zeros(2, 3),
    "k": torch.ones(2, 3),
    "v": torch.full((2, 3), 2.0),
    "cls": torch.arange(4.0).view(1, 1, 4),
    "steps": torch.tensor(7),
}


def test_tensors_are_stacked_and_reshaped() -> None:
    ours = TABLE.from_theirs(THEIRS)
    assert ours["qkv"].tolist() == [[0.0] * 3] * 2 + [[1.0] * 3] * 2 + [[2.0] * 3] * 2
    assert ours["class"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert ours["count"] == 7


def test_the_way_back_is_exact_and_shares_no_memory() -> None:
    ours = TABLE.from_theirs(THEIRS)
    back = TABLE.to_theirs(ours)
    assert back.keys() == THEIRS.keys()
    assert all(torch.equal(back[name], THEIRS[name]) for name in THEIRS)
    back["k"].zero_()
    assert ours["qkv"][2:4].all()


def test_every_tensor_must_have_its_place() -> None:
    with pytest.raises(CheckpointError, match=r"Toy weights: the state also holds 1 tensors: extra\. Check that config\.json"):
        TABLE.from_theirs(THEIRS | {"extra": torch.zeros(1)})
    assert "qkv" in TABLE.from_theirs(THEIRS | {"extra": torch.zeros(1)}, ignored=["ex"])
    with pytest.raises(CheckpointError, match=r"the state lacks 5 tensors: cls, k, q, \.\.\."):
        TABLE.from_theirs({})
    with pytest.raises(CheckpointError, match="the state lacks 3 tensors: class, count, qkv"):
        TABLE.to_theirs({})
