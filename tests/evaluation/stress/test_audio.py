"""Harmed recordings: ratios, times and shares are the stated ones, as measured on what comes out."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from sensorium.evaluation.stress import audio
from sensorium.evaluation.stress.audio import CLIPPED, DECIBELS, FADING, HERTZ, KINDS, LOST
from sensorium.evaluation.task import Item
from sensorium.evaluation.variant import media
from sensorium.media import perturb
from sensorium.media.audio import decode, encode_flac, encode_wav
from sensorium.parts import Audio, Message, Sample, Text

RATE = 16_000


def voice(seed: int = 0, seconds: float = 1.0) -> Tensor:
    """Sound that swells and fades, as speech does, well below full scale."""
    times_T = torch.arange(int(RATE * seconds)) / RATE
    tone_T = sum(torch.sin(2 * math.pi * (120 + 7 * seed) * number * times_T) / number for number in range(1, 12))
    assert isinstance(tone_T, Tensor)
    return 0.1 * tone_T * (0.2 + torch.sin(2 * math.pi * 3 * times_T).square())


def asked(name: str, wave_T: Tensor, spoken: bool = False) -> Item:
    part = Audio(encode_flac(wave_T, RATE), spoken=spoken)
    return Item(Sample(name, (Message("user", (part, Text("What is heard?"))),)), {})


def heard(item: Item) -> Tensor:
    (part,) = media(item)
    return decode(part.source).wave_T


def variants(name: str) -> list[Item]:
    items = [asked(str(number), voice(number)) for number in range(4)]
    (kind,) = (kind for kind in KINDS if kind.name == name)
    return [variant.change(items, 0) for variant in kind.variants()]


@pytest.mark.parametrize("name", ["white-noise", "pink-noise", "babble"])
def test_noise_stands_below_the_sound_by_the_stated_decibels_in_the_file(name: str) -> None:
    clean_T = voice()
    for item, wanted in zip(variants(name), DECIBELS, strict=True):
        harmed_T = heard(item)
        assert len(harmed_T) == len(clean_T)
        assert float(harmed_T.abs().max()) < 0.999, "so quiet a sound is not made quieter"
        noise_T = harmed_T - clean_T
        assert 10 * math.log10(float(clean_T.square().mean() / noise_T.square().mean())) == pytest.approx(wanted, abs=0.1)


def test_the_file_is_clean_plus_noise_times_one_gain() -> None:
    clean_T = 9 * voice()
    harmed_T = decode(encode_flac(perturb.noisy(clean_T, 0.0, 0.0, 5), RATE)).wave_T
    whole_T = perturb.noisy(clean_T, 0.0, 0.0, 5)
    assert float(whole_T.abs().max()) > 1
    assert torch.allclose(harmed_T, whole_T / whole_T.abs().max(), atol=1e-6)


def test_white_noise_is_flat_and_pink_falls_by_three_decibels_an_octave() -> None:
    for colour, slope in ((0.0, 0.0), (0.5, -3.01)):
        noise_T = perturb.noisy(voice(seconds=8), -40, colour, 3) - voice(seconds=8)
        power_F = torch.fft.rfft(noise_T).abs().square()
        octaves = [float(power_F[2**n * 100 : 2 ** (n + 1) * 100].mean().log10() * 10) for n in range(6)]
        assert np.polyfit(range(6), octaves, 1)[0] == pytest.approx(slope, abs=0.25)


def test_a_room_fades_by_sixty_decibels_in_the_stated_time() -> None:
    for seconds in FADING:
        tail_T = perturb.room(int(RATE * seconds), seed=2, loud=1.0)
        tail_T[0] = 0
        left_T = 10 * tail_T.square().flip(0).cumsum(0).flip(0).log10()  # Schroeder 1965: the energy still to come
        left_T = left_T - left_T[0]
        early, late = (int((left_T > -fallen).sum()) for fallen in (5.0, 25.0))
        assert 3 * (late - early) / RATE == pytest.approx(seconds, rel=0.1)
        assert float(tail_T.square().sum()) == pytest.approx(1.0, rel=0.01)


def test_each_harm_of_the_line_grows() -> None:
    clean_T = voice()
    for name in ("clipping", "band-limit", "dropouts", "white-noise", "babble"):
        found = [float((heard(item) - clean_T).square().mean()) for item in variants(name)]
        assert all(after > before * 0.98 for before, after in itertools.pairwise(found)), (name, found)


def test_shares_and_frequencies_are_the_stated_ones() -> None:
    for level, share in enumerate(LOST, 1):
        kept_T = audio.dropped(torch.ones(10 * RATE), RATE, level, 4)
        assert float((kept_T == 0).float().mean()) == pytest.approx(share, abs=0.005)
    noise_T = torch.randn(RATE, generator=torch.Generator().manual_seed(0))
    for level, share in enumerate(CLIPPED, 1):
        cut_T = audio.clipped(noise_T, RATE, level, 0)
        assert float((cut_T.abs() == cut_T.abs().max()).float().mean()) == pytest.approx(share, abs=0.001)
    for level, hertz in enumerate(HERTZ, 1):
        power_F = torch.fft.rfft(audio.narrow(noise_T, RATE, level, 0)).abs().square()
        assert float(power_F[int(1.1 * hertz) + 2 :].sum()) < 1e-6 * float(power_F[: hertz - 1].sum())


def test_a_variant_is_the_same_each_time_and_keeps_what_is_spoken() -> None:
    items = [asked("a", voice(), spoken=True)]
    for kind in KINDS:
        for variant in kind.variants()[:2]:
            once, again = (variant.change(items, 0) for _ in range(2))
            assert once == again != items[0]
            (part,) = media(once)
            assert isinstance(part, Audio) and part.spoken


def test_a_stretch_becomes_a_file_of_its_own_length() -> None:
    long = Audio(encode_wav(voice(seconds=2.0), RATE), start=0.5, stop=1.25)
    item = Item(Sample("a", (Message("user", (long,)),)), {})
    changed = KINDS[0].variants()[0].change([item], 0)
    assert len(heard(changed)) == 0.75 * RATE
    (part,) = media(changed)
    assert isinstance(part, Audio) and part.start == 0 and part.stop is None


def test_silence_and_a_broken_file_are_left_alone_by_noise() -> None:
    silent = asked("quiet", torch.zeros(800))
    broken = Item(Sample("b", (Message("user", (Audio(b"RIFF\0\0\0\0WAVE"),)),)), {})
    for kind in KINDS:
        assert float(heard(kind.variants()[4].change([silent, broken], 0)).abs().max()) == 0
        assert kind.variants()[0].change([silent, broken], 1) == broken
