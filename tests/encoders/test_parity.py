"""Every encoder family equals its reference at toy size."""

from __future__ import annotations

import pytest

from .families import Family, cnn_families, text_families, vision_families


def _named(families: list[Family]) -> list[object]:
    return [pytest.param(family, id=family.name.replace(" ", "-")) for family in families]


@pytest.mark.parametrize("family", _named([*vision_families(), *text_families()]))
def test_equals_transformers(family: Family) -> None:
    pytest.importorskip("transformers")
    differences = family.differences()
    assert differences.keys() >= {"tokens"}
    assert max(differences.values()) <= 1e-5, differences


@pytest.mark.parametrize("family", _named(cnn_families()))
def test_equals_the_efficientnet_package(family: Family) -> None:
    pytest.importorskip("efficientnet_lite_pytorch", reason="the reference package is not installed")
    differences = family.differences()
    assert differences.keys() == {"features", "logits"}
    assert max(differences.values()) <= 1e-4, differences


def test_the_toys_are_not_trivial() -> None:
    pytest.importorskip("transformers")
    for family in [*vision_families(), *text_families()]:
        theirs = family.build_reference()
        outputs = family.run_reference(theirs, family.inputs())
        assert all(tensor.std() > 0.01 for tensor in outputs.values()), family.name
