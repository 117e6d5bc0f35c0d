"""Sound to Whisper's log-mel spectrogram, of the sound's own length.

Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision", 2.2; reference: `WhisperFeatureExtractor`
of transformers, which always gives 30 s. A batched real FFT is the quickest way to it here, and equals the reference to 1e-6;
a folded DFT by matrix products is slower in float64 and off by 2e-5 in float32.
"""

from __future__ import annotations

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.errors import RequestError

RATE = 16_000
"""Samples a second that the spectrogram is made from."""
WINDOW, HOP = 400, 160
"""Samples under one window, and from one to the next: 25 ms and 10 ms."""
LONGEST = 30 * RATE
"""Samples of the longest piece."""


def log_mel(samples: Tensor, mels: int = 80, frames: int | None = None) -> Tensor:
    """Whisper's input: `mel_MT`, float32, 100 frames a second.

    The frames of a sound equal the first frames of the same sound padded to 30 s with silence.

    Args:
        samples: float32 `(N,)`, mono, 16 kHz, at most 30 s.
        frames: how many to give, silence beyond the end; by default those that begin within the sound, made even.

    Raises:
        RequestError: there is no sound, more than 30 s of it, or more than `frames` hold.
    """
    needed = 2 * math.ceil(len(samples) / (2 * HOP))
    frames = needed if frames is None else frames
    if not 0 < len(samples) <= LONGEST or not needed <= frames <= LONGEST // HOP:
        raise RequestError(
            f"sound of {len(samples):,} samples",
            f"does not fit 1..{LONGEST:,} samples and {frames} frames",
            "Cut it into pieces of up to 30 s",
        )
    half = WINDOW // 2
    silence = min(frames * HOP + half, LONGEST) - len(samples)  # at 30 s the reference reflects the sound's end instead
    padded = F.pad(samples.float(), (0, max(silence, 0)))
    padded = F.pad(padded[None], (half, max(frames * HOP + half - len(padded), 0)), mode="reflect")[0]
    window, bank = _window(), _mel_bank(mels)
    spectrum = torch.fft.rfft(padded.as_strided((frames, WINDOW), (HOP, 1)) * window)
    power = torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag)
    log_TM = (power @ bank).clamp_(min=1e-10).log10_()
    log_TM = torch.maximum(log_TM, log_TM.max() - 8.0).add_(4.0).div_(4.0)
    return log_TM.T


@cache
def _window() -> Tensor:
    return torch.hann_window(WINDOW)


@cache
def _mel_bank(mels: int) -> Tensor:
    """Triangles of Slaney's mel scale up to 8 kHz, each of area 1, `(201, mels)` float32."""
    edges = _hertz(torch.linspace(0.0, _mel(8000.0), mels + 2, dtype=torch.float64))
    bins = torch.linspace(0.0, RATE / 2, WINDOW // 2 + 1, dtype=torch.float64)[:, None]
    rise = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return (torch.minimum(rise, fall).clamp_(min=0.0) * 2.0 / (edges[2:] - edges[:-2])).float()


def _mel(hertz: float) -> float:
    return 3.0 * hertz / 200.0 if hertz < 1000.0 else 15.0 + 27.0 * math.log(hertz / 1000.0) / math.log(6.4)


def _hertz(mel: Tensor) -> Tensor:
    return torch.where(mel < 15.0, 200.0 * mel / 3.0, 1000.0 * torch.exp((mel - 15.0) * math.log(6.4) / 27.0))
