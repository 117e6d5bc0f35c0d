"""A task in one file: which shape is drawn? Judged by likelihood, on pictures that the file draws itself."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from PIL import Image as Canvas
from PIL import ImageDraw

from sensorium.evaluation.task import Item, Reply, Scores, Task
from sensorium.parts import Image, Message, Sample, Text

SHAPES = ("A circle.", "A square.")


def items(_: Path, split: str) -> Iterator[Item]:
    """Ten of each; the data folder is not needed."""
    for number in range(20):
        canvas, right, side = Canvas.new("RGB", (96, 96), "white"), number % 2, 20 + number + (split == "test")
        draw = (ImageDraw.Draw(canvas).ellipse, ImageDraw.Draw(canvas).rectangle)[right]
        draw((10, 10, 10 + side, 10 + side), fill="red")
        file = io.BytesIO()
        canvas.save(file, "PNG")
        asked = Message("user", (Image(file.getvalue()), Text("Which shape is drawn, a circle or a square?")))
        yield Item(Sample(f"{split}-{number}", (asked,)), {"right": SHAPES[right]}, choices=SHAPES)


def score(item: Item, reply: Reply) -> Scores | None:
    """None where the reply names no shape, or both."""
    said = [shape for shape in SHAPES if shape[2:-1] in reply.text.lower()]
    return {"accuracy": float(said[0] == item.gold["right"])} if len(said) == 1 else None


task = Task(
    "shapes", "Circles and squares", items, score, "accuracy", splits=("train", "test"), answer=lambda it: it.gold["right"]
)
