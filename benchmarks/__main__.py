"""Measures `nano` on data it was not trained on: python -m benchmarks --data FOLDER [--split test] [--only captions,...]."""

from __future__ import annotations

import argparse
import json
import platform
import time
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks import captions, digits, photo_questions, retrieval, short_answers, spoken_questions
from recipes import nano_data, nano_drawings
from sensorium.estimate import Estimate
from sensorium.model.generate import Assistant
from sensorium.model.load import load

NAMES = ("retrieval", "captions", "photo_questions", "digits", "daquar", "easy_vqa")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="nano", help="nano or a checkpoint folder")
    parser.add_argument("--split", default="test", choices=("dev", "test"))
    parser.add_argument("--only", default=",".join(NAMES))
    parser.add_argument("--limit", type=int, default=0, help="rows of each task at most; 0 is all")
    parser.add_argument("--bf16", action="store_true", help="the language model in bfloat16")
    parser.add_argument("--out", type=Path, default=Path("build/scores"))
    args = parser.parse_args()
    model = load(args.model)
    assert isinstance(model, Assistant), "these tasks need a model of ours"
    # Photos of these sets hold no text to speak of: character recognition, which costs most of the time, is left out.
    reader = model.model.reader
    model.model.reader = replace(reader, policy=replace(reader.policy, words_in_images=False))
    if args.bf16:
        model.model.decoder.to(torch.bfloat16)
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.only.split(","):
        began = time.monotonic()
        scores, extra = run(name, model, args.data, args.split, args.limit or None)
        print(f"\n{name}, {args.split}, {time.monotonic() - began:.0f} s")
        for score, value in scores.items():
            print(f"  {score:45} {value}")
        row = {"task": name, "split": args.split, "model": args.model, "bf16": args.bf16, "machine": platform.processor()}
        row |= {"scores": {score: value._asdict() for score, value in scores.items()}, **extra}
        (args.out / f"{name}-{args.split}.json").write_text(json.dumps(row, indent=2) + "\n", "utf-8")


def run(
    name: str, model: Assistant, data: Path, split: str, limit: int | None
) -> tuple[dict[str, Estimate], dict[str, object]]:
    """One task: its scores, and what else to keep."""
    if name in ("daquar", "easy_vqa"):
        asked = nano_data.rooms(data) if name == "daquar" else nano_drawings.drawings()
        return short_answers.measure(model, [row for row in asked if row.split == split][:limit]), {}
    if name == "digits":
        return digits.measure(model, [row for row in nano_data.digits(data) if row.split == "test"][:limit]), {}
    photos = [photo for photo in nano_data.photos(data) if photo.split == split][:limit]
    if name == "captions":
        scores, said = captions.measure(model, photos)
        return scores, {"captions": {Path(photo.path).name: text for photo, text in zip(photos, said, strict=True)}}
    tasks = {"retrieval": retrieval, "photo_questions": photo_questions, "spoken_questions": spoken_questions}
    return tasks[name].measure(model, photos), {}


if __name__ == "__main__":
    main()
