"""Harmed pictures: each harm is what its name and severity say, the same every time, and worse at every step."""

from __future__ import annotations

import colorsys
import io
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from PIL import Image as Pillow
from torch import Tensor

from sensorium.data.synthetic import World
from sensorium.evaluation.stress import field
from sensorium.evaluation.stress.image import HARMS, KINDS, corrupt
from sensorium.evaluation.task import Item
from sensorium.evaluation.variant import media
from sensorium.media.image import decode, encode_png
from sensorium.parts import Audio, Image, Message, Sample, Text

UNSTEADY = ("saturate", "elastic", "snow")
"""The published severities of the first two are two scales, one after the other; of snow the second outdoes the next."""


def scene(index: int = 0, size: int = 96) -> Tensor:
    return torch.from_numpy(World(seed=1, size=size).scene(index).picture()).permute(2, 0, 1)


def clouds(seed: int, size: int = 80) -> Tensor:
    """A picture whose power falls with frequency, as that of the world does."""
    dice = np.random.default_rng(seed)
    planes = [field.plasma(size, size, 1.5, dice) for _ in range(3)]
    return torch.from_numpy(np.rint(np.stack(planes) * 255).astype(np.uint8))


def flat(shade: int, size: int = 224) -> Tensor:
    return torch.full((3, size, size), shade, dtype=torch.uint8)


def signal(clean: Tensor, harmed: Tensor) -> float:
    """Peak signal to noise, in decibels."""
    return float(-10 * ((clean.float() - harmed.float()) / 255).square().mean().clamp(min=1e-9).log10())


def likeness(clean: Tensor, harmed: Tensor) -> float:
    """Signal to noise in decibels where brightness and contrast do not count: from the correlation."""
    share = float(torch.corrcoef(torch.stack([clean.flatten(), harmed.flatten()]).double())[0, 1] ** 2)
    return 10 * math.log10(share / (1 - share))


def item(*parts: Image | Audio | Text) -> Item:
    return Item(Sample("one", (Message("user", parts),)), {})


@settings(max_examples=3, deadline=None)
@given(seed=some.integers(0, 1 << 32))
@pytest.mark.parametrize("kind", [name for name in HARMS if name not in UNSTEADY])
def test_each_level_harms_more_than_the_one_before(kind: str, seed: int) -> None:
    views = [clouds(seed + number) for number in range(3)]
    levels = range(1, 5 if kind == "rotation" else 6)  # a quarter turn shows no grey corners
    told = likeness if kind == "frost" else signal  # which darkens the picture as it lays light on it
    found = [sum(told(view, corrupt(view, kind, level, seed + at)) for at, view in enumerate(views)) for level in levels]
    assert all(after < before + 0.3 for before, after in itertools.pairwise(found)), found
    assert found[-1] < found[0] - 3


@pytest.mark.parametrize("kind", HARMS)
def test_a_harm_keeps_the_shape_is_the_same_each_time_and_changes_something(kind: str) -> None:
    clean = scene(5)[:, :, :80]
    for level in range(1, 6):
        harmed = corrupt(clean, kind, level, seed=7)
        assert harmed.shape == clean.shape and harmed.dtype == torch.uint8
        assert torch.equal(harmed, corrupt(clean, kind, level, seed=7))
        assert not torch.equal(harmed, clean)


def test_noise_has_the_variance_that_its_severity_says() -> None:
    grey = flat(128)
    for level, sigma in enumerate((0.08, 0.12), 1):
        spread = (corrupt(grey, "gaussian-noise", level, 3).float() - 128).std() / 255
        assert float(spread) == pytest.approx(sigma, rel=0.01)
    for level, photons in enumerate((60, 25), 1):
        shot = corrupt(flat(100), "shot-noise", level, 3).float() / 255
        assert float(shot.mean()) == pytest.approx(100 / 255, rel=0.01)
        assert float(shot.var()) == pytest.approx(100 / 255 / photons, rel=0.02)
    for level, share in enumerate((0.03, 0.06, 0.09, 0.17, 0.27), 1):
        salted = corrupt(grey, "impulse-noise", level, 3)
        assert float((salted == 255).float().mean()) == pytest.approx(share / 2, rel=0.06)
        assert float((salted == 0).float().mean()) == pytest.approx(share / 2, rel=0.06)


def test_gaussian_blur_of_an_edge_is_the_error_function() -> None:
    edge = flat(0)
    edge[:, :, 112:] = 255
    for level, sigma in enumerate((1, 2, 3, 4, 6), 1):
        places = torch.arange(224) - 111.5
        wanted = 127.5 * (1 + torch.erf(places / (sigma * 2**0.5)))
        assert torch.allclose(corrupt(edge, "gaussian-blur", level, 0)[1, 100].float(), wanted, atol=2.5)


def test_kernels_sum_to_one_and_a_flat_picture_stays_flat_under_every_blur() -> None:
    for kernel in (field.gaussian(2.5), field.streak(10, 3, 33.0), field.streak(15, 12, -100.0)):
        assert kernel.sum() == pytest.approx(1.0)
    for kind in ("gaussian-blur", "defocus-blur", "motion-blur", "zoom-blur", "pixelate", "contrast"):
        assert (corrupt(flat(90, 60), kind, 5, 1).int() - 90).abs().max() <= 1


def test_a_streak_begins_where_the_pixel_is_and_goes_one_way() -> None:
    kernel = field.streak(5, 3, 0.0)
    middle = len(kernel) // 2
    assert kernel.argmax() % len(kernel) == middle == kernel.argmax() // len(kernel)
    assert kernel[:, :middle].sum() == 0 and kernel[:middle].sum() == 0
    assert (np.diff(kernel[middle, middle:]) <= 1e-12).all()


def test_a_fourier_convolution_is_the_plain_sum() -> None:
    chance = np.random.default_rng(0)
    pixels, kernel = chance.random((9, 7, 3), np.float32), chance.random((5, 3))
    around = np.pad(pixels, ((2, 2), (1, 1), (0, 0)), mode="symmetric")
    plain = sum(kernel[y, x] * around[4 - y : 13 - y, 2 - x : 9 - x] for y in range(5) for x in range(3))
    assert np.allclose(field.convolve(pixels, kernel), plain, atol=1e-5)


@pytest.mark.parametrize("rgb", [(200, 40, 90), (10, 10, 10), (0, 0, 0), (255, 255, 255), (30, 220, 220)])
def test_brightness_and_saturation_are_those_of_hsv(rgb: tuple[int, int, int]) -> None:
    plain = torch.tensor(rgb, dtype=torch.uint8)[:, None, None].expand(3, 8, 8).contiguous()
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in rgb))
    saturate = ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2))
    for level in range(1, 6):
        bright = colorsys.hsv_to_rgb(hue, saturation, min(value + level / 10, 1))
        factor, plus = saturate[level - 1]
        rich = colorsys.hsv_to_rgb(hue, min(saturation * factor + plus, 1), value)
        for kind, wanted in (("brightness", bright), ("saturate", rich)):
            assert np.allclose(corrupt(plain, kind, level, 0)[:, 0, 0].numpy() / 255, wanted, atol=1.01 / 255), (kind, level)


def test_contrast_shrinks_the_spread_and_keeps_the_mean() -> None:
    clean = scene(4)
    for level, share in enumerate((0.4, 0.3, 0.2, 0.1, 0.05), 1):
        harmed = corrupt(clean, "contrast", level, 0).float()
        assert torch.allclose(harmed.mean((1, 2)), clean.float().mean((1, 2)), atol=0.6)
        assert float(harmed.std()) <= share * float(clean.float().std()) + 12
        assert harmed[0].std() == pytest.approx(share * float(clean[0].float().std()), abs=0.5)


@pytest.mark.parametrize(("height", "width"), [(100, 100), (60, 150), (150, 60)])
def test_occlusion_hides_the_area_that_it_says(height: int, width: int) -> None:
    white = torch.full((3, height, width), 255, dtype=torch.uint8)
    for level in range(1, 6):
        hidden = (corrupt(white, "occlusion", level, 11) == 128).all(0)
        assert float(hidden.float().mean()) == pytest.approx(level / 10, abs=0.02)
        rows, columns = hidden.any(1).sum(), hidden.any(0).sum()
        assert int(rows * columns) == int(hidden.sum()), "it is one rectangle"


def test_rotation_by_a_quarter_is_exact() -> None:
    clean = scene(2, size=64)
    turned = corrupt(clean, "rotation", 5, 0)
    assert any(torch.equal(turned, torch.rot90(clean, turns, (1, 2))) for turns in (1, 3))


def test_pixelation_averages_over_whole_cells() -> None:
    clean = scene(6, size=96)
    cells = clean.float().reshape(3, 24, 4, 24, 4).mean((2, 4)).repeat_interleave(4, 1).repeat_interleave(4, 2)
    assert torch.allclose(corrupt(clean, "pixelate", 5, 0).float(), cells, atol=1.0)


def test_the_jpeg_variant_is_a_jpeg_file_of_that_quality() -> None:
    (kind,) = (kind for kind in KINDS if kind.name == "jpeg")
    clean = scene(3)
    asked = item(Image(encode_png(clean)), Text("What is it?"))
    for variant, quality in zip(kind.variants(), (25, 18, 15, 10, 7), strict=True):
        (part,) = media(variant.change([asked], 0))
        assert isinstance(part, Image) and isinstance(part.source, bytes)
        file = io.BytesIO()
        Pillow.fromarray(clean.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
        assert part.source == file.getvalue()
        assert torch.equal(decode(part.source).pixels_CHW, corrupt(clean, "jpeg", int(variant.level), 0))


def test_a_variant_harms_every_picture_of_an_item_each_in_its_own_way_and_nothing_else() -> None:
    (kind,) = (kind for kind in KINDS if kind.name == "gaussian-noise")
    picture, sound = Image(encode_png(flat(128, 32))), Audio("a.wav")
    asked = item(picture, sound, picture, Text("Which?"))
    once, again = (kind.variants()[2].change([asked], 0) for _ in range(2))
    assert once == again
    first, heard, second = media(once)
    assert heard == sound
    assert isinstance(first, Image) and isinstance(second, Image) and first != second != picture
    assert once.sample.id == "one" and once.sample.messages[0].parts[3] == Text("Which?")
    assert [variant.name for variant in kind.variants()] == [f"gaussian-noise-{level}" for level in range(1, 6)]


def test_a_picture_that_cannot_be_read_is_left_for_the_model_to_refuse() -> None:
    broken = item(Image(b"\x89PNG\r\n\x1a\n nothing"), Text("What?"))
    assert all(variant.change([broken], 0) == broken for kind in KINDS for variant in kind.variants())


def test_one_row_or_one_pixel_survives_every_harm() -> None:
    for kind in HARMS:
        for shape in ((3, 1, 1), (3, 1, 9), (3, 5, 2)):
            assert corrupt(torch.full(shape, 77, dtype=torch.uint8), kind, 5, 0).shape == shape
