"""The vision transformer's configurations and names in both directions, and the encoder around it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sensorium.batch import Modality
from sensorium.encoders.processing import ImageProcessing
from sensorium.encoders.vit import ViT, ViTConfig, ViTEncoder, names_from_hf, names_to_hf
from sensorium.errors import CheckpointError, RequestError
from sensorium.media.image import Picture
from sensorium.nn.trace import Trace

from .families import Family, drawn, hf_config, pixels, vision_families, vit_of

FAMILIES = [pytest.param(family, id=family.name) for family in vision_families() if "size" not in family.name]
TOY = ViTConfig("clip", width=32, depth=3, heads=4, mlp_width=48, image_size=28, patch=7, activation="quick_gelu")


def encoder(config: ViTConfig = TOY, layer: int = -1, norm: bool = True, **processing: Any) -> ViTEncoder:
    return ViTEncoder(drawn(ViT(config)), ImageProcessing(**{"size": (28, 28)} | processing), layer, norm=norm)


@pytest.mark.parametrize("family", FAMILIES)
def test_names_and_configuration_go_both_ways(family: Family) -> None:
    theirs = family.build_reference()
    config = ViTConfig.from_hf(hf_config(theirs))
    assert ViTConfig.from_hf(config.to_hf()) == config
    ours = vit_of(theirs)
    published = names_to_hf(ours.state_dict(), config)
    again = names_from_hf(published, config)
    assert again.keys() == ours.state_dict().keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in ours.state_dict().items())


@pytest.mark.parametrize("family", FAMILIES)
def test_published_folders_are_read_and_written(family: Family, tmp_path: Path) -> None:
    """Files as the library saves them become ours; ours, saved under its names, load there and give the same."""
    from safetensors.torch import load_file, save_file

    theirs = family.build_reference()
    theirs.save_pretrained(tmp_path)
    config = ViTConfig.from_hf(hf_config(theirs))
    ours = ViT(config)
    ours.load_state_dict(names_from_hf(load_file(tmp_path / "model.safetensors"), config))
    state = {name: tensor.contiguous() for name, tensor in names_to_hf(ours.state_dict(), config).items()}
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    back, report = type(theirs).from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert all(torch.equal(tensor, theirs.state_dict()[name]) for name, tensor in back.state_dict().items())


def test_a_whole_clip_or_siglip_gives_its_vision_half() -> None:
    transformers = pytest.importorskip("transformers")
    toy = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 48}
    sight, text = toy | {"image_size": 28, "patch_size": 7}, toy | {"vocab_size": 20, "max_position_embeddings": 8}
    clip = transformers.CLIPModel(transformers.CLIPConfig(vision_config=sight, text_config=text, projection_dim=16))
    config = ViTConfig.from_hf(hf_config(clip))
    assert config.projection == 16
    ViT(config).load_state_dict(names_from_hf(clip.state_dict(), config))
    siglip = transformers.SiglipModel(transformers.SiglipConfig(vision_config=sight, text_config=text))
    config = ViTConfig.from_hf(hf_config(siglip))
    assert config.pooling
    ViT(config).load_state_dict(names_from_hf(siglip.state_dict(), config))


def test_what_a_published_file_leaves_out_has_the_librarys_value() -> None:
    transformers = pytest.importorskip("transformers")
    for kind in ("siglip_vision_model", "clip_vision_model", "dinov2", "dinov2_with_registers"):
        full = transformers.AutoConfig.for_model(kind).to_dict()
        assert ViTConfig.from_hf({"model_type": kind}) == ViTConfig.from_hf(full | {"architectures": []})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "siglip2_vision_model"}, "has model_type 'siglip2_vision_model', which is not known here"),
        ({"hidden_act": "relu"}, "has hidden_act 'relu', which is not known here. Use one of gelu"),
        ({"num_channels": 1}, "has 1 channels, width 768 for 12 heads, patches of 32 in 224 pixels, which is not known here"),
        ({"hidden_size": 100}, "width 100 for 12 heads"),
        ({"image_size": 16}, "patches of 32 in 16 pixels"),
        ({"num_hidden_layers": "12"}, "has num_hidden_layers '12'"),
        ({"image_size": [224, 196]}, "square RGB pictures"),
    ],
)
def test_strange_configurations_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        ViTConfig.from_hf({"model_type": "clip_vision_model"} | change)
    assert words in str(caught.value)


def test_left_over_and_missing_tensors_are_refused() -> None:
    state = names_to_hf(ViT(TOY).state_dict(), TOY)
    with pytest.raises(CheckpointError, match=r"clip weights: the state also holds 1 tensors: adapter\.weight"):
        names_from_hf(state | {"adapter.weight": torch.zeros(1)}, TOY)
    del state["vision_model.encoder.layers.2.mlp.fc2.bias"]
    with pytest.raises(CheckpointError, match=r"lacks 1 tensors: encoder\.layers\.2\.mlp\.fc2\.bias"):
        names_from_hf(state, TOY)


def test_features_are_patches_row_by_row_without_class_token_and_registers() -> None:
    config = ViTConfig("dinov2_with_registers", 32, 2, 4, 128, 28, 7, registers=3)
    read = encoder(config)
    media = [pixels()[0], pixels()[1]]
    with torch.no_grad():
        features = read(media)
        tokens = read.network.finish(read.network(pixels()))
    assert features.x_BTD.shape == (2, 16, 32)
    torch.testing.assert_close(features.x_BTD, tokens[:, 4:])
    assert features.valid_BT.all()


def test_a_changed_patch_changes_its_own_feature_most() -> None:
    read = encoder(ViTConfig("siglip", 32, 1, 4, 48, 28, 7))
    shown = pixels()[0]
    changed = shown.clone()
    changed[:, 7:14, 21:28] += 3  # row 1, column 3
    with torch.no_grad():
        moved = (read([changed]).x_BTD - read([shown]).x_BTD)[0].norm(dim=1)
    assert moved.argmax() == 1 * 4 + 3


@pytest.mark.parametrize(("layer", "block"), [(-2, 1), (2, 1), (1, 0)])
def test_features_of_an_earlier_layer_skip_the_rest(layer: int, block: int) -> None:
    read = encoder(ViTConfig("siglip", 32, 3, 4, 48, 28, 7), layer)
    name = f"encoder.image.{block}.hidden"
    trace = Trace([name])
    with torch.no_grad():
        features = read([pixels()[0]], trace)
    torch.testing.assert_close(features.x_BTD, trace.result()[name])
    late = Trace(["encoder.image.2.hidden"])
    read([pixels()[0]], late)
    with pytest.raises(RequestError, match="is given by no part"):
        late.result()


def test_the_last_layer_is_normed_unless_it_is_not_wanted() -> None:
    config, shown = ViTConfig("siglip", 32, 2, 4, 48, 28, 7), [pixels()[0]]
    with torch.no_grad():
        plain, normed = encoder(config, norm=False), encoder(config)
        torch.testing.assert_close(plain.network.norm(plain(shown).x_BTD), normed(shown).x_BTD)


def test_tracing_attention_changes_nothing_and_joins_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    read, media = encoder(), [pixels()[0], pixels()[1], pixels()[0] + 1]
    monkeypatch.setattr("sensorium.encoders.grouping.AT_ONCE", 2)
    trace = Trace(["encoder.image.0.attention"])
    with torch.no_grad():
        features = read(media, trace)
        torch.testing.assert_close(features.x_BTD, torch.cat([read([one]).x_BTD for one in media]), atol=1e-5, rtol=0)
    attention = trace.result()["encoder.image.0.attention"]
    assert attention.shape == (3, 4, 17, 17)
    torch.testing.assert_close(attention.sum(-1), torch.ones(3, 4, 17))


def test_pictures_of_unequal_size_keep_their_rows_but_cannot_be_traced() -> None:
    read, media = encoder(), [pixels()[0], pixels(14, 35)[0], pixels()[1]]
    with torch.no_grad():
        features = read(media)
        assert features.valid_BT.sum(1).tolist() == [16, 10, 16]
        torch.testing.assert_close(features.x_BTD[1, :10], read(media[1:2]).x_BTD[0])
        assert not features.x_BTD[1, 10:].any()
        with pytest.raises(RequestError, match=r"asked of pictures of 2 sizes. Ask for one size at a time"):
            read(media, Trace(["encoder.image.0.hidden"]))


def test_pooled_vectors() -> None:
    read = encoder()
    with torch.no_grad():
        wanted = read.network.norm(read.network(pixels())[:, 0])
    torch.testing.assert_close(read.pooled(list(pixels())), wanted)
    with pytest.raises(RequestError, match="has no pooling head"):
        encoder(ViTConfig("siglip", 32, 1, 4, 48, 28, 7)).pooled([pixels()[0]])


def test_pieces_say_what_the_patches_reach() -> None:
    read = encoder(size=(30, 28))
    (piece,) = read.prepare(Picture(torch.zeros(3, 60, 50, dtype=torch.uint8), "drawn", 50, 60))
    assert piece.modality is Modality.IMAGE
    assert piece.grid == (4, 4)
    assert piece.extent == pytest.approx((0.0, 0.0, 28 / 30, 1.0))


def test_what_cannot_be_read_is_refused() -> None:
    with pytest.raises(RequestError, match="vision layer 4: is not among -4 to 3"):
        encoder(layer=4)
    with pytest.raises(RequestError, match="picture of 5 by 28 pixels: is smaller than a patch of 7 pixels"):
        encoder().grid(torch.zeros(3, 5, 28))
