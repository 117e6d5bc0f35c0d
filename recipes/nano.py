"""Trains what ships in `nano`: photo connector and adapter, retrieval head, sound resampler; repeat the command to resume.

python -m recipes.nano --data FOLDER

FOLDER holds flickr8k, daquar and fsdd. About two and a quarter hours on two idle cores, most of them for pictures; everything
half-made is kept in --work, and --out gets the weights when all stages are done.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from recipes import (
    nano_data,
    nano_digits,
    nano_features,
    nano_fresh,
    nano_model,
    nano_naming,
    nano_photos,
    nano_retrieval,
    nano_reward,
)
from recipes.nano_asked import Album
from recipes.nano_course import Course
from sensorium.batch import Modality
from sensorium.model.multimodal import MultimodalLM
from sensorium.training.features import FeatureStore
from sensorium.training.precision import fast_dtype
from sensorium.training.schedule import Plan

NAMING_EPOCHS, PRACTICE = 2, 1 / 3
"""`PRACTICE`: the share of the minutes for pictures in which captions are drawn and rewarded."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the training data")
    parser.add_argument("--work", type=Path, default=Path("build/nano"), help="features and unfinished runs")
    parser.add_argument("--out", type=Path, default=nano_model.WEIGHTS, help="where nano.json and nano-*.safetensors go")
    parser.add_argument("--minutes", type=float, default=105.0, help="limit of the picture stages, the longest")
    parser.add_argument("--stages", default="retrieval,photos,sound", help="which stages to run")
    args = parser.parse_args()
    torch.manual_seed(0)
    work, stages = args.work, args.stages.split(",")
    photos, digits = nano_data.photos(args.data), nano_data.digits(args.data)
    shapes = nano_fresh.shapes()
    model = nano_model.start(work, shapes, nano_fresh.fresh)
    views = nano_features.pictures(model, [photo.path for photo in photos], work / "photos", print, mirrored=True)
    if "retrieval" in stages:
        assert model.dual is not None
        vectors_ICD = nano_features.sentences(model, photos, work / "sentences.safetensors", print)
        towers = nano_retrieval.Towers(model.dual.image_head, model.dual.text_head)
        nano_model.trainable(towers, "")
        tensors = nano_retrieval.run(towers, photos, views, vectors_ICD, work / "retrieval", print)
        nano_model.write(work / "trained", tensors, shapes)
    # The language model, frozen, in the format this machine multiplies faster
    model.decoder.to(dtype := fast_dtype())
    print(f"language model in {dtype}")
    if "photos" in stages:
        small = nano_features.pooled(views, work / "photos-small", nano_fresh.SIDE, print)
        course = Course(photos, small, albums(model, args.data, work))
        nano_model.write(work / "trained", teach(model, course, args.minutes, work), shapes)
    if "sound" in stages:
        clips = nano_features.recordings(model, [digit.path for digit in digits], work / "digits", print)
        words = nano_features.heard(model, digits, work / "heard.json", print)
        taught = [index for index, digit in enumerate(digits) if digit.split == "train"]
        nano_model.write(work / "trained", nano_digits.run(model, digits, clips, words, taught, work, print), shapes)
    print(f"shipped to {args.out}" if nano_model.ship(work / "trained", args.out) else "not shipped: a stage is missing")


def albums(model: MultimodalLM, data: Path, work: Path) -> list[Album]:
    """Rooms, each four times an epoch, since most of their questions are about language; and some of the drawings."""
    made: list[Album] = []
    for name, rows, pictures, questions in (
        ("rooms", nano_data.rooms(data), 4.0, 12),
        ("drawings", nano_data.shapes(), 0.3, 8),
    ):
        store: FeatureStore = nano_features.pictures(model, sorted({row.path for row in rows}), work / name, print)
        small = nano_features.pooled(store, work / f"{name}-small", nano_fresh.SIDE, print)
        made.append(Album(small, rows, pictures, questions))
    return made


def teach(model: MultimodalLM, course: Course, minutes: float, work: Path) -> Mapping[str, Tensor]:
    """Name, then learn by example, then practise; each of the three goes on from its own state."""
    kept, connector = list(course.photos.values()), model.connectors[Modality.IMAGE]
    places = list(course.photos)
    naming = (model.decoder.embed_tokens.weight.detach(), model.layout.tokenizer, [" ".join(item.captions) for item in kept])
    if not (work / "captioning").is_file():

        def show(row: int, chance: random.Random) -> Tensor:
            return course.views[2 * places[row] + chance.randrange(2)]

        nano_naming.run(connector, *naming, show, NAMING_EPOCHS, work / "naming-photos", print)
    steps = nano_photos.EPOCHS * (len(course.asked(0)) // nano_photos.BATCH)
    nano_photos.run(model, course, Plan(steps, minutes * (1 - PRACTICE)), work / "captioning", print)
    return nano_reward.run(model, course, Plan(steps, minutes * PRACTICE, warmup=10, floor=0.1), work / "practice", print)


if __name__ == "__main__":
    main()
