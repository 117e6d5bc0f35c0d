"""Pointing: the box of what an expression means, in photos (RefCOCO) and in the synthetic world."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from sensorium.data.synthetic.world import Split, World
from sensorium.evaluation.metrics.boxes import overlap
from sensorium.evaluation.task import Item, Reply, Scores, Task
from sensorium.evaluation.tasks.asking import ask
from sensorium.evaluation.tasks.layout import Layout
from sensorium.evaluation.tasks.reading import BOX, box
from sensorium.evaluation.tasks.rows import field, picture, rows
from sensorium.evaluation.tasks.world import TWIN, WORLD
from sensorium.media import image
from sensorium.media.source import Limits, load
from sensorium.parts import Image, Message, Sample, Source, Text
from sensorium.protocols import Sampling

REFCOCO = Layout("refcoco", "val-00000-of-00001.parquet (or val.jsonl) with question_id, image, answer, bbox, file_name")
WHERE = "Where is {}? Answer with its box in pixels as [x0, y0, x1, y1]."
RIGHT = 0.5
"""An overlap from which a box counts as right."""
_COUNT = 300
_SPLITS: dict[str, Split] = {"train": "train", "test": "test"}


def refcoco_bbox_rec_val() -> Task:
    """RefCOCO."""
    about = "The box of an expression: RefCOCO, validation (Kazemzadeh et al. 2014); right from an overlap (IoU) of 0.5 on"
    return _task("refcoco_bbox_rec_val", about, _refcoco, ("val",))


def world_boxes() -> Task:
    """The synthetic world."""
    about = "The box of a thing in the synthetic world; right from an overlap (IoU) of 0.5 on"
    return replace(_task("world_boxes", about, partial(_world, WORLD), tuple(_SPLITS)), twins=partial(_world, TWIN))


def _task(name: str, about: str, items: Callable[[Path, str], Iterable[Item]], splits: tuple[str, ...]) -> Task:
    return Task(
        name=name,
        about=about,
        items=items,
        score=_overlap,
        main="accuracy",
        answer=lambda item: str([round(edge) for edge in item.gold["box"]]),
        sampling=Sampling(max_tokens=64),
        splits=splits,
        extractor=BOX,
    )


def _overlap(item: Item, reply: Reply) -> Scores | None:
    said = box(reply.text)
    if said is None:
        return None
    if max(said) <= 1:
        width, height = item.gold["size"]
        said = said[0] * width, said[1] * height, said[2] * width, said[3] * height
    shared = overlap(said, tuple(item.gold["box"]))
    return {"accuracy": float(shared >= RIGHT), "IoU": shared}


def _refcoco(data: Path, split: str) -> Iterator[Item]:
    """Each row names one thing in several ways; each way is asked."""
    for path in REFCOCO.table(data, split):
        for row in rows(path):
            source = picture(field(row, "image", path), path.parent)
            x, y, width, height = field(row, "bbox", path)
            gold = {"box": [x, y, x + width, y + height], "size": _size(source)}
            number, name = str(field(row, "question_id", path)), str(row.get("file_name", ""))
            for way, words in enumerate(field(row, "answer", path)):
                question = WHERE.format(words.strip().rstrip("."))
                yield ask(f"{number}-{way}", [Image(source)], question, gold, name)


def _size(source: Source) -> list[int]:
    """Width and height, from the head of the file."""
    blob = load(source, Limits())
    try:
        with blob.open() as stream:
            return list(image.open_picture(blob, Limits(), stream).size)
    except image.PILLOW_ERRORS as error:
        raise blob.damaged("a picture", error) from error


def _world(world: World, _: Path, split: str) -> Iterator[Item]:
    for sample in world.samples(_COUNT, _SPLITS[split], "boxes"):
        shown, said = sample.messages[0].parts
        assert isinstance(said, Text)
        y0, x0, y1, x1 = (edge * world.size for edge in sample.meta["box"])
        question = f"{said.text} Answer with its box in pixels as [x0, y0, x1, y1]."
        yield Item(
            Sample(sample.id, (Message("user", (shown, Text(question))),)), {"box": [x0, y0, x1, y1], "size": [world.size] * 2}
        )
