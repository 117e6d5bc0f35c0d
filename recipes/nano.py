"""Trains what ships in `nano`: photo connector and adapter, retrieval head, sound resampler; repeat the command to resume.

python -m recipes.nano --data FOLDER

FOLDER holds flickr8k, daquar and fsdd. About an hour on two idle cores; everything half-made is kept in --work.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from recipes import nano_codes, nano_data, nano_digits, nano_features, nano_model, nano_naming, nano_photos, nano_retrieval
from sensorium.batch import Modality
from sensorium.model.presets import Trained
from sensorium.training.precision import fast_dtype
from sensorium.training.schedule import Plan

NAMING_EPOCHS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the training data")
    parser.add_argument("--work", type=Path, default=Path("build/nano"), help="features and unfinished runs")
    parser.add_argument("--out", type=Path, default=nano_model.WEIGHTS, help="where nano-*.safetensors go")
    parser.add_argument("--minutes", type=float, default=79.0, help="limit of the photo stage, the longest")
    parser.add_argument("--stages", default="retrieval,photos,sound", help="which stages to run")
    args = parser.parse_args()
    torch.manual_seed(0)
    work, stages = args.work, args.stages.split(",")
    work.mkdir(parents=True, exist_ok=True)
    photos, rooms, digits = nano_data.photos(args.data), nano_data.rooms(args.data), nano_data.digits(args.data)
    model = nano_model.start(work)
    shapes = Trained.model_validate_json((nano_model.WEIGHTS / "nano.json").read_bytes())

    # Features of the frozen towers
    paths = [photo.path for photo in photos]
    views = nano_features.pictures(model, paths, work / "photos", print, mirrored=True)
    if "retrieval" in stages:
        assert model.dual is not None
        vectors_ICD = nano_features.sentences(model, photos, work / "sentences.safetensors", print)
        towers = nano_retrieval.Towers(model.dual.image_head, model.dual.text_head)
        nano_model.trainable(towers, "")
        tensors = nano_retrieval.run(towers, photos, views, vectors_ICD, work / "retrieval", print)
        nano_model.write(args.out, tensors, shapes)

    # The language model, frozen, in the format this machine multiplies faster
    dtype = fast_dtype()
    print(f"language model in {dtype}")
    model.decoder.to(dtype)
    embeddings_VD, tokenizer = model.decoder.embed_tokens.weight.detach(), model.layout.tokenizer
    if "photos" in stages:
        room_views = nano_features.pictures(model, sorted({row.path for row in rooms}), work / "rooms", print)
        course = nano_photos.Course(photos, rooms, (views, room_views))
        kept = list(course.photos)
        if not (work / "captioning").is_file():
            nano_naming.run(
                model.connectors[Modality.IMAGE],
                embeddings_VD,
                tokenizer,
                [" ".join(photos[index].captions) for index in kept],
                lambda row, chance: views[2 * kept[row] + chance.randrange(2)],
                NAMING_EPOCHS,
                work / "naming-photos",
                print,
            )
        steps = nano_photos.EPOCHS * (len(course.asked(0)) // nano_photos.BATCH)
        plan = Plan(steps, args.minutes)
        nano_model.write(args.out, nano_photos.run(model, course, plan, work / "captioning", print), shapes)
    if "sound" in stages:
        clips = nano_digits.features(model, digits, work / "digits", print)
        codes = nano_codes.learn(model, nano_digits.WORDS, work / "codes", print)
        taught = [index for index, digit in enumerate(digits) if digit.split == "train"]
        nano_model.write(args.out, nano_digits.run(model, codes, digits, clips, taught, work / "sound", print), shapes)


if __name__ == "__main__":
    main()
