"""Clips: each frame as a picture, pooled in space, marked with its time."""

from __future__ import annotations

import pytest
import torch

from sensorium.batch import Modality
from sensorium.encoders.processing import ImageProcessing
from sensorium.encoders.video import VideoConfig, VideoEncoder
from sensorium.encoders.vit import ViT, ViTConfig, ViTEncoder
from sensorium.errors import RequestError
from sensorium.media.video import Clip
from sensorium.nn.trace import Trace

from .families import drawn


def encoder(config: VideoConfig | None = None) -> VideoEncoder:
    network = drawn(ViT(ViTConfig("dinov2", 32, 2, 4, 128, 28, 7)))
    return VideoEncoder(ViTEncoder(network, ImageProcessing(size=(21, 28))), config)


def clip(frames: int = 3, times: tuple[float, ...] = (1.0, 3.0, 5.0), seconds: float = 6.0) -> Clip:
    pixels = torch.randint(0, 256, (frames, 3, 40, 50), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    return Clip(pixels, times, None, seconds, 180, 30.0, "drawn")


def test_frames_are_prepared_and_read_as_pictures() -> None:
    read, shown = encoder(), clip()
    (piece,) = read.prepare(shown)
    assert piece.tensor is not None
    assert piece.modality is Modality.VIDEO
    assert piece.grid == (3, 3, 4)
    assert piece.extent == (0.0, 6.0)
    for frame, prepared in zip(shown.frames_FCHW, piece.tensor, strict=True):
        assert torch.equal(prepared, read.image.processing.view(frame).pixels_CHW)
    with torch.no_grad():
        features = read([piece.tensor])
        wanted = read.image(list(piece.tensor)).x_BTD
    torch.testing.assert_close(features.x_BTD, wanted.flatten(0, 1)[None])


@pytest.mark.parametrize(
    ("times", "extent"), [((2.0, 3.0, 4.0), (1.5, 4.5)), ((0.2, 3.0, 5.9), (0.0, 6.0)), ((3.0,), (0.0, 6.0))]
)
def test_a_piece_says_which_stretch_it_shows(times: tuple[float, ...], extent: tuple[float, float]) -> None:
    (piece,) = encoder().prepare(clip(len(times), times))
    assert piece.extent == extent


def test_pooling_averages_squares_of_each_frame() -> None:
    pooled, plain = encoder(VideoConfig(pool=2)), encoder()
    (piece,) = pooled.prepare(clip())
    assert piece.tensor is not None
    assert piece.grid == (3, 2, 2)
    with torch.no_grad():
        x_TD = plain([piece.tensor]).x_BTD[0].unflatten(0, (3, 3, 4))
        found = pooled([piece.tensor]).x_BTD[0].unflatten(0, (3, 2, 2))
    torch.testing.assert_close(found[1, 0, 1], x_TD[1, 0:2, 2:4].mean((0, 1)))
    torch.testing.assert_close(found[2, 1, 0], x_TD[2, 2:3, 0:2].mean((0, 1)))


@pytest.mark.parametrize("time", ["learned", "sinusoidal"])
def test_time_starts_at_nothing_and_can_be_learned(time: str) -> None:
    timed, plain = encoder(VideoConfig(time=time)), encoder()  # type: ignore[arg-type]
    still = torch.randn(1, 3, 21, 28, generator=torch.Generator().manual_seed(1)).expand(3, -1, -1, -1)
    with torch.no_grad():
        torch.testing.assert_close(timed([still]).x_BTD, plain([still]).x_BTD)
    (weight,) = timed.parameters()
    x_FTD = timed([still]).x_BTD[0].unflatten(0, (3, 12))
    (x_FTD * torch.randn(x_FTD.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    assert weight.grad is not None
    assert weight.grad.any()
    with torch.no_grad():
        weight.copy_(torch.linspace(1, 2, weight.numel()).view(weight.shape))
        x_FTD = timed([still]).x_BTD[0].unflatten(0, (3, 12))
    assert (x_FTD[0] - x_FTD[1]).abs().max() > 1e-3
    moved = x_FTD - plain([still]).x_BTD[0].unflatten(0, (3, 12))
    torch.testing.assert_close(moved[:, 0], moved[:, 11], atol=1e-4, rtol=0)


def test_waves_are_those_of_the_paper() -> None:
    timed = encoder(VideoConfig(time="sinusoidal"))
    still = torch.zeros(3, 3, 21, 28)
    with torch.no_grad():
        before = timed([still]).x_BTD
        torch.nn.init.ones_(timed.strength)  # type: ignore[arg-type]
        wave = (timed([still]).x_BTD - before)[0].unflatten(0, (3, 12))[2, 0]
    angles = 2 / 10_000 ** (torch.arange(0, 32, 2) / 32)
    torch.testing.assert_close(wave[0::2], angles.sin(), atol=1e-5, rtol=0)
    torch.testing.assert_close(wave[1::2], angles.cos(), atol=1e-5, rtol=0)


def test_the_image_tower_keeps_its_weights() -> None:
    read = encoder(VideoConfig(time="learned", frames=4))
    assert list(read.state_dict()) == ["times"]
    assert sum(1 for _ in read.image.parameters()) > 0


def test_clips_of_unequal_length_are_padded() -> None:
    read = encoder()
    media = [torch.randn(2, 3, 21, 28), torch.randn(3, 3, 21, 28)]
    with torch.no_grad():
        features = read(media)
        assert features.valid_BT.sum(1).tolist() == [24, 36]
        torch.testing.assert_close(features.x_BTD[0, :24], read(media[:1]).x_BTD[0], atol=1e-5, rtol=0)


def test_one_clip_can_be_traced_and_several_cannot() -> None:
    read, media = encoder(), [torch.randn(2, 3, 21, 28), torch.randn(2, 3, 21, 28)]
    trace = Trace(["encoder.image.1.hidden"])
    with torch.no_grad():
        read(media[:1], trace)
        assert trace.result()["encoder.image.1.hidden"].shape == (2, 13, 32)
        with pytest.raises(RequestError, match=r"asked of 2 clips. Ask for one clip at a time"):
            read(media, Trace(["encoder.image.1.hidden"]))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(RequestError, match="pools 0 features over 64 frames"):
        VideoConfig(pool=0)
    with pytest.raises(RequestError, match=r"clip: has 3 frames, over the 2 whose times were learned\. Sample fewer frames"):
        encoder(VideoConfig(time="learned", frames=2))([torch.zeros(3, 3, 21, 28)])


def test_groups_are_means_of_neighbouring_frames() -> None:
    grouped, plain = encoder(VideoConfig(groups=2)), encoder()
    (piece,) = grouped.prepare(clip())
    assert piece.tensor is not None
    assert piece.grid == (2, 3, 4)
    with torch.no_grad():
        frames_FTD = plain([piece.tensor]).x_BTD.unflatten(1, (3, 12))[0]
        got_FTD = grouped([piece.tensor]).x_BTD.unflatten(1, (2, 12))[0]
    torch.testing.assert_close(got_FTD, torch.stack([frames_FTD[:2].mean(0), frames_FTD[2]]))


def test_groups_lose_the_times_of_frames_so_both_are_refused() -> None:
    with pytest.raises(RequestError, match="averages frames into 2 groups"):
        VideoConfig(groups=2, time="learned")
