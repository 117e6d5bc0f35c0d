from __future__ import annotations

import time

import pytest
import torch

from sensorium.batch import Modality
from sensorium.model.build import build, build_unfilled
from sensorium.model.presets import nano_config, tiny, tiny_blueprint
from sensorium.parts import Message, Text
from sensorium.protocols import Sampling
from tests.model.nano_shapes import trained_shapes


def test_tiny_is_built_at_once_and_the_same_each_time() -> None:
    tiny()
    start = time.perf_counter()
    model = tiny()
    assert time.perf_counter() - start < 1.0  # 0.03 s on an idle core
    again = tiny()
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), again.parameters(), strict=True))
    assert not torch.equal(model.decoder.embed_tokens.weight, tiny(seed=1).decoder.embed_tokens.weight)


def test_tiny_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    tiny()
    assert torch.equal(torch.rand(3), wanted)


def test_tiny_has_every_tower() -> None:
    model = tiny()
    assert set(model.encoders) == {Modality.IMAGE, Modality.VIDEO, Modality.AUDIO}
    assert model.dual is not None
    assert model.speech is not None
    assert model.connectors["video"] is model.connectors["image"]
    assert sum(parameter.numel() for parameter in model.parameters()) < 250_000


@pytest.mark.parametrize(("vocab", "dim", "layers"), [(300, 16, 1), (512, 32, 3)])
def test_tiny_takes_its_arguments(vocab: int, dim: int, layers: int) -> None:
    model = tiny(vocab, dim=dim, layers=layers, cross_attention=True, adapter=True)
    assert model.decoder.embed_tokens.weight.shape == (vocab, dim)
    assert len(model.decoder.layers) == layers
    assert list(model.crossings) == [str(layers - 1)]
    assert model.switch is not None


def test_an_unfilled_model_has_the_buffers_of_a_filled_one_and_cost_nothing() -> None:
    blueprint = tiny_blueprint(adapter=True)
    filled, unfilled = build(blueprint), build_unfilled(blueprint)
    assert [(name, value.shape, value.requires_grad) for name, value in filled.named_parameters()] == [
        (name, value.shape, value.requires_grad) for name, value in unfilled.named_parameters()
    ]
    assert all(torch.equal(one, other) for one, other in zip(filled.buffers(), unfilled.buffers(), strict=True))


def test_tiny_text_goes_there_and_back() -> None:
    tokenizer = tiny_blueprint().tokenizer
    words = "Zwölf Boxkämpfer, 漢字 and\n\ttabs"
    assert tokenizer.decode(tokenizer.encode(words).ids) == words
    assert tokenizer.encode("<|im_end|>").ids == [2]


def test_nano_has_the_shape_of_its_parts() -> None:
    config = nano_config(trained_shapes())
    assert config.language.dim == 576
    assert config.encoders.keys() == {Modality.IMAGE, Modality.VIDEO, Modality.AUDIO}
    assert config.dual is not None
    assert config.dual.text.config.width == 384


def test_sampling_messages_of_a_toy() -> None:
    from sensorium.model.generate import Assistant

    assistant = Assistant(tiny(), "tiny")
    (answer,) = assistant.answer([[Message("user", (Text("hello"),))]], Sampling(max_tokens=4))
    assert answer.usage.input_tokens > 5
