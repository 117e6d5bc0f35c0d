"""What a harm costs: python -m benchmarks.stress_speed [--side 224] [--times 20].

Each kind at its middle level, on one thread: the harm alone and, for pictures, with decoding and encoding of the file, as a
variant does it. A picture is clouds of the given side; a recording lasts 5 s; a clip lasts 5 s too, with 8 pictures a second at
half the side.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import torch

from sensorium.estimate import Estimate, estimate
from sensorium.evaluation.stress import audio, image, video
from sensorium.evaluation.stress.field import plasma
from sensorium.evaluation.task import Item
from sensorium.media.audio import encode_flac
from sensorium.media.image import encode_png
from sensorium.media.matroska import encode_mkv
from sensorium.parts import Audio, Image, Media, Message, Sample, Text, Video

SECONDS, RATE, FPS, LEVEL = 5, 16_000, 8, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--times", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(1)
    dice = np.random.default_rng(0)
    pixels_CHW = torch.from_numpy(
        (np.stack([plasma(args.side, args.side, 1.5, dice) for _ in range(3)]) * 255).astype(np.uint8)
    )
    print("kind | ms of processor time, the harm | ms, file to file")
    whole = variants(image.KINDS, Image(encode_png(pixels_CHW)), args.times)
    for name in image.HARMS:
        alone = timed(lambda name=name: image.corrupt(pixels_CHW, name, LEVEL, 0), args.times)  # type: ignore[misc]
        print(f"{name} | {alone} | {whole[name]}", flush=True)
    wave_T = 0.1 * torch.randn(SECONDS * RATE, generator=torch.Generator().manual_seed(0))
    small = pixels_CHW[:, ::2, ::2].permute(1, 2, 0).numpy()
    film = encode_mkv(np.stack([np.roll(small, 5 * at, 1) for at in range(SECONDS * FPS)]), Fraction(FPS), wave_T.numpy(), RATE)
    for kinds, part in ((audio.KINDS, Audio(encode_flac(wave_T, RATE))), (video.KINDS, Video(film))):
        for name, cost in variants(kinds, part, args.times).items():
            print(f"{name} | | {cost}", flush=True)


def variants(kinds: tuple[image.Kind, ...], part: Media, times: int) -> dict[str, Estimate]:
    """Milliseconds of each kind's variant on an item with this medium; two items, for a harm that needs others."""
    items = [Item(Sample(str(number), (Message("user", (part, Text("What?"))),)), {}) for number in range(2)]
    costs = {}
    for kind in kinds:
        change = kind.variants()[min(LEVEL, len(kind.amounts)) - 1].change
        costs[kind.name] = timed(lambda change=change: change(items, 0), times)  # type: ignore[misc]
    return costs


def timed(work: Callable[[], object], times: int) -> Estimate:
    """Milliseconds of processor time a call, the first not counted."""
    work()
    found = []
    for _ in range(times):
        begin = time.process_time()
        work()
        found.append(1000 * (time.process_time() - begin))
    return estimate(found)


if __name__ == "__main__":
    main()
