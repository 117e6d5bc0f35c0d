"""Recordings under noise, in a room, over a bad line: at stated signal-to-noise ratios, reverberation times and losses.

A signal-to-noise ratio is that of the mean powers over the whole stretch, its pauses included. What comes out is as long as
what went in, in the 16 kHz of `media.audio`, and made quieter as a whole where it would be clipped.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from sensorium.errors import MediaError
from sensorium.evaluation.stress.kind import Kind, on_media
from sensorium.evaluation.task import Item
from sensorium.evaluation.variant import Change, chance, media, with_media
from sensorium.media import perturb
from sensorium.media.audio import decode, encode_flac
from sensorium.parts import Audio, Media

DECIBELS = (20, 10, 5, 0, -5)
FADING = (0.2, 0.4, 0.8, 1.4, 2.0)
"""Seconds in which the echo falls by 60 dB; it has as much energy as the direct sound."""
HERTZ = (4000, 3000, 2000, 1000, 500)
CLIPPED = (0.01, 0.05, 0.1, 0.25, 0.5)
"""Shares of the samples that are cut at the top."""
LOST = (0.05, 0.1, 0.2, 0.4, 0.6)
"""Shares of the stretches, of 50 ms, that are silent."""
VOICES = 6
_PIECE = 0.05


def white(wave_T: Tensor, _: int, level: int, seed: int) -> Tensor:
    """Noise as strong at every frequency."""
    return perturb.noisy(wave_T, DECIBELS[level - 1], 0.0, _small(seed))


def pink(wave_T: Tensor, _: int, level: int, seed: int) -> Tensor:
    """Noise that falls by 3 dB an octave."""
    return perturb.noisy(wave_T, DECIBELS[level - 1], 0.5, _small(seed))


def reverberant(wave_T: Tensor, rate: int, level: int, seed: int) -> Tensor:
    """In a room."""
    return perturb.echo(wave_T, rate, FADING[level - 1], _small(seed), loud=1.0)


def narrow(wave_T: Tensor, rate: int, level: int, _: int) -> Tensor:
    """Nothing above a frequency."""
    return perturb.narrow(wave_T, rate, HERTZ[level - 1])


def clipped(wave_T: Tensor, _: int, level: int, __: int) -> Tensor:
    """The loudest samples cut."""
    order = wave_T.abs().sort().values
    top = float(order[min(round(len(order) * (1 - CLIPPED[level - 1])), len(order) - 1)])
    return wave_T.clamp(-top, top)


def dropped(wave_T: Tensor, rate: int, level: int, seed: int) -> Tensor:
    """Stretches of it lost, as packets are."""
    size = max(round(_PIECE * rate), 1)
    pieces = -(-len(wave_T) // size)
    gone = random.Random(seed).sample(range(pieces), round(LOST[level - 1] * pieces))
    kept_T = wave_T.clone()
    for piece in gone:
        kept_T[piece * size : (piece + 1) * size] = 0
    return kept_T


def babble(wave_T: Tensor, voices: Sequence[Tensor], level: int, seed: int) -> Tensor:
    """Other recordings, each equally strong and from a place of its own on, go on behind this one."""
    dice, total_T = random.Random(seed), torch.zeros(len(wave_T))
    for voice_T in voices:
        start = dice.randrange(len(voice_T))
        places_T = (torch.arange(len(wave_T)) + start) % len(voice_T)
        total_T += voice_T[places_T] / voice_T.square().mean().sqrt().clamp(min=1e-6)
    return perturb.over(wave_T, total_T, DECIBELS[level - 1])


def _small(seed: int) -> int:
    """Torch's seeds are signed."""
    return seed >> 1


_LINES = {
    "white-noise": (white, "{} dB", DECIBELS),
    "pink-noise": (pink, "{} dB", DECIBELS),
    "reverberation": (reverberant, "{} s to -60 dB", FADING),
    "band-limit": (narrow, "nothing above {} Hz", HERTZ),
    "clipping": (clipped, "{:.0%} of the samples", CLIPPED),
    "dropouts": (dropped, "{:.0%} of the time", LOST),
}


def _remake(kind: str, level: int, part: Audio, seed: int) -> Audio:
    sound = decode(part.source, part.start, part.stop)
    return Audio(encode_flac(_LINES[kind][0](sound.wave_T, sound.rate, level, seed), sound.rate), spoken=part.spoken)


def _at(kind: str, level: int) -> Change:
    return on_media(Audio, kind, partial(_remake, kind, level))


def _babble_at(level: int) -> Change:
    """Behind an item the recordings of others; where too few can be read, its own from another place on."""

    def change(items: Sequence[Item], place: int) -> Item:
        fresh: list[Media] = []
        for number, part in enumerate(media(items[place])):
            try:
                fresh.append(_among(items, place, part, level, number) if isinstance(part, Audio) else part)
            except MediaError:
                fresh.append(part)
        return with_media(items[place], fresh)

    return change


def _among(items: Sequence[Item], place: int, part: Audio, level: int, number: int) -> Audio:
    seed = chance(items[place], f"babble/{number}")
    sound, voices = decode(part.source, part.start, part.stop), list[Tensor]()
    others = [index for index in range(len(items)) if index != place]
    for index in random.Random(seed).sample(others, min(2 * VOICES, len(others))):
        heard = next((other for other in media(items[index]) if isinstance(other, Audio)), None)
        try:
            if heard is not None and len(voices) < VOICES:
                voices.append(decode(heard.source, heard.start, heard.stop).wave_T)
        except MediaError:
            continue
    voices += [sound.wave_T] * (VOICES - len(voices))
    return Audio(encode_flac(babble(sound.wave_T, voices, level, seed), sound.rate), spoken=part.spoken)


KINDS: tuple[Kind, ...] = (
    *(
        Kind(name, "audio", tuple(form.format(value) for value in values), partial(_at, name))
        for name, (_, form, values) in _LINES.items()
    ),
    Kind("babble", "audio", tuple(f"{value} dB" for value in DECIBELS), _babble_at),
)
