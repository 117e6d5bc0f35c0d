"""Trains what ships in `nano`: photo connector and adapter, retrieval head, sound resampler; repeat the command to resume.

python -m recipes.nano --data FOLDER

FOLDER holds flickr8k, daquar and fsdd. Pictures take --minutes on two cores, in two runs that begin alike (137 and 150 minutes
by default, of which 75 are shared); the rest took some half an hour beside other jobs. Everything half-made is kept in --work,
and --out gets the weights when all stages are done.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from recipes import nano_codes, nano_data, nano_digits, nano_features, nano_fresh, nano_lessons, nano_model, nano_retrieval
from sensorium.training.precision import fast_dtype


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the training data")
    parser.add_argument("--work", type=Path, default=Path("build/nano"), help="features and unfinished runs")
    parser.add_argument("--out", type=Path, default=nano_model.WEIGHTS, help="where nano.json and nano-*.safetensors go")
    parser.add_argument("--minutes", type=float, default=212.0, help="limit of the picture stages, the longest")
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
        small = nano_features.pooled(views, work / "photos-small", nano_fresh.SIDE, print)
        tensors = nano_retrieval.run(towers, photos, small, vectors_ICD, work / "retrieval", print)
        nano_model.write(work / "trained", tensors, shapes)
    # The language model, frozen, in the format this machine multiplies faster
    model.decoder.to(dtype := fast_dtype())
    print(f"language model in {dtype}")
    if "photos" in stages:
        tensors = nano_lessons.run(model, photos, views, args.data, args.minutes, work)
        nano_model.write(work / "trained", tensors, shapes)
    if "sound" in stages:
        clips = nano_digits.features(model, digits, work / "digits", print)
        codes = nano_codes.learn(model, nano_digits.WORDS, work / "codes", print)
        taught = [index for index, digit in enumerate(digits) if digit.split == "train"]
        tensors = nano_digits.run(model, codes, digits, clips, taught, work / "sound", print)
        nano_model.write(work / "trained", tensors, shapes)
    print(f"shipped to {args.out}" if nano_model.ship(work / "trained", args.out) else "not shipped: a stage is missing")


if __name__ == "__main__":
    main()
