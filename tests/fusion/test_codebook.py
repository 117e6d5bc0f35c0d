"""The codebook: near a code it gives that code, in the middle a mixture."""

from __future__ import annotations

import torch

from sensorium.batch import Features
from sensorium.fusion.codebook import Codebook
from sensorium.fusion.resampler import Resampler, ResamplerConfig


def book() -> Codebook:
    torch.manual_seed(0)
    made = Codebook(4, 2, 8)
    made.codes.data = torch.randn(4, 2, 8) + 3.0
    return made


def test_a_code_with_noise_becomes_the_code() -> None:
    made = book()
    noisy_PQD = made.codes + 0.5 * torch.randn(4, 2, 8)
    assert (made(noisy_PQD) - made.codes).abs().max() < 0.05
    assert torch.equal(made.cosines(noisy_PQD).argmax(1), torch.arange(4))


def test_between_two_codes_is_their_mean() -> None:
    made = book()
    middle_QD = (made.codes[0] + made.codes[1]) / 2
    far_QD = (made.codes[2] - made.codes[3]).abs().max()
    assert (made(middle_QD[None])[0] - middle_QD).abs().max() < 0.3 * far_QD


def test_what_all_codes_share_does_not_count() -> None:
    made, x_PQD = book(), torch.randn(3, 2, 8)
    before_PW = made.cosines(x_PQD)
    made.codes.data += 7.0
    torch.testing.assert_close(made.cosines(x_PQD + 7.0), before_PW, rtol=0, atol=1e-4)


def test_a_resampler_with_codes_speaks_in_codes() -> None:
    torch.manual_seed(0)
    shapes = {"dim_in": 6, "dim_out": 10, "dim": 8, "queries": 3, "layers": 1, "heads": 2, "head_dim": 4, "hidden": 16}
    model = Resampler(ResamplerConfig.from_json(shapes | {"codes": 5})).eval()
    features = Features(torch.randn(2, 7, 6), torch.ones(2, 7, dtype=torch.bool))
    assert model.codebook is not None
    torch.testing.assert_close(model(features).x_BTD, model.codebook(model.gather(features)))
