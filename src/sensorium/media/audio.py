"""A sound file to a mono wave and back; the sound of a video too. soundfile reads what it can, PyAV the rest."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from sensorium.errors import LimitError, MediaError, RequestError
from sensorium.media.source import Access, Blob, Limits, load
from sensorium.media.waves import Waves, open_waves
from sensorium.parts import Source

_RATES = range(1_000, 768_001)
Wave = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A stretch of mono sound.

    Args:
        wave_T: float32, about -1..1, `rate` samples a second.
        start, stop: the stretch, in seconds of the file. seconds_total: what the file holds.
        notes: what was done to the sound that a person should know.
    """

    wave_T: Tensor
    rate: int
    start: float
    stop: float
    seconds_total: float
    name: str
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Length of the stretch."""
        return self.wave_T.shape[0] / self.rate


def decode(
    source: Source | Blob,
    start: float = 0.0,
    stop: float | None = None,
    limits: Limits | None = None,
    access: Access | None = None,
    rate: int = 16_000,
) -> Sound:
    """Read a stretch of WAV, FLAC, MP3, OGG, M4A, AAC, or of a video's sound, mixed to mono and resampled (soxr, HQ).

    Args:
        start, stop: seconds; `stop=None` is the end of the file.

    Raises:
        MediaError: no sound in it, damaged, or it ends before `start`. LimitError: a stretch over the limit.
        RequestError: times that are no stretch. AccessError: see `source.load`.
    """
    limits = limits or Limits()
    check_stretch(start, stop)
    blob = load(source, limits, access)
    check = limits.deadline(blob.name)
    with open_waves(blob, start, check) as waves:
        _check_rate(blob, waves.rate)
        check_seconds(blob.name, start, stop, waves.known, limits)
        wave = _gather(blob, waves, (start, stop), limits, rate, check)
        notes = (*blob.notes, *waves.notes)
    if not len(wave):
        raise _nothing(blob, start)
    end = start + len(wave) / rate
    total = waves.seconds_total if waves.ended else max(waves.known or end, end)
    return Sound(torch.from_numpy(wave), rate, start, end, total, blob.name, notes)


def check_stretch(start: float, stop: float | None) -> None:
    """Refuse times that are no stretch.

    Raises:
        RequestError: negative, reversed or not finite.
    """
    if not (0 <= start < math.inf) or (stop is not None and not (start < stop < math.inf)):
        raise RequestError(f"stretch {start}..{stop} s", "is not a stretch of time", "Give 0 <= start < stop, in seconds")


def check_seconds(name: str, start: float, stop: float | None, known: float | None, limits: Limits) -> None:
    """Refuse a stretch that begins after the end, or is over the limit; `known` is the file's own claim.

    Raises:
        MediaError: `start` is past the end. LimitError: too long.
    """
    if known is not None and start > 0 and start >= known:
        raise MediaError(name, f"lasts {known:.2f} s, and the stretch begins at {start:.2f} s", "Choose an earlier start")
    ends = [end for end in (stop, known) if end is not None]
    if ends and min(ends) - start > limits.seconds:
        raise _too_long(name, min(ends) - start, limits)


def chunks(sound: Sound, seconds: float = 30.0, search: float = 8.0, least: float = 0.05) -> list[Sound]:
    """Cut a sound into pieces of at most `seconds`, each at the quietest place of the last `search` seconds it may have.

    Put one after the other the pieces are the sound, sample for sample. Quiet is measured over windows of `least` seconds.

    Raises:
        RequestError: lengths that allow no cut.
    """
    rate, total = sound.rate, sound.wave_T.shape[0]
    longest, window = int(seconds * rate), max(int(least * rate), 1)
    reach = min(int(search * rate), longest // 2)
    if longest < 1:
        raise RequestError(f"chunks of {seconds} s", f"are shorter than one sample at {rate} Hz", "Choose more seconds")
    pieces, begin = [], 0
    while begin < total:
        end = total
        if total - begin > longest:
            end = begin + longest - reach + _quietest(sound.wave_T[begin + longest - reach : begin + longest], window)
        start, stop = sound.start + begin / rate, sound.start + end / rate
        pieces.append(replace(sound, wave_T=sound.wave_T[begin:end], start=start, stop=stop))
        begin = end
    return pieces


def encode_wav(wave_T: Tensor, rate: int) -> bytes:
    """A mono float wave as a 16-bit WAV file; what is outside -1..1 is clipped."""
    file = io.BytesIO()
    soundfile.write(file, wave_T.clamp(-1, 1).numpy(), rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def encode_flac(wave_T: Tensor, rate: int) -> bytes:
    """A mono float wave as a 24-bit FLAC file; one that leaves -1..1 is made quieter as a whole, so that nothing is clipped."""
    file = io.BytesIO()
    peak = max(float(wave_T.abs().max()), 1.0) if len(wave_T) else 1.0
    soundfile.write(file, (wave_T / peak).numpy(), rate, format="FLAC", subtype="PCM_24")
    return file.getvalue()


def _quietest(wave_T: Tensor, window: int) -> int:
    windows = wave_T.shape[0] // window
    if windows < 2:
        return wave_T.shape[0]
    power = wave_T[: windows * window].reshape(windows, window).pow(2).mean(1)
    lowest = torch.nonzero(power <= power.min()).flatten()
    return int(lowest[-1]) * window + window // 2 + 1


def _gather(
    blob: Blob, waves: Waves, stretch: tuple[float, float | None], limits: Limits, rate: int, check: Callable[[], None]
) -> Wave:
    start, stop = stretch
    most = math.ceil((min(stop - start, limits.seconds) if stop is not None else limits.seconds) * waves.rate)
    resampler = soxr.ResampleStream(waves.rate, rate, 1, dtype="float32") if waves.rate != rate else None
    pieces: list[Wave] = []
    taken, broken = 0, 0
    for block in _blocks(waves, check):
        if stop is None and taken + len(block) > most:
            raise _too_long(blob.name, (taken + len(block)) / waves.rate, limits)
        piece = block[: most - taken]
        taken += len(piece)
        finite = np.isfinite(piece)
        if not finite.all():
            broken += int((~finite).sum())
            piece = np.where(finite, piece, np.float32(0))
        pieces.append(resampler.resample_chunk(piece) if resampler else piece)
        if taken >= most:
            break
    if resampler:
        pieces.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    if broken:
        waves.notes.append(f"{broken} samples are not numbers and read as silence")
    whole = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    return whole[: round(taken * rate / waves.rate)].astype(np.float32, copy=False)


def _blocks(waves: Waves, check: Callable[[], None]) -> Iterator[Wave]:
    for block_TC in waves.blocks:
        check()
        yield block_TC.mean(axis=1, dtype=np.float32) if block_TC.shape[1] > 1 else block_TC[:, 0]


def _check_rate(blob: Blob, rate: int) -> None:
    if rate not in _RATES:
        problem = f"declares {rate} samples a second, outside {_RATES.start}..{_RATES.stop - 1}"
        raise MediaError(blob.name, problem, "The file is damaged; export it again")


def _too_long(name: str, seconds: float, limits: Limits) -> LimitError:
    problem = f"is {seconds:.0f} s long, over the limit of {limits.seconds:.0f} s"
    return LimitError(name, problem, "Choose a stretch with start and stop, or raise Limits.seconds")


def _nothing(blob: Blob, start: float) -> MediaError:
    if start > 0:
        problem = f"ends before the stretch begins, at {start:.2f} s"
        return MediaError(blob.name, problem, "Choose an earlier start")
    return MediaError(blob.name, "holds no samples of sound", "Give a recording with sound in it")
