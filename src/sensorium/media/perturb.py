"""A recording as another voice, room or line might have made it, for training that must not learn a few voices by heart.

Speed as in Ko et al. 2015 ("Audio augmentation for speech recognition"); the resonances move as in Jaitly & Hinton 2013
("Vocal tract length perturbation"), here on the smoothed spectrum alone, so that the pitch stays.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np
import soxr
import torch
from torch import Tensor

Range = tuple[float, float]
_WINDOW, _HOP, _SMOOTH = 512, 128, 28


@dataclass(frozen=True, slots=True)
class Perturbation:
    """How much a sound is changed, drawn anew for each; a chance of 0 leaves that change out.

    Args:
        speed: factors on tempo and pitch together. resonances: factors on the formants alone.
        noise: chance of noise, and decibels that the sound stands above it.
        echo: chance of a room, whose echo fades by 60 dB in `fading` seconds.
        band: chance of a narrow line, which ends between `upper` hertz.
        margins: chance of extra quiet at each end, of up to `quiet` seconds.
        cut: seconds lost at each end at most, and never over a quarter of the sound.
        gain: decibels.
    """

    speed: Range = (0.8, 1.25)
    resonances: Range = (0.82, 1.22)
    noise: float = 0.5
    above: Range = (5.0, 30.0)
    echo: float = 0.3
    fading: Range = (0.1, 0.5)
    band: float = 0.3
    upper: Range = (2800.0, 4000.0)
    margins: float = 0.4
    quiet: float = 0.3
    cut: float = 0.02
    gain: Range = (-12.0, 6.0)

    def __call__(self, wave_T: Tensor, rate: int, chance: random.Random) -> Tensor:
        """The same word, otherwise: a new wave, float32."""
        wave_T = _cut(wave_T, chance.uniform(0, self.cut) * rate, chance.uniform(0, self.cut) * rate)
        wave_T = resonate(speed(wave_T, _factor(self.speed, chance)), _factor(self.resonances, chance))
        if chance.random() < self.echo:
            wave_T = echo(wave_T, rate, chance.uniform(*self.fading), chance.randrange(1 << 30))
        before, after = (chance.random() < self.margins) * self.quiet, (chance.random() < self.margins) * self.quiet
        wave_T = surround(wave_T, int(rate * before * chance.random()), int(rate * after * chance.random()))
        if chance.random() < self.noise:
            wave_T = noisy(wave_T, chance.uniform(*self.above), chance.uniform(0.0, 1.0), chance.randrange(1 << 30))
        if chance.random() < self.band:
            wave_T = narrow(wave_T, rate, chance.uniform(*self.upper))
        return wave_T * 10 ** (chance.uniform(*self.gain) / 20)


def speed(wave_T: Tensor, factor: float) -> Tensor:
    """Faster and higher by `factor`, as a tape would be."""
    if factor == 1.0:
        return wave_T
    return torch.from_numpy(np.ascontiguousarray(soxr.resample(wave_T.numpy(), factor, 1.0).astype(np.float32)))


def resonate(wave_T: Tensor, factor: float) -> Tensor:
    """The formants higher by `factor` (a shorter vocal tract), pitch and length as they were."""
    if factor == 1.0:
        return wave_T
    window = torch.hann_window(_WINDOW)
    spectrum_FT = torch.stft(wave_T, _WINDOW, _HOP, window=window, pad_mode="constant", return_complex=True)
    envelope_FT = _envelope(spectrum_FT.abs().clamp(min=1e-5).log())
    places_F = torch.arange(len(envelope_FT)) / factor
    low_F = places_F.long().clamp(max=len(envelope_FT) - 1)
    high_F, part_F1 = (low_F + 1).clamp(max=len(envelope_FT) - 1), (places_F - low_F).clamp(0, 1)[:, None]
    moved_FT = envelope_FT[low_F] * (1 - part_F1) + envelope_FT[high_F] * part_F1
    change_FT = (moved_FT - envelope_FT).clamp(-5.0, 5.0).exp()
    return torch.istft(spectrum_FT * change_FT, _WINDOW, _HOP, window=window, length=len(wave_T))


def echo(wave_T: Tensor, rate: int, seconds: float, seed: int, loud: float = 0.5) -> Tensor:
    """In a room that fades by 60 dB in `seconds`; the length stays. See `room` for `loud`."""
    tail_T = room(max(int(rate * seconds), 1), seed, loud)
    size = len(wave_T) + len(tail_T)
    heard_T: Tensor = torch.fft.irfft(torch.fft.rfft(wave_T, size) * torch.fft.rfft(tail_T, size), size)
    return heard_T[: len(wave_T)]


def room(count: int, seed: int, loud: float = 0.5) -> Tensor:
    """What a click becomes: itself, then noise that fades by 60 dB over `count` samples and has `loud` ** 2 of its energy."""
    noise_T = _normal(count, seed) * torch.exp(-math.log(1000.0) * torch.arange(count) / count)
    tail_T: Tensor = loud * noise_T / noise_T.norm()
    tail_T[0] = 1.0
    return tail_T


def noisy(wave_T: Tensor, decibels: float, colour: float, seed: int) -> Tensor:
    """Noise under the sound, which stands `decibels` above it; `colour` 0 is white, 0.5 pink, 1 falls by 6 dB an octave."""
    spectrum_F = torch.fft.rfft(_normal(len(wave_T), seed))
    noise_T = torch.fft.irfft(spectrum_F / torch.arange(1, len(spectrum_F) + 1) ** colour, len(wave_T))
    return over(wave_T, noise_T, decibels)


def over(wave_T: Tensor, noise_T: Tensor, decibels: float) -> Tensor:
    """A sound `decibels` above another of the same length, by their mean powers."""
    power = wave_T.square().mean() / noise_T.square().mean().clamp(min=1e-12)
    added_T: Tensor = noise_T * power.sqrt() * 10 ** (-decibels / 20)
    return wave_T + added_T


def narrow(wave_T: Tensor, rate: int, upper: float) -> Tensor:
    """Nothing above `upper` hertz, with a slope of a tenth of that."""
    spectrum_F = torch.fft.rfft(wave_T)
    hertz_F = torch.linspace(0, rate / 2, len(spectrum_F))
    kept_T: Tensor = torch.fft.irfft(spectrum_F * ((1.1 * upper - hertz_F) / (0.1 * upper)).clamp(0, 1), len(wave_T))
    return kept_T


def surround(wave_T: Tensor, before: int, after: int) -> Tensor:
    """Silence before and after, in samples."""
    return torch.cat([wave_T.new_zeros(before), wave_T, wave_T.new_zeros(after)])


def _cut(wave_T: Tensor, before: float, after: float) -> Tensor:
    most = len(wave_T) // 4
    return wave_T[min(int(before), most) : len(wave_T) - min(int(after), most)]


def _envelope(log_FT: Tensor) -> Tensor:
    """The log spectrum without its fine structure: the first `_SMOOTH` cepstral coefficients."""
    cepstrum_FT = torch.fft.irfft(log_FT, dim=0)
    cepstrum_FT[_SMOOTH : len(cepstrum_FT) - _SMOOTH + 1] = 0
    smooth_FT: Tensor = torch.fft.rfft(cepstrum_FT, dim=0).real
    return smooth_FT


def _normal(count: int, seed: int) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


def _factor(bounds: Range, chance: random.Random) -> float:
    """Evenly in the logarithm."""
    return math.exp(chance.uniform(math.log(bounds[0]), math.log(bounds[1])))
