"""Cross-modal autoencoding: what is kept, the loss by hand, and one modality rebuilt from the other alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sensorium.batch import Modality
from sensorium.errors import RequestError
from sensorium.model.autoencoder import Autoencoder, AutoencoderConfig
from sensorium.objectives.autoencoding import Autoencoding

IMAGE, AUDIO = Modality.IMAGE, Modality.AUDIO
CONFIG = AutoencoderConfig(dims={IMAGE: 6, AUDIO: 4}, hidden=32, code=16)


def test_two_thirds_keep_one_modality_each_as_often() -> None:
    kept_BK = Autoencoding().keep(6000, 2, 0)
    assert bool(kept_BK.any(1).all())
    shares = [
        float((kept_BK == torch.tensor(row)).all(1).float().mean()) for row in ([True, False], [False, True], [True, True])
    ]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.03)
    assert torch.equal(kept_BK, Autoencoding().keep(6000, 2, 0))


def test_the_loss_by_hand() -> None:
    """With all weights at zero everything is rebuilt as the mean, so the error is the variance: 1 a number, 2 a row."""
    model = Autoencoder(CONFIG)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    vectors = {IMAGE: torch.randn(50, 6) * 3 + 2, AUDIO: torch.randn(50, 4) - 7}
    model.fit_scale(vectors)
    loss = Autoencoding()(model, vectors, 0)
    assert float(loss.total.detach()) == pytest.approx(2 * 49, rel=1e-4)  # deviations are of a sample: n - 1
    assert set(loss.terms) == {"autoencoding", "audio_from_image", "image_from_audio"}
    torch.testing.assert_close(model({IMAGE: vectors[IMAGE]})[AUDIO], vectors[AUDIO].mean(0).expand(50, -1))


def test_a_missing_modality_is_rebuilt_from_the_other() -> None:
    source_NE = torch.randn(400, 3)
    vectors = {IMAGE: source_NE @ torch.randn(3, 6), AUDIO: torch.tanh(source_NE @ torch.randn(3, 4))}
    model = Autoencoder(CONFIG)
    model.fit_scale(vectors)
    objective, optimizer = Autoencoding(), torch.optim.Adam(model.parameters(), 1e-2)
    first = objective(model, vectors, 0).terms
    for step in range(200):
        loss = objective(model, vectors, step)
        optimizer.zero_grad()
        (loss.total / loss.size).backward()
        optimizer.step()
    for name in ("autoencoding", "audio_from_image", "image_from_audio"):
        assert loss.terms[name][0] / loss.terms[name][1] < 0.2 * first[name][0] / first[name][1]
    for given, wanted in ((IMAGE, AUDIO), (AUDIO, IMAGE)):
        error = (model({given: vectors[given]})[wanted] - vectors[wanted]).square().mean()
        assert float(error.detach()) < 0.25 * float(vectors[wanted].var(0).mean())


def test_modalities_that_are_not_known_are_refused() -> None:
    with pytest.raises(RequestError, match="has 1 modalities"):
        Autoencoder(AutoencoderConfig(dims={IMAGE: 6}, hidden=4, code=2))
    with pytest.raises(RequestError, match="was given nothing"):
        Autoencoder(CONFIG)({})
