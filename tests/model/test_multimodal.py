"""The model: provenance holds through the forward pass, the adapter touches picture rows only, gates start shut."""

from __future__ import annotations

import io

import pytest
import torch
from PIL import Image as Pillow

from sensorium.errors import RequestError
from sensorium.model.presets import tiny
from sensorium.parts import Image, Message, Sample, Text


def picture(seed: int = 0) -> Image:
    pixels = torch.randint(0, 256, (30, 40, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    file = io.BytesIO()
    Pillow.fromarray(pixels.numpy()).save(file, "PNG")
    return Image(file.getvalue())


def talk(*parts: Image | Text) -> Sample:
    return Sample("s", (Message("user", parts), Message("assistant", (Text("it is"),), learn=True)))


def test_named_intermediates_come_on_request_only() -> None:
    model = tiny()
    batch = model.batch([talk(picture(), Text("what"))])
    names = ("embeds", "encoder.image", "connector.image", "decoder.0.attention", "decoder.1.hidden")
    with torch.no_grad():
        out = model(batch, trace=names)
    assert set(out.trace) == set(names)
    assert out.trace["embeds"].shape == out.hidden_BLD.shape
    assert model(batch).trace == {}


def test_an_unknown_trace_name_is_refused() -> None:
    model = tiny()
    with pytest.raises(RequestError, match=r"decoder\.9"):
        model(model.batch([talk(Text("what"))]), trace=("decoder.9.hidden",))


def test_features_of_a_picture_stand_at_its_placement() -> None:
    model = tiny()
    batch = model.batch([talk(picture(), Text("what")), talk(Text("x"), picture(1), picture(2))])
    with torch.no_grad():
        out = model(batch, trace=("embeds", "connector.image"))
    images = [place for place in batch.placements if place.modality == "image"]
    assert len(images) == 3
    for features_TD, place in zip(out.trace["connector.image"], images, strict=True):
        torch.testing.assert_close(out.trace["embeds"][place.sample, place.start : place.stop], features_TD[: place.length])


def test_features_given_beforehand_give_the_same_hidden_states() -> None:
    from sensorium.nn.trace import Trace

    model = tiny()
    batch = model.batch([talk(picture(), Text("what"))])
    with torch.no_grad():
        torch.testing.assert_close(model(batch, features=model.encode(batch, Trace())).hidden_BLD, model(batch).hidden_BLD)


def test_the_adapter_works_on_picture_rows_and_leaves_text_rows_alone() -> None:
    plain, adapted = tiny(), tiny(adapter=True)
    for name, weight in adapted.decoder.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    missing = adapted.load_state_dict(plain.state_dict(), strict=False).missing_keys
    own = {name for name in missing if "lora_" in name}
    base = {name.replace(".base.", "."): weight for name, weight in adapted.state_dict().items() if name not in own}
    assert base.keys() == plain.state_dict().keys()
    for name, weight in base.items():
        weight.copy_(plain.state_dict()[name])
    samples = [talk(picture(), Text("what")), talk(Text("what is it"))]
    with torch.no_grad():
        a, b = (model(model.batch(samples)).hidden_BLD for model in (plain, adapted))
    text = int(plain.batch(samples).valid_BL[1].sum())
    assert torch.equal(a[1, :text], b[1, :text])
    assert not torch.allclose(a[0], b[0])


def test_with_shut_gates_the_frozen_model_speaks_exactly() -> None:
    model = tiny(cross_attention=True)
    batch = model.batch([talk(picture(), Text("what"))])
    with torch.no_grad():
        crossed = model.decoder.logits(model(batch).hidden_BLD)
        frozen = model.decoder.logits(model.decoder(model.decoder.embed(batch.ids_BL)))
    assert torch.equal(crossed, frozen)


def test_with_open_gates_text_after_the_picture_changes_and_text_before_does_not() -> None:
    model = tiny(cross_attention=True)
    for name, weight in model.crossings.named_parameters():
        if "gate" in name and weight.numel() == 1:
            torch.nn.init.constant_(weight, 0.7)
    first, second = (model.batch([talk(Text("what is it"), picture(seed), Text(" now"))]) for seed in (1, 2))
    (place,) = [place for place in first.placements if place.modality == "image"]
    with torch.no_grad():
        a, b = model(first).hidden_BLD, model(second).hidden_BLD
    assert torch.equal(a[:, : place.start], b[:, : place.start])
    assert not torch.allclose(a[:, place.stop :], b[:, place.stop :])


def test_gradients_reach_the_connector_and_not_the_frozen_parts() -> None:
    model = tiny()
    model.requires_grad_(False)
    model.connectors.requires_grad_(True)
    batch = model.batch([talk(picture(), Text("what"))])
    model.decoder.logits(model(batch).hidden_BLD[batch.learn_BL]).logsumexp(-1).sum().backward()
    assert all(weight.grad is not None for weight in model.connectors["image"].parameters())
    assert all(weight.grad is None for weight in model.decoder.parameters())
