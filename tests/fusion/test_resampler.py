from __future__ import annotations

import pytest
import torch
from transformers.models.idefics.perceiver import IdeficsPerceiverAttention

from sensorium.batch import Features, Modality, Placement
from sensorium.errors import CheckpointError, RequestError
from sensorium.fusion import resampler
from sensorium.fusion.resampler import Resampler, ResamplerConfig

SHAPES = {"dim_in": 6, "dim_out": 10, "dim": 8, "queries": 3, "layers": 2, "heads": 2, "head_dim": 4, "hidden": 16}


def build(**options: object) -> Resampler:
    torch.manual_seed(0)
    return Resampler(ResamplerConfig.from_json(SHAPES | options)).eval()


def test_one_layer_equals_the_attention_of_idefics() -> None:
    theirs = IdeficsPerceiverAttention(8, 2, 4, False)
    layer = build().layers[0]
    names = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "output_proj"}
    for ours, other in names.items():
        getattr(layer.attention, ours).weight.data.copy_(getattr(theirs, other).weight)
    media, x = torch.randn(2, 5, 8), torch.randn(2, 3, 8)
    expected = x + theirs(media, x)
    expected = expected + layer.mlp(layer.norm_mlp(expected))
    torch.testing.assert_close(layer(x, media, torch.ones(2, 5, dtype=torch.bool)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("keys", [True, False])
def test_padding_changes_nothing(keys: bool) -> None:
    model, x = build(queries_in_keys=keys, time="share", norm_in=True), torch.randn(2, 7, 6)
    valid = torch.arange(7)[None] < torch.tensor([[4], [7]])
    out = model(Features(x, valid))
    alone = model(Features(x[:1, :4], valid[:1, :4]))
    torch.testing.assert_close(out.x_BTD[0], alone.x_BTD[0])
    assert out.x_BTD.shape == (2, 3, 10)
    assert out.valid_BT.all()


def test_order_is_read_only_with_time() -> None:
    x, valid = torch.randn(1, 6, 6), torch.ones(1, 6, dtype=torch.bool)
    for time, same in (("none", True), ("sinusoid", False), ("learned", False), ("share", False)):
        model = build(time=time, steps=6)
        difference = (model(Features(x, valid)).x_BTD - model(Features(x.flip(1), valid)).x_BTD).abs().max()
        assert bool(difference < 1e-5) is same, time


def test_shares_of_time_run_from_nought_to_a_hundred_in_every_medium() -> None:
    valid = torch.arange(8)[None] < torch.tensor([[4], [8]])
    shares = resampler._shares(valid)
    assert shares[0, :4].tolist() == [0.0, 25.0, 50.0, 75.0]
    assert shares[1].tolist() == [12.5 * step for step in range(8)]


def test_the_first_norm_makes_the_scale_of_the_media_irrelevant() -> None:
    x, valid = torch.randn(1, 6, 6), torch.ones(1, 6, dtype=torch.bool)
    model = build(norm_in=True)
    torch.testing.assert_close(model(Features(x, valid)).x_BTD, model(Features(30 * x, valid)).x_BTD, rtol=1e-3, atol=1e-3)


def test_frames_share_a_time_step() -> None:
    model = build(time="learned", steps=2, per_step=3)
    x, valid = torch.randn(1, 6, 6), torch.ones(1, 6, dtype=torch.bool)
    within = x[:, [1, 0, 2, 3, 4, 5]]
    across = x[:, [3, 1, 2, 0, 4, 5]]
    torch.testing.assert_close(model(Features(x, valid)).x_BTD, model(Features(within, valid)).x_BTD)
    assert (model(Features(x, valid)).x_BTD - model(Features(across, valid)).x_BTD).abs().max() > 1e-5


def test_a_query_shows_the_whole_piece() -> None:
    for kind, grid, extent in (
        (Modality.IMAGE, (7, 7), (0.0, 0.5, 1.0, 1.0)),
        (Modality.AUDIO, (50,), (2.0, 5.0)),
        (Modality.VIDEO, (4, 7, 7), (0.0, 9.0)),
    ):
        out = build().grid(grid)
        placement = Placement(0, 0, 0, kind, 5, out, extent)
        assert placement.length == 3
        assert placement.cell(6) == extent


def test_what_does_not_fit_is_an_error() -> None:
    valid = torch.zeros(1, 5, dtype=torch.bool)
    with pytest.raises(RequestError, match="without a valid feature"):
        build()(Features(torch.zeros(1, 5, 6), valid))
    with pytest.raises(RequestError, match="5 features, its learned times end at 4"):
        build(time="learned", steps=4)(Features(torch.zeros(1, 5, 6), ~valid))
    with pytest.raises(CheckpointError, match="field 'latents'"):
        build(latents=4)


def test_config_goes_through_json() -> None:
    config = ResamplerConfig.from_json(SHAPES)
    assert ResamplerConfig.from_json(config.to_json()) == config
