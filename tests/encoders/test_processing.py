"""Golden pixels: our preprocessing against the reference processors, and the settings file in both directions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sensorium.encoders.processing import EFFICIENTNET_LITE, FILE, ImageProcessing
from sensorium.errors import CheckpointError, LimitError
from sensorium.media.image import Picture

SIZES = [(224, 224), (301, 97), (64, 480), (33, 35), (227, 640), (1, 7), (500, 333)]
IMAGENET: dict[str, Any] = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


def picture(height: int, width: int, seed: int = 0) -> Picture:
    pixels = torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return Picture(pixels, "drawn", width, height)


def references() -> list[Any]:
    transformers = pytest.importorskip("transformers")
    return [
        transformers.SiglipImageProcessorPil(),
        transformers.SiglipImageProcessorPil(size={"height": 96, "width": 128}, resample=2),
        transformers.CLIPImageProcessorPil(),
        transformers.CLIPImageProcessorPil(size={"shortest_edge": 97}, crop_size={"height": 96, "width": 81}),
        transformers.BitImageProcessorPil(size={"shortest_edge": 256}, **IMAGENET),
    ]


@pytest.mark.parametrize("index", range(5))
@pytest.mark.parametrize("size", SIZES)
def test_pixels_equal_the_reference_processor(index: int, size: tuple[int, int]) -> None:
    reference = references()[index]
    shown = picture(*size)
    wanted = reference(shown.pixels_CHW.permute(1, 2, 0).numpy(), input_data_format="channels_last", return_tensors="pt")
    view = ImageProcessing.from_hf(reference.to_dict()).view(shown.pixels_CHW)
    assert view.pixels_CHW.shape == wanted["pixel_values"][0].shape
    assert (view.pixels_CHW - wanted["pixel_values"][0]).abs().max() <= 1e-5


@pytest.mark.parametrize("size", SIZES)
def test_efficientnet_pixels_equal_its_recipe(size: tuple[int, int]) -> None:
    shown = picture(*size)
    image = Image.fromarray(shown.pixels_CHW.permute(1, 2, 0).numpy()).resize((224, 224), Image.Resampling.BICUBIC)
    wanted = (np.asarray(image).astype(np.float32) - 127) / 128
    assert np.abs(EFFICIENTNET_LITE.view(shown.pixels_CHW).pixels_CHW.permute(1, 2, 0).numpy() - wanted).max() <= 1e-5


def test_centre_crop_says_what_it_does_not_show() -> None:
    processing = ImageProcessing(size=100, crop=(80, 80))
    assert processing.view(picture(100, 200).pixels_CHW).box == (0.1, 0.3, 0.9, 0.7)
    assert EFFICIENTNET_LITE.view(picture(100, 200).pixels_CHW).box == (0.0, 0.0, 1.0, 1.0)


def test_tiles_follow_the_whole_picture_and_cover_it() -> None:
    processing = ImageProcessing(size=(32, 32), tiles=6)
    shown = picture(64, 96)
    whole, *crops = processing.views(shown)
    assert whole.box == (0.0, 0.0, 1.0, 1.0)
    assert [crop.box for crop in crops] == [(r / 2, c / 3, (r + 1) / 2, (c + 1) / 3) for r in range(2) for c in range(3)]
    corner = shown.pixels_CHW[:, 32:, 64:].float() / 127.5 - 1
    torch.testing.assert_close(crops[-1].pixels_CHW, corner, atol=1e-6, rtol=0)
    assert len(processing.views(picture(20, 20))) == 1


@pytest.mark.parametrize(
    "processing",
    [
        EFFICIENTNET_LITE,
        ImageProcessing(size=256, crop=(224, 224), resample="bilinear", mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0)),
        ImageProcessing(size=(96, 96), resample="lanczos", tiles=4),
    ],
)
def test_settings_go_to_the_file_and_back(processing: ImageProcessing, tmp_path: Path) -> None:
    processing.write(tmp_path)
    assert ImageProcessing.read(tmp_path) == processing


def test_the_reference_reads_our_file(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    processing = ImageProcessing(size=100, crop=(80, 64), mean=(0.1, 0.2, 0.3))
    processing.write(tmp_path)
    reference = transformers.CLIPImageProcessorPil.from_pretrained(tmp_path)
    shown = picture(150, 130)
    wanted = reference(shown.pixels_CHW.permute(1, 2, 0).numpy(), input_data_format="channels_last", return_tensors="pt")
    torch.testing.assert_close(processing.view(shown.pixels_CHW).pixels_CHW, wanted["pixel_values"][0], atol=1e-5, rtol=0)


def test_old_files_with_bare_numbers_are_read() -> None:
    row = {"feature_extractor_type": "CLIPFeatureExtractor", "size": 224, "crop_size": 224, **IMAGENET}
    assert ImageProcessing.from_hf(row).size == 224
    assert ImageProcessing.from_hf({"image_processor_type": "ViTImageProcessor", "size": 384, **IMAGENET}).size == (384, 384)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_processor_type": "Idefics3ImageProcessor"}, "is for 'Idefics3ImageProcessor'. Use one for CLIPImageProcessor"),
        ({"do_pad": True}, "fields of unknown meaning: do_pad"),
        ({"do_resize": False}, "does not resize"),
        ({"size": {"longest_edge": 3}}, "has {'longest_edge': 3} where a whole number or a size must be"),
        ({"resample": 6}, "has the resample filter 6. Use a number from 0 to 5"),
        ({"image_mean": "grey"}, "has 'grey' where a list of numbers must be"),
        ({"image_mean": [0.5, 0.5, float("nan")]}, "has the mean (0.5, 0.5, nan)"),
        ({"size": {"height": 0, "width": 4}}, "not positive"),
        ({"image_std": [1.0]}, "3 means and 1 stds for 3 channels"),
        ({"do_center_crop": True, "crop_size": 300}, "crops (300, 300) from a picture resized to (224, 224)"),
        ({"size": {"shortest_edge": 224}}, "does not crop, so that pictures differ in size"),
        ({"size": {"height": 32, "width": 64}, "max_tiles": 4}, "cuts tiles of (32, 64), which are not square"),
    ],
)
def test_settings_that_cannot_be_met_are_refused(change: dict[str, Any], words: str) -> None:
    row = {"image_processor_type": "SiglipImageProcessor", "size": {"height": 224, "width": 224}, **IMAGENET} | change
    with pytest.raises(CheckpointError) as caught:
        ImageProcessing.from_hf(row)
    assert words in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["height", "width", "shortest_edge"]), inner),
    max_leaves=4,
)
FIELDS = ["size", "crop_size", "resample", "do_center_crop", "rescale_factor", "image_mean", "image_std", "max_tiles", "x"]


@given(st.sampled_from(["CLIP", "Siglip", "ViT"]), st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_file_is_read_or_refused_with_reasons(kind: str, change: dict[str, Any]) -> None:
    row = {"image_processor_type": f"{kind}ImageProcessor", "size": 224, **IMAGENET} | change
    try:
        processing = ImageProcessing.from_hf(row)
    except CheckpointError:
        return
    assert ImageProcessing.from_hf(json.loads(json.dumps(processing.to_hf()))) == processing


def test_a_picture_that_would_become_huge_is_refused() -> None:
    with pytest.raises(LimitError) as caught:
        ImageProcessing(size=224, crop=(224, 224)).view(torch.zeros(3, 1, 2000, dtype=torch.uint8))
    wanted = "picture of 1 by 2000 pixels: would be resized to 224 by 448,000, over the limit of 64,000,000 pixels. Crop it"
    assert str(caught.value).startswith(wanted)


def test_missing_fields_and_filters_are_named() -> None:
    with pytest.raises(CheckpointError, match="lacks image_mean, image_std"):
        ImageProcessing.from_hf({"image_processor_type": "SiglipImageProcessor", "size": 224})
    with pytest.raises(CheckpointError, match=r"resample filter 'cubic'\. Use one of nearest"):
        ImageProcessing(resample="cubic")  # type: ignore[arg-type]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"{FILE}: cannot be read"):
        ImageProcessing.read(tmp_path)
    (tmp_path / FILE).write_text(json.dumps([1]), "utf-8")
    with pytest.raises(CheckpointError, match="is not a JSON object"):
        ImageProcessing.read(tmp_path)
