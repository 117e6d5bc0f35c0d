from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from transformers.models.idefics3.modeling_idefics3 import Idefics3Connector
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

from sensorium.batch import Features
from sensorium.errors import CheckpointError, RequestError
from sensorium.fusion.projector import MLPProjector, ProjectorConfig


def full(x: Tensor) -> Features:
    return Features(x, torch.ones(x.shape[:2], dtype=torch.bool))


def build(**options: object) -> MLPProjector:
    torch.manual_seed(0)
    return MLPProjector(ProjectorConfig.from_json({"dim_in": 6, "dim_out": 5} | options)).eval()


def test_pixel_shuffle_and_projection_equal_idefics3() -> None:
    sizes = SimpleNamespace(
        vision_config=SimpleNamespace(hidden_size=6), text_config=SimpleNamespace(hidden_size=5), scale_factor=2
    )
    theirs = Idefics3Connector(sizes)
    ours = build(pool="shuffle", size=2, bias=False)
    ours.linear_1.weight.data.copy_(theirs.modality_projection.proj.weight)
    x = torch.randn(3, 16, 6)
    assert torch.equal(ours._pool(x, (4, 4)), theirs.pixel_shuffle(x, 2))
    torch.testing.assert_close(ours(full(x)).x_BTD, theirs(x), rtol=0, atol=1e-6)


def test_mlp_equals_llava() -> None:
    sizes = SimpleNamespace(
        vision_config=SimpleNamespace(hidden_size=6),
        text_config=SimpleNamespace(hidden_size=5),
        vision_feature_layer=-2,
        multimodal_projector_bias=True,
        projector_hidden_act="gelu",
    )
    theirs = LlavaMultiModalProjector(sizes)
    ours = build(hidden=5)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 7, 6)
    torch.testing.assert_close(ours(full(x)).x_BTD, theirs(x), rtol=0, atol=1e-6)


def test_average_pooling_keeps_neighbours_together() -> None:
    ours = build(pool="average", size=2)
    plane = torch.arange(16.0).view(1, 16, 1).expand(1, 16, 6)
    assert ours._pool(plane, (4, 4))[0, :, 0].tolist() == [2.5, 4.5, 10.5, 12.5]
    assert ours.grid((4, 6)) == (2, 3)
    assert ours.grid((3, 4, 6)) == (3, 2, 3)


def test_adaptive_pooling_of_seven_to_four_equals_torch() -> None:
    ours = build(pool="adaptive", size=4, grid_in=(7, 7))
    x = torch.randn(2, 49, 6)
    plane = x.view(2, 7, 7, 6).permute(0, 3, 1, 2)
    expected = torch.nn.functional.adaptive_avg_pool2d(plane, 4).flatten(2).transpose(1, 2)
    assert torch.equal(ours._pool(x, (7, 7)), expected)
    assert ours(full(x)).x_BTD.shape == (2, 16, 5)


def test_a_clip_is_pooled_frame_by_frame() -> None:
    ours = build(pool="shuffle", size=2, hidden=8, grid_in=(2, 4), positions=(1, 2))
    torch.nn.init.normal_(ours.position)
    frames = torch.randn(3, 8, 6)
    clip = ours(full(frames.view(1, 24, 6)), [(3, 2, 4)]).x_BTD
    alone = ours(full(frames)).x_BTD
    torch.testing.assert_close(clip.view(3, 2, 5), alone)
    torch.testing.assert_close(ours(full(frames.view(1, 24, 6))).x_BTD, clip)


def test_pieces_with_different_grids_in_one_batch_equal_pieces_alone() -> None:
    ours = build(pool="average", size=2)
    wide, tall = torch.randn(1, 8, 6), torch.randn(1, 16, 6)
    padded = torch.cat([torch.nn.functional.pad(wide, (0, 0, 0, 8), value=9.0), tall])
    valid = torch.arange(16)[None] < torch.tensor([[8], [16]])
    out = ours(Features(padded, valid), [(2, 4), (4, 4)])
    assert out.valid_BT.sum(1).tolist() == [2, 4]
    torch.testing.assert_close(out.x_BTD[0, :2], ours(full(wide), [(2, 4)]).x_BTD[0])
    torch.testing.assert_close(out.x_BTD[1], ours(full(tall), [(4, 4)]).x_BTD[0])


def test_sound_is_pooled_by_steps_and_keeps_the_last_ones() -> None:
    ours = build(axes=1, pool="average", size=2)
    x = torch.arange(5.0).view(1, 5, 1).expand(1, 5, 6)
    assert ours._pool(x, (5,))[0, :, 0].tolist() == [0.5, 2.5, 4.0]
    assert ours.grid((5,)) == (3,)
    stacked = build(axes=1, pool="shuffle", size=2)
    assert stacked(full(torch.randn(1, 5, 6))).x_BTD.shape == (1, 3, 5)


def test_learned_positions_and_norms_change_the_result() -> None:
    x = torch.randn(1, 4, 6)
    plain, placed = build(norm_out="rms"), build(norm_out="rms", positions=(2, 2))
    torch.testing.assert_close(plain(full(x)).x_BTD, placed(full(x)).x_BTD)
    placed.position.data[0] += 1.0
    changed = (plain(full(x)).x_BTD - placed(full(x)).x_BTD).abs().amax(-1)[0]
    assert changed[0] > 0.1
    assert changed[1:].max() == 0
    assert plain(full(x)).x_BTD.square().mean(-1).allclose(torch.ones(1, 4), atol=1e-3)


def test_gradients_flow_through_pooling() -> None:
    ours, x = build(pool="adaptive", size=2, hidden=4), torch.randn(2, 9, 6, requires_grad=True)
    ours(full(x)).x_BTD.sum().backward()
    assert x.grad.abs().min() > 0


def test_what_does_not_fit_is_an_error() -> None:
    with pytest.raises(RequestError, match=r"grid of 7 x 7 in cells of 2 x 2.*adaptive"):
        build(pool="average", size=2)(full(torch.zeros(1, 49, 6)))
    with pytest.raises(RequestError, match=r"learned positions for \(2, 2\), the grid is \(3, 3\)"):
        build(positions=(2, 2))(full(torch.zeros(1, 9, 6)))
    with pytest.raises(RequestError, match="7 features, not a multiple of 2 x 2"):
        build(pool="adaptive", size=1)(full(torch.zeros(1, 7, 6)))
    with pytest.raises(RequestError, match=r"7 features for a grid of \(2, 2\)"):
        build(pool="average", size=2)(full(torch.zeros(1, 7, 6)), [(2, 2)])
    with pytest.raises(RequestError, match="needs rows and columns"):
        build(pool="average", size=2).grid((10,))
    with pytest.raises(RequestError, match="2 learned positions for 3 steps"):
        build(axes=1, positions=(2,))(full(torch.zeros(1, 3, 6)))


def test_config_goes_through_json_and_refuses_unknown_keys() -> None:
    config = ProjectorConfig(dim_in=1280, dim_out=576, hidden=1152, pool="adaptive", size=4, positions=(4, 4), norm_out="rms")
    assert ProjectorConfig.from_json(config.to_json()) == config
    with pytest.raises(CheckpointError, match=r"field 'widht'.*Its fields are dim_in"):
        ProjectorConfig.from_json({"dim_in": 1, "dim_out": 1, "widht": 3})
    with pytest.raises(CheckpointError, match=r"field 'pool'"):
        ProjectorConfig.from_json({"dim_in": 1, "dim_out": 1, "pool": "max"})
