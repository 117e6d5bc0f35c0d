"""Cross-modal autoencoding on the synthetic world: a thing's picture rebuilt from its tone, and its tone from its picture."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from benchmarks.joint_world import Result, Shown, Splits, draw, fall, train
from sensorium.batch import Modality
from sensorium.data.synthetic import RATE
from sensorium.estimate import estimate
from sensorium.model.autoencoder import Autoencoder, AutoencoderConfig
from sensorium.objectives.autoencoding import Autoencoding
from sensorium.objectives.loss import Loss


def vectors(shown: Shown, bands: int = 32) -> dict[Modality, Tensor]:
    """Of each scene the first thing's features, and the spectrum of its tone: log energies in bands up to 4 kHz."""
    spectra = []
    for scene in shown.scenes:
        wave_T = torch.from_numpy(scene.sound()[:4096].copy())
        power_S = torch.fft.rfft(wave_T * torch.hann_window(4096)).abs().square()[: 4096 * 4000 // RATE]
        spectra.append((power_S.view(bands, -1).sum(1) + 1e-4).log())
    return {Modality.IMAGE: shown.regions.x_BGD[:, 0], Modality.AUDIO: torch.stack(spectra)}


def autoencoding(data: Splits, steps: int, *, batch: int = 128, rate: float = 3e-3) -> Result:
    """Either modality rebuilt from the other alone: the error as a share of the mean predictor's."""
    torch.manual_seed(0)
    taught, tested = vectors(data.train), vectors(data.test)
    dims = {kind: x_ND.shape[1] for kind, x_ND in taught.items()}
    model = Autoencoder(AutoencoderConfig(dims=dims, hidden=128, code=64))
    model.fit_scale(taught)
    objective, begun = Autoencoding(), time.process_time()

    def loss(step: int) -> Loss:
        which = torch.tensor(draw(step, len(data.train), batch))
        return objective(model, {kind: x_ND[which] for kind, x_ND in taught.items()}, step)

    curves = train(model, loss, steps, rate)
    spent, scores = time.process_time() - begun, {}
    with torch.no_grad():
        for given, wanted in ((Modality.IMAGE, Modality.AUDIO), (Modality.AUDIO, Modality.IMAGE)):
            rebuilt_ND = model.decode(model.encode({given: model.standard(given, tested[given])}))[wanted]
            truth_ND = model.standard(wanted, tested[wanted])
            mean = truth_ND.square().mean()  # the training mean is zero here
            scores[f"{wanted} from {given}, error against the mean's"] = estimate(
                ((rebuilt_ND - truth_ND).square().mean(1) / mean).tolist()
            )
    return Result(scores, {name: fall(curve) for name, curve in curves.items()}, spent)
