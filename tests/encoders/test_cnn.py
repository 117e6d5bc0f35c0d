"""EfficientNet-Lite: its names, numbers of our own that pin it, its fused form, and the encoder around it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sensorium.batch import Modality
from sensorium.encoders import cnn
from sensorium.encoders.cnn import (
    EfficientNet,
    EfficientNetConfig,
    EfficientNetEncoder,
    from_reference_names,
    to_reference_names,
)
from sensorium.encoders.processing import ImageProcessing
from sensorium.errors import CheckpointError, RequestError
from sensorium.media.image import Picture
from sensorium.nn.trace import Trace

from .families import drawn


def network(variant: int = 0, classes: int = 10) -> EfficientNet:
    found = drawn(EfficientNet(EfficientNetConfig.lite(variant, classes)))
    assert isinstance(found, EfficientNet)
    return found


def pixels(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


def reference() -> Any:
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="the reference package is not installed")
    return drawn(package.EfficientNet.from_name("efficientnet-lite0", num_classes=10, image_size=64))


def test_names_go_back_to_the_reference() -> None:
    theirs, config = reference(), EfficientNetConfig.lite(0, classes=10)
    state = theirs.state_dict()
    back = to_reference_names(from_reference_names(state, config), config)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_a_strange_or_missing_tensor_is_refused() -> None:
    config = EfficientNetConfig.lite(0, classes=0)
    state = to_reference_names(EfficientNet(config).state_dict(), config)
    assert EfficientNet(config).load_state_dict(from_reference_names(state | {"_fc.bias": torch.zeros(1)}, config))
    with pytest.raises(CheckpointError, match="the state also holds 1 tensors: stem"):
        from_reference_names(state | {"stem": torch.zeros(1)}, config)
    del state["_conv_stem.weight"]
    with pytest.raises(CheckpointError, match=r"the state lacks 1 tensors: _conv_stem\.weight"):
        from_reference_names(state, config)


def test_numbers_of_our_own_stay() -> None:
    """Pins the network where the reference is not installed; the numbers are the reference's own for these weights."""
    with torch.no_grad():
        features = network().double()(pixels(1, 3, 65, 96).double())
    assert features.shape == (1, 1280, 3, 3)
    numbers = [features.mean(), features.std(), *features.mean(1)[0, :, 0], features.mean(1)[0, 2, 2]]
    assert [float(number) for number in numbers] == pytest.approx(
        [1.91824, 2.42173, 1.78492, 2.02907, 1.88097, 1.85946], abs=1e-3
    )


def test_fusing_changes_nothing_and_its_state_loads() -> None:
    plain = network().double()
    shown = pixels(2, 3, 64, 64).double()
    with torch.no_grad():
        wanted = plain(shown)
        fused = plain.fuse()
        assert fused.config.fused
        torch.testing.assert_close(fused(shown), wanted, atol=1e-9, rtol=0)
        again = EfficientNet(fused.config).double().eval()
        again.load_state_dict(fused.state_dict())
        assert torch.equal(again(shown), fused(shown))
    assert not any("norm" in name for name in fused.state_dict())


def test_the_fast_call_equals_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    fused, shown = network().fuse(), pixels(1, 3, 64, 64)
    with torch.no_grad():
        fast = fused(shown)
        monkeypatch.setattr(cnn, "_one_call", lambda _: False)
        torch.testing.assert_close(fast, fused(shown), atol=2e-3, rtol=0)  # of 0..6; random weights magnify


def test_gradients_flow_through_a_fused_network() -> None:
    shown = pixels(1, 3, 32, 32).requires_grad_()
    network().fuse()(shown).sum().backward()
    assert shown.grad is not None
    assert shown.grad.abs().max() > 0


def test_encoder_gives_the_grid_row_by_row() -> None:
    encoder = EfficientNetEncoder(network(), ImageProcessing(size=(64, 96)))
    picture = Picture(torch.randint(0, 256, (3, 50, 40), dtype=torch.uint8), "drawn", 40, 50)
    (piece,) = encoder.prepare(picture)
    assert piece.modality is Modality.IMAGE
    assert piece.tensor is not None
    assert piece.grid == encoder.grid(piece.tensor) == (2, 3)
    assert piece.extent == (0.0, 0.0, 1.0, 1.0)
    with torch.no_grad():
        features = encoder([piece.tensor])
        wanted = encoder.spatial(piece.tensor[None])
    assert features.x_BTD.shape == (1, 6, 1280)
    assert features.valid_BT.all()
    torch.testing.assert_close(features.x_BTD[0, 4], wanted[0, :, 1, 1])
    torch.testing.assert_close(encoder.classify([piece.tensor]), encoder.network.classify(wanted), atol=1e-3, rtol=0)


def test_pictures_of_unequal_size_keep_their_rows() -> None:
    encoder = EfficientNetEncoder(network())
    media = [pixels(3, 64, 64), pixels(3, 32, 64), pixels(3, 64, 64) + 1]
    with torch.no_grad():
        features = encoder(media)
        assert features.valid_BT.sum(1).tolist() == [4, 2, 4]
        for row, tensor in enumerate(media):
            alone = encoder([tensor]).x_BTD[0]
            torch.testing.assert_close(features.x_BTD[row, : len(alone)], alone, atol=2e-3, rtol=0)
    assert not features.x_BTD[1, 2:].any()


def test_tiles_become_pieces_with_their_extents() -> None:
    encoder = EfficientNetEncoder(network(), ImageProcessing(size=(32, 32), tiles=2))
    pieces = encoder.prepare(Picture(torch.zeros(3, 64, 128, dtype=torch.uint8), "drawn", 128, 64))
    assert [piece.extent for piece in pieces] == [(0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 0.5), (0.0, 0.5, 1.0, 1.0)]


def test_layers_can_be_traced() -> None:
    trace = Trace(["encoder.image.15.hidden"])
    with torch.no_grad():
        EfficientNetEncoder(network())([pixels(3, 64, 64)], trace)
    assert trace.result()["encoder.image.15.hidden"].shape == (1, 320, 2, 2)


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(RequestError, match=r"EfficientNet-Lite5: is not known\. Use a variant from 0 to 4"):
        EfficientNetConfig.lite(5)
    with pytest.raises(RequestError, match=r"has no classifier\. Build it with classes=1000"):
        network(classes=0).classify(torch.zeros(1, 1280, 1, 1))
