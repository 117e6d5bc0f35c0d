"""Tiny data sets in the form in which the exams are published, each written by one function into the data folder."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sensorium.data.synthetic.sound import wav


def png(shade: int = 100) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (12, 8), (shade, 90, 60)).save(file, "PNG")
    return file.getvalue()


def photo(path: Path, shade: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 8), (shade, 90, 60)).save(path)


def sound(path: Path, pitch: float = 440.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wav(np.array([math.sin(step * pitch / 2500) for step in range(1600)], dtype=np.float32)))


def written(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), "utf-8")


def lines(path: Path, rows: Sequence[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def cells(path: Path, rows: Sequence[dict[str, Any]], comma: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), delimiter=comma)
        table.writeheader()
        table.writerows(rows)


def vqav2(data: Path) -> None:
    folder = data / "vqav2"
    asked = [{"image_id": 42, "question": "How many dogs?", "question_id": number} for number in (42000, 42001)]
    given = [
        {
            "question_id": row["question_id"],
            "image_id": 42,
            "question_type": "how many",
            "answer_type": "number",
            "multiple_choice_answer": "2",
            "answers": [
                {"answer": "2" if number < 9 else "many", "answer_confidence": "yes", "answer_id": number + 1}
                for number in range(10)
            ],
        }
        for row in asked
    ]
    written(folder / "v2_OpenEnded_mscoco_val2014_questions.json", {"data_subtype": "val2014", "questions": asked})
    written(folder / "v2_mscoco_val2014_annotations.json", {"annotations": given})
    photo(folder / "val2014" / "COCO_val2014_000000000042.jpg")


def gqa(data: Path) -> None:
    asked = {"201640614": {"question": "Who is wearing the dress?", "imageId": "n161313", "answer": "woman", "types": {}}}
    written(data / "gqa" / "testdev_balanced_questions.json", asked)
    photo(data / "gqa" / "images" / "n161313.jpg")


def textvqa(data: Path) -> None:
    row = {"question": "what is the brand?", "question_id": 34602, "image_id": "003a8ae2ef43b901", "set_name": "val"}
    written(data / "textvqa" / "TextVQA_0.5.1_val.json", {"data": [row | {"answers": ["dakota"] * 10}]})
    photo(data / "textvqa" / "train_images" / "003a8ae2ef43b901.jpg")


def docvqa(data: Path) -> None:
    row = {"questionId": 49153, "question": "What is the ‘actual’ value?", "image": "documents/xnbl0037_1.png"}
    written(data / "docvqa" / "val_v1.0_withQT.json", {"dataset_name": "SP-DocVQA", "data": [row | {"answers": ["0.28"]}]})
    photo(data / "docvqa" / "documents" / "xnbl0037_1.png")


def chartqa(data: Path) -> None:
    row = {"imgname": "41699051005347.png", "query": "How many food items?", "label": "14"}
    written(data / "chartqa" / "test" / "test_human.json", [row])
    written(data / "chartqa" / "test" / "test_augmented.json", [row | {"query": "Which year?", "label": "2010"}])
    photo(data / "chartqa" / "test" / "png" / "41699051005347.png")


def clotho_aqa(data: Path) -> None:
    rows = [
        {"file_name": "river.wav", "QuestionText": "Is water flowing?", "answer": answer, "confidence": "yes"}
        for answer in ("yes", "yes", "no")
    ]
    cells(data / "clotho_aqa" / "clotho_aqa_test.csv", rows)
    sound(data / "clotho_aqa" / "audio_files" / "river.wav")


def mmmu(data: Path) -> None:
    row = {
        "id": "validation_Art_1",
        "question": "Compare <image 1> with <image 2>: which is older?",
        "options": "['the first', 'the second']",
        "answer": "B",
        "question_type": "multiple-choice",
        "image_1": "a.png",
        "image_2": "b.png",
    }
    opened = row | {
        "id": "validation_Art_2",
        "question": "<image 1> How many?",
        "options": "[]",
        "answer": "['7', 'seven']",
        "question_type": "open",
    }
    lines(data / "mmmu" / "Art" / "validation.jsonl", [row, opened])
    for number, name in enumerate("ab"):
        photo(data / "mmmu" / "Art" / f"{name}.png", 50 * number)


def scienceqa(data: Path) -> None:
    row = {"question": "Which is a plant?", "choices": ["moss", "dog"], "answer": 0, "hint": "Look.", "image": "image.png"}
    written(data / "scienceqa" / "problems.json", {"5": row, "6": row | {"image": None}, "7": row})
    written(data / "scienceqa" / "pid_splits.json", {"train": ["7"], "test": ["5", "6"]})
    photo(data / "scienceqa" / "test" / "5" / "image.png")


def ai2d(data: Path) -> None:
    """In Parquet, as the hub has it."""
    from pyarrow import Table, parquet

    row = {"question": "Which eats?", "options": ["cat", "sun", "tree", "water"], "answer": "0"}
    (data / "ai2d").mkdir(parents=True)
    table = Table.from_pylist([row | {"image": {"bytes": png(), "path": None}}])
    parquet.write_table(table, data / "ai2d" / "test-00000-of-00001.parquet")


def mmstar(data: Path) -> None:
    question = "Which one is it?\nOptions: A: a red, large car, B: a tree, C: snow, D: the sea"
    row = {"index": 0, "question": question, "image": "0.png", "answer": "A", "category": "coarse perception"}
    lines(data / "mmstar" / "mmstar.jsonl", [row])
    photo(data / "mmstar" / "0.png")


def mmbench(data: Path) -> None:
    row = {"index": 241, "question": "What is it?", "hint": "nan", "A": "a cat", "B": "a dog", "C": "", "D": "", "answer": "B"}
    big = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(big, "PNG")
    first = row | {"category": "objects", "image": base64.b64encode(big.getvalue()).decode(), "split": "dev"}
    again = first | {"index": 1000241, "A": "a dog", "B": "a cat", "answer": "A", "image": "241"}
    cells(data / "mmbench" / "MMBench_DEV_EN.tsv", [first, again], "\t")


def nextqa(data: Path) -> None:
    ways = {f"a{number}": text for number, text in enumerate(["cry", "sit", "jump", "eat", "sleep"])}
    row = {"video": "3238737531", "frame_count": 400, "width": 640, "height": 480, "question": "why did the boy smile"}
    cells(data / "nextqa" / "test.csv", [row | {"answer": 2, "qid": 3, "type": "CW"} | ways])
    written(data / "nextqa" / "map_vid_vidorID.json", {"3238737531": "1164/3238737531"})
    clip = data / "nextqa" / "NExTVideo" / "1164" / "3238737531.mp4"
    clip.parent.mkdir(parents=True)
    clip.write_bytes(b"a clip")


def pope(data: Path) -> None:
    for part in ("random", "popular", "adversarial"):
        rows = [
            {"question_id": number, "image": "COCO_val2014_000000310196.jpg", "text": f"Is there a {thing} in the image?"}
            | {"label": label}
            for number, (thing, label) in enumerate((("snowboard", "yes"), ("car", "no")), 1)
        ]
        lines(data / "pope" / f"coco_pope_{part}.json", rows)
    photo(data / "pope" / "val2014" / "COCO_val2014_000000310196.jpg")


def nlvr2(data: Path) -> None:
    row = {"sentence": "There are two dogs.", "left_url": "", "right_url": "", "identifier": "test1-0-1-0", "label": "True"}
    lines(data / "nlvr2" / "test1.json", [row, row | {"identifier": "test1-0-1-1", "label": "False"}])
    for side in (0, 1):
        photo(data / "nlvr2" / "test1" / f"test1-0-1-img{side}.png", 60 * side)


def coco_captions(path: Path, pictures: Path, **more: Any) -> None:
    images = [{"id": number, "file_name": f"{number:012}.jpg", "height": 8, "width": 12, **more} for number in (139, 285)]
    said = [
        {"id": number, "image_id": 139 if number < 5 else 285, "caption": f"A {'dog' if number < 5 else 'cat'} runs {number}."}
        for number in range(10)
    ]
    written(path, {"images": images, "annotations": said})
    for row in images:
        photo(pictures / row["file_name"])


def coco2017(data: Path) -> None:
    coco_captions(data / "coco2017" / "annotations" / "captions_val2017.json", data / "coco2017" / "val2017")


def nocaps(data: Path) -> None:
    coco_captions(data / "nocaps" / "nocaps_val_4500_captions.json", data / "nocaps" / "val", domain="near-domain")


def karpathy(data: Path, folder: str, pictures: str, **more: Any) -> None:
    images = [
        {"imgid": number, "filename": f"{number}.jpg", "split": "test" if number else "train", **more}
        | {"sentences": [{"raw": f"A {thing} runs {turn}.", "tokens": []} for turn in range(2)]}
        for number, thing in enumerate(("cow", "dog", "cat"))
    ]
    written(data / folder / f"dataset_{folder}.json", {"images": images, "dataset": folder})
    for row in images:
        photo(data / folder / pictures / str(row["filename"]))


def flickr30k(data: Path) -> None:
    karpathy(data, "flickr30k", "flickr30k-images")


def coco(data: Path) -> None:
    karpathy(data, "coco", "val2014", filepath="val2014")


def clotho(data: Path) -> None:
    for split in ("validation", "evaluation"):
        rows = [
            {"file_name": f"{name}.wav"} | {f"caption_{number}": f"A {name} {number}" for number in range(1, 6)}
            for name in ("bell", "river")
        ]
        cells(data / "clotho" / f"clotho_captions_{split}.csv", rows)
        for name in ("bell", "river"):
            sound(data / "clotho" / split / f"{name}.wav")


def refcoco(data: Path) -> None:
    row = {"question_id": "469306", "question": "", "answer": ["the dog", "dog on the left."], "bbox": [1.0, 2.0, 4.0, 3.0]}
    lines(data / "refcoco" / "val.jsonl", [row | {"image": "a.png", "file_name": "COCO_train2014_000000000001.jpg"}])
    photo(data / "refcoco" / "a.png")


def librispeech(data: Path) -> None:
    for split in ("test-clean", "test-other"):
        folder = data / "librispeech" / split / "1089" / "134686"
        sound(folder / "1089-134686-0000.flac")
        said = "1089-134686-0000 HE HOPED THERE WOULD BE STEW\n1089-134686-0001 STUFF IT INTO YOU\n"
        (folder / "1089-134686.trans.txt").write_text(said, "utf-8")
        sound(folder / "1089-134686-0001.flac")


def flickr8k(data: Path) -> None:
    things = ("dog", "cat", "horse", "bird")
    rows = [
        {"image": f"images/{number}.jpg", "split": split, "captions": [f"A {thing} runs {turn} ." for turn in range(5)]}
        for number, (split, thing) in enumerate((split, thing) for split in ("train", "test") for thing in things)
    ]
    lines(data / "flickr8k" / "captions.jsonl", rows)
    for number, row in enumerate(rows):
        photo(data / "flickr8k" / str(row["image"]), 10 * number)


def daquar(data: Path) -> None:
    row = {"image": "images/image1.jpg", "question": "what is on the floor ?", "answer": "garbage_bin"}
    lines(data / "daquar" / "questions.jsonl", [row | {"split": split} for split in ("train", "test")])
    photo(data / "daquar" / "images" / "image1.jpg")


def nlvr(data: Path) -> None:
    row = {"image": "images/test/1-0.png", "split": "test", "sentence": "There is a tower with four blocks", "label": True}
    lines(data / "nlvr" / "questions.jsonl", [row, row | {"label": False}])
    photo(data / "nlvr" / "images" / "test" / "1-0.png")


def fsdd(data: Path) -> None:
    row = {"audio": "audio/3_george_0.wav", "split": "test", "digit": 3, "text": "three", "speaker": "george"}
    lines(data / "fsdd" / "labels.jsonl", [row])
    sound(data / "fsdd" / "audio" / "3_george_0.wav")


def ljspeech(data: Path) -> None:
    lines(
        data / "ljspeech_mini" / "transcripts.jsonl", [{"audio": "audio/LJ1.wav", "text": "in being (comparatively) modern."}]
    )
    sound(data / "ljspeech_mini" / "audio" / "LJ1.wav")


def grid_clips(data: Path) -> None:
    row = {"clip": "clips/grid_a.mp4", "source": "GRID", "transcript": "lay red with p nine again", "frames": 75, "fps": 25.0}
    lines(data / "grid_clips" / "captions.jsonl", [row])
    (data / "grid_clips" / "clips").mkdir()
    (data / "grid_clips" / "clips" / "grid_a.mp4").write_bytes(b"a clip")


FOLDERS: dict[str, tuple[Callable[[Path], None], int]] = {
    "vqav2_val": (vqav2, 2),
    "gqa": (gqa, 1),
    "textvqa_val": (textvqa, 1),
    "docvqa_val": (docvqa, 1),
    "chartqa": (chartqa, 2),
    "clotho_aqa_test": (clotho_aqa, 1),
    "mmmu_val": (mmmu, 2),
    "scienceqa_img": (scienceqa, 1),
    "ai2d": (ai2d, 1),
    "mmstar": (mmstar, 1),
    "mmbench_en_dev": (mmbench, 2),
    "nextqa_mc_test": (nextqa, 1),
    "pope": (pope, 6),
    "nlvr2": (nlvr2, 2),
    "coco2017_cap_val": (coco2017, 2),
    "nocaps_val": (nocaps, 2),
    "flickr30k": (flickr30k, 2),
    "flickr30k_text_to_image": (flickr30k, 4),
    "flickr30k_image_to_text": (flickr30k, 2),
    "coco_text_to_image": (coco, 4),
    "coco_image_to_text": (coco, 2),
    "clotho_text_to_audio": (clotho, 10),
    "clotho_audio_to_text": (clotho, 2),
    "refcoco_bbox_rec_val": (refcoco, 2),
    "librispeech": (librispeech, 2),
    "librispeech_other": (librispeech, 2),
    "flickr8k_captions": (flickr8k, 4),
    "flickr8k_text_to_image": (flickr8k, 20),
    "flickr8k_image_to_text": (flickr8k, 4),
    "flickr8k_pope": (flickr8k, 6),
    "daquar": (daquar, 1),
    "nlvr": (nlvr, 2),
    "fsdd": (fsdd, 1),
    "ljspeech": (ljspeech, 1),
    "grid_clips": (grid_clips, 1),
}
"""Every task that reads files: who writes them, and how many items its judged split then has."""
