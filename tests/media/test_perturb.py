"""Perturbed sound: each change does what it says, and nothing else."""

from __future__ import annotations

import math
import random

import pytest
import torch
from torch import Tensor

from sensorium.media import perturb
from sensorium.media.perturb import Perturbation

RATE = 16_000


def tone(hertz: float, seconds: float = 0.5) -> Tensor:
    return torch.sin(2 * math.pi * hertz * torch.arange(int(RATE * seconds)) / RATE)


def voice(pitch: float = 120.0, formant: float = 900.0) -> Tensor:
    """Harmonics of `pitch` under one resonance."""
    numbers = range(1, 40)
    return sum((tone(n * pitch) * math.exp(-(((n * pitch - formant) / 250) ** 2)) for n in numbers), torch.zeros(8000))


def centre(wave_T: Tensor) -> float:
    """The mean frequency, in hertz."""
    power_F = torch.fft.rfft(wave_T).abs().square()
    return float((power_F * torch.linspace(0, RATE / 2, len(power_F))).sum() / power_F.sum())


def decibels(sound_T: Tensor, noise_T: Tensor) -> float:
    return float(10 * (sound_T.square().mean() / noise_T.square().mean()).log10())


def test_faster_is_shorter_and_higher() -> None:
    fast_T = perturb.speed(tone(400), 1.25)
    assert len(fast_T) == pytest.approx(6400, abs=2)
    assert centre(fast_T) == pytest.approx(500, rel=0.02)


def test_formants_move_and_the_pitch_stays() -> None:
    plain_T, moved_T = voice(), perturb.resonate(voice(), 1.2)
    assert len(moved_T) == len(plain_T)
    assert 1.08 < centre(moved_T) / centre(plain_T) < 1.25
    power_F = torch.fft.rfft(moved_T[2000:6000]).abs().square()
    spacing = RATE / 4000
    harmonics = sum(float(power_F[round(n * 120 / spacing)]) for n in range(1, 40))
    assert harmonics > 0.85 * float(power_F.sum())


def test_noise_is_as_far_below_the_sound_as_was_asked() -> None:
    for colour in (0.0, 1.0):
        added_T = perturb.noisy(tone(400), 12.0, colour, seed=3) - tone(400)
        assert decibels(tone(400), added_T) == pytest.approx(12.0, abs=0.01)
    white_T, brown_T = (perturb.noisy(tone(400), 0.0, colour, seed=3) - tone(400) for colour in (0.0, 1.0))
    assert centre(brown_T) < 0.2 * centre(white_T)


def test_a_narrow_line_lets_low_tones_through_and_no_high_ones() -> None:
    both_T = tone(500) + tone(5000)
    assert torch.allclose(perturb.narrow(both_T, RATE, 3000.0), tone(500), atol=1e-3)


def test_an_echo_goes_on_after_the_sound_and_fades() -> None:
    click_T = perturb.surround(torch.ones(1), 0, 7999)
    heard_T = perturb.echo(click_T, RATE, 0.25, seed=1)
    assert heard_T[0] == pytest.approx(1.0, abs=1e-4)
    early, late, after = (heard_T[a:b].square().sum() for a, b in ((1, 1000), (3000, 4000), (4001, 8000)))
    assert early > 100 * late > 0
    assert after < 1e-6


def test_the_same_chance_gives_the_same_sound_and_another_another() -> None:
    change = Perturbation()
    one, same, other = (change(voice(), RATE, random.Random(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert one.shape != other.shape or not torch.allclose(one, other)
    assert one.dtype == torch.float32
    assert bool(torch.isfinite(one).all())


def test_without_any_range_nothing_changes() -> None:
    still = (1.0, 1.0)
    change = Perturbation(speed=still, resonances=still, noise=0, echo=0, band=0, margins=0, cut=0, gain=(0.0, 0.0))
    assert torch.equal(change(voice(), RATE, random.Random(0)), voice())


def test_a_hundredth_of_a_second_survives() -> None:
    for seed in range(8):
        assert len(Perturbation()(torch.randn(160), RATE, random.Random(seed))) > 0
