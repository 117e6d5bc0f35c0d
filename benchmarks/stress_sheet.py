"""The contact sheet of `docs/stress.md`: one synthetic scene under every picture harm at its five severities.

python -m benchmarks.stress_sheet docs/images/corruptions.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from sensorium.data.synthetic import World
from sensorium.evaluation.stress.image import HARMS, corrupt
from sensorium.evaluation.task import Item
from sensorium.evaluation.variant import chance
from sensorium.media.image import to_pillow
from sensorium.parts import Sample

SIDE, SHOWN, NAME, GAP, APART = 192, 72, 92, 3, 12
SCENE = 11
COLOURS = 256


def sheet() -> Image.Image:
    """Two columns of harms, each a row: the scene as it is, then levels 1 to 5."""
    scene = World(seed=3, size=SIDE).scene(SCENE)
    pixels_CHW = torch.from_numpy(np.ascontiguousarray(scene.picture())).permute(2, 0, 1)
    item = Item(Sample("sheet", ()), {})
    rows = -(-len(HARMS) // 2)
    column = NAME + 6 * (SHOWN + GAP) + APART
    page = Image.new("RGB", (2 * column - APART + GAP, rows * (SHOWN + GAP) + GAP), "white")
    pen = ImageDraw.Draw(page)
    for place, kind in enumerate(HARMS):
        left, top = place // rows * column + GAP, place % rows * (SHOWN + GAP) + GAP
        pen.text((left, top + SHOWN // 2 - 6), kind.replace("-", " "), fill="black")
        for level in range(6):
            harmed = corrupt(pixels_CHW, kind, level, chance(item, f"{kind}/0")) if level else pixels_CHW
            small = to_pillow(harmed).resize((SHOWN, SHOWN), Image.Resampling.LANCZOS)
            page.paste(small, (left + NAME + level * (SHOWN + GAP), top))
    return page.quantize(COLOURS, Image.Quantize.MEDIANCUT, kmeans=2, dither=Image.Dither.NONE)


def main(target: str) -> None:
    path = Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet().save(path, optimize=True)
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
