"""Clips with frames lost, out of order, backwards or standing still; what is heard stays as it was.

A clip is taken at the middles of 24 equal slices and written again without loss, as long as before. A model that looks at 8
middles (or 24) sees those very pictures: every third of the 24 is one of the 8.
"""

from __future__ import annotations

import bisect
import random
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial

from sensorium.errors import MediaError
from sensorium.evaluation.stress.kind import Kind, on_media
from sensorium.evaluation.variant import Change
from sensorium.media.matroska import encode_mkv
from sensorium.media.video import decode
from sensorium.parts import Video

FRAMES = 24
SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)
MOVED = (0.2, 0.4, 0.6, 0.8, 1.0)
Order = Callable[[int, int], list[int]]
"""`(level, seed)` to the frame that is shown in each slice."""


def dropped(level: int, seed: int) -> list[int]:
    """Where a frame is lost the one before it stays on, as in a player; the first is never lost."""
    lost = set(random.Random(seed).sample(range(1, FRAMES), round(SHARES[level - 1] * (FRAMES - 1))))
    shown = [0]
    for frame in range(1, FRAMES):
        shown.append(shown[-1] if frame in lost else frame)
    return shown


def shuffled(level: int, seed: int) -> list[int]:
    """A share of the frames change places, each with another: none of them stays where it was."""
    dice = random.Random(seed)
    chosen = dice.sample(range(FRAMES), round(MOVED[level - 1] * FRAMES))
    shown = list(range(FRAMES))
    for place, frame in zip(chosen, chosen[1:] + chosen[:1], strict=True):
        shown[place] = frame
    return shown


def backwards(_: int, __: int) -> list[int]:
    """From the end to the beginning."""
    return list(range(FRAMES))[::-1]


def frozen(_: int, __: int) -> list[int]:
    """One frame stands still all the time."""
    return [FRAMES // 2] * FRAMES


_ORDERS: dict[str, tuple[Order, tuple[str, ...]]] = {
    "frames-dropped": (dropped, tuple(f"{share:.0%} of the frames" for share in SHARES)),
    "frames-shuffled": (shuffled, tuple(f"{share:.0%} of the frames" for share in MOVED)),
    "frames-reversed": (backwards, ("all",)),
    "frames-frozen": (frozen, ("all",)),
}


def remake(part: Video, order: Sequence[int]) -> Video:
    """The clip with the frame `order[i]` of 24 in the slice `i`.

    Raises:
        MediaError: it cannot be read, or has no length.
    """
    clip = decode(part.source, part.start, part.stop, frames=FRAMES)
    end = clip.seconds if part.stop is None else min(part.stop, clip.seconds)
    seconds = end - part.start
    if seconds <= 0:
        raise MediaError(clip.name, f"lasts {seconds:g} s", "Give a clip that lasts")
    middles = [part.start + (index + 0.5) * seconds / FRAMES for index in range(FRAMES)]
    slices = [max(bisect.bisect_right(clip.times_F, middle) - 1, 0) for middle in middles]
    frames_FHWC = clip.frames_FCHW[[slices[frame] for frame in order]].permute(0, 2, 3, 1).contiguous().numpy()
    fps = Fraction(FRAMES / seconds).limit_denominator(10_000)
    if clip.sound is None:
        return Video(encode_mkv(frames_FHWC, fps))
    return Video(encode_mkv(frames_FHWC, fps, clip.sound.wave_T.numpy(), clip.sound.rate))


def _at(kind: str, level: int) -> Change:
    return on_media(Video, kind, lambda part, seed: remake(part, _ORDERS[kind][0](level, seed)))


KINDS: tuple[Kind, ...] = tuple(Kind(name, "video", amounts, partial(_at, name)) for name, (_, amounts) in _ORDERS.items())
