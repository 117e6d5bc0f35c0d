from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.batch import Features, Modality
from sensorium.errors import CheckpointError, RequestError, SensoriumError
from sensorium.model import config as said
from sensorium.model.build import build
from sensorium.model.config import Config
from sensorium.model.multimodal import MultimodalLM
from sensorium.model.presets import tiny_blueprint
from sensorium.model.tensors import own_tensors
from sensorium.nn.lora import adapted
from sensorium.parts import Message, Sample, Text

IMAGE, AUDIO = Modality.IMAGE, Modality.AUDIO


def row(**changes: Any) -> dict[str, Any]:
    return tiny_blueprint(**changes).config.to_json()


def built(row_: dict[str, Any], **changes: Any) -> MultimodalLM:
    torch.manual_seed(0)
    return build(replace(tiny_blueprint(**changes), config=Config.from_json(row_)))


def changed(path: str, value: Any, **changes: Any) -> dict[str, Any]:
    whole = row(**changes)
    *way, last = path.split(".")
    place = whole
    for step in way:
        place = place[step]
    assert place[last] != value, f"{path} is {value!r} already"
    place[last] = value
    return whole


def shapes(model: MultimodalLM) -> dict[str, Any]:
    return {name: tuple(tensor.shape) for name, tensor in own_tensors(model).items()}


def seen(model: MultimodalLM) -> list[float]:
    """What the image encoder gives for a fixed picture."""
    with torch.no_grad():
        features: Features = model.encoders["image"]([torch.linspace(0, 1, 3 * 32 * 32).reshape(3, 32, 32)])
    return [float(value) for value in features.x_BTD.flatten()[:20]]


def filled(model: MultimodalLM) -> int:
    sample = Sample("s", (Message("user", (Text("a"),)), Message("user", (Text("bbb"),))))
    short = Sample("t", (Message("user", (Text("a"),)),))
    return int(model.batch([sample, short]).ids_BL[1, -1])


CHANGES: dict[str, tuple[Any, Callable[[MultimodalLM], Any]]] = {
    "language.inner_dim": (40, shapes),
    "encoders.image.config.depth": (3, shapes),
    "encoders.image.layer": (-2, seen),
    "encoders.image.norm": (False, seen),
    "encoders.video.config.time": ("learned", shapes),
    "encoders.audio.config.layers": (1, shapes),
    "connectors.image.config.hidden": (20, shapes),
    "connectors.audio.config.queries": (5, shapes),
    "connectors.video": ({"kind": "projector", "config": {"dim_in": 24, "dim_out": 32}}, shapes),
    "dual": (None, shapes),
    "dual.text.config.depth": (1, shapes),
    "dual.text.window": (32, lambda model: model.dual.text.window),
    "dual.image_head.hidden": (8, shapes),
    "dual.text_map": (None, shapes),
    "speech": (None, shapes),
    "speech.config.layers": (1, shapes),
    "speech.tokens.end": (259, lambda model: model.speech.tokens),
    "filler": (7, filled),
    "policy.frames": (3, lambda model: model.reader.policy),
}


@pytest.mark.parametrize("path", CHANGES)
def test_every_field_is_read_by_something(path: str) -> None:
    value, view = CHANGES[path]
    assert view(built(row())) != view(built(changed(path, value)))


def test_crossings_and_adapter_are_read() -> None:
    crossed = built(changed("crossings.before", [0], cross_attention=True), cross_attention=True)
    assert list(crossed.crossings) == ["0"]
    assert crossed.reader.spliced is False
    wide = built(changed("adapter.r", 7, adapter=True), adapter=True)
    assert {layer.lora_A.shape[0] for layer in adapted(wide.decoder).values()} == {7}
    assert not adapted(built(changed("adapter", None, adapter=True), adapter=True).decoder)


def test_the_list_above_knows_every_field() -> None:
    elsewhere = {
        "format",
        "model_type",
        "architectures",
        "crossings",
        "adapter",
        "quantize",
    }  # tested here and in test_checkpoint
    assert {path.split(".")[0] for path in CHANGES} | elsewhere == set(Config.model_fields)
    for kind in (said.ViTTower, said.VideoTower):
        assert set(kind.model_fields) - {"kind"} <= {path.split(".")[2] for path in CHANGES if path.startswith("encoders.")}
    assert set(said.Dual.model_fields) == {path.split(".")[1] for path in CHANGES if path.startswith("dual.")}
    assert set(said.Speech.model_fields) == {path.split(".")[1] for path in CHANGES if path.startswith("speech.")}


def test_json_goes_there_and_back() -> None:
    for kind in ({}, {"cross_attention": True}, {"adapter": True}):
        config = tiny_blueprint(**kind).config  # type: ignore[arg-type]
        assert Config.from_json(config.to_json()) == config


def drop(whole: dict[str, Any], modality: str) -> None:
    del whole["encoders"][modality], whole["connectors"][modality]


REFUSED = {
    "unknown field": (lambda whole: whole.update(colour="red"), "colour: Extra inputs"),
    "unknown field within a shape": (lambda whole: whole["language"].update(colour=1), "language.colour"),
    "missing field": (lambda whole: whole["language"].pop("dim"), "language.dim"),
    "another architecture": (lambda whole: whole.update(architectures=["LlamaForCausalLM"]), "architectures"),
    "unknown kind": (lambda whole: whole["encoders"]["image"].update(kind="gan"), "'gan' found"),
    "unknown modality": (lambda whole: whole["encoders"].update(smell=whole["encoders"]["image"]), "encoders.smell"),
    "an encoder alone": (lambda whole: whole["connectors"].pop("audio"), "not of the same modalities"),
    "filler beyond the vocabulary": (lambda whole: whole.update(filler=512), "filler 512 is beyond the vocabulary of 512"),
    "a width that does not fit": (lambda whole: whole["connectors"]["image"]["config"].update(dim_out=31), "gives width 31"),
    "an encoder's width": (lambda whole: whole["connectors"]["image"]["config"].update(dim_in=23), "takes width 23"),
    "clips without pictures": (lambda whole: drop(whole, "image"), "image"),
    "a share of nothing": (lambda whole: whole["connectors"]["video"].update(modality="video"), "not there"),
    "speech without ears": (
        lambda whole: (whole["encoders"].pop("audio"), whole["connectors"].pop("audio")),
        "whisper encoder",
    ),
    "not a number": (lambda whole: whole["language"].update(norm_eps=float("nan")), "is not plain JSON"),
    "quantised to nonsense": (lambda whole: whole.update(quantize="int2"), "quantize"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_by_name(name: str) -> None:
    spoil, words = REFUSED[name]
    whole = row()
    spoil(whole)
    with pytest.raises(CheckpointError, match=r"config\.json: (has|is)") as error:
        Config.from_json(whole)
    assert words in str(error.value)


def test_crossings_beyond_the_layers_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"crossings \(2,\) are not all before one of 2 layers"):
        Config.from_json(changed("crossings.before", [2], cross_attention=True))


def test_other_formats_and_other_models_are_refused_with_the_remedy() -> None:
    with pytest.raises(CheckpointError, match=r"has format 2, this version reads 1\. Use the version"):
        Config.from_json(changed("format", 2))
    with pytest.raises(CheckpointError, match=r"'llama' model.*sensorium models convert"):
        Config.from_json({"model_type": "llama"})


def test_a_blueprint_without_its_processing_or_tokenizers_is_refused() -> None:
    blueprint = tiny_blueprint()
    for name, file in (
        ("processing", "preprocessor_config"),
        ("text_tokenizer", "text_tokenizer"),
        ("speech_tokenizer", "speech_"),
    ):
        with pytest.raises(CheckpointError, match=file):
            build(replace(blueprint, **{name: None}))  # type: ignore[arg-type]


def test_layers_beyond_the_vision_tower_are_refused() -> None:
    with pytest.raises(RequestError, match="vision layer 9"):
        built(changed("encoders.image.layer", 9))


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path into a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way, *(path for key, item in inner for path in places(item, (*way, key)))]


PLACES = places(row(adapter=True))[1:]
JSON = st.one_of(st.none(), st.booleans(), st.integers(-3, 600), st.floats(), st.text(max_size=4), st.just([]), st.just({}))


@settings(max_examples=200, deadline=None)
@given(place=st.sampled_from(PLACES), value=JSON)
def test_any_value_anywhere_is_read_or_refused(place: tuple[Any, ...], value: Any) -> None:
    whole = row(adapter=True)
    holder = whole
    for step in place[:-1]:
        holder = holder[step]
    holder[place[-1]] = value
    try:
        config = Config.from_json(whole)
    except SensoriumError:
        return
    assert Config.from_json(config.to_json()).to_json() == config.to_json()
