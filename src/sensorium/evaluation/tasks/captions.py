"""Describing photos: Flickr8k, Flickr30k, COCO and NoCaps, scored against what people wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium.data.sentences import as_sentence
from sensorium.estimate import Rows, mean
from sensorium.evaluation.metrics.ngram import bleu, bleu_rows, cider_d, rouge_l
from sensorium.evaluation.metrics.objects import chair_i, chair_rows, chair_s, things_named, things_possible
from sensorium.evaluation.metrics.tokens import treebank_words
from sensorium.evaluation.task import Corpus, Item, Reply, Scores, Task
from sensorium.evaluation.tasks.asking import CAPTION, ask
from sensorium.evaluation.tasks.kinds import ratio
from sensorium.evaluation.tasks.layout import Layout
from sensorium.evaluation.tasks.rows import field, members, rows
from sensorium.parts import Image
from sensorium.protocols import Sampling

FLICKR8K = Layout("flickr8k", "captions.jsonl with rows {image, split, captions}, and the pictures it names")
FLICKR30K = Layout("flickr30k", "dataset_flickr30k.json (Karpathy's splits), flickr30k-images/1000092795.jpg ...")
KARPATHY_COCO = Layout("coco", "dataset_coco.json (Karpathy's splits), val2014/COCO_val2014_000000391895.jpg ...")
COCO = Layout("coco2017", "annotations/captions_val2017.json, val2017/000000000139.jpg ...")
NOCAPS = Layout("nocaps", "nocaps_val_4500_captions.json, val/0013ea2087020901.jpg ...")

SAMPLING = Sampling(max_tokens=24, beams=3, length_penalty=0.7)
WORDS = "the whole reply, cut into words as the Penn treebank does, in lower case, without punctuation"


class Photo(NamedTuple):
    """A photo and what people wrote about it; `part` is a kind that is also scored alone, or nothing."""

    name: str
    path: str
    captions: tuple[str, ...]
    part: str = ""


Album = Callable[[Path, str], Iterable[Photo]]


def flickr8k_captions() -> Task:
    """Flickr8k."""
    chair = {"CHAIR, objects": Corpus(_objects, chair_i), "CHAIR, captions": Corpus(_objects, chair_s)}
    return _task("flickr8k_captions", "Captions of Flickr8k (Hodosh et al. 2013)", flickr8k, ("train", "dev", "test"), chair)


def flickr30k_captions() -> Task:
    """Flickr30k."""
    about = "Captions of Flickr30k (Young et al. 2014), Karpathy's test photos"
    return _task("flickr30k", about, partial(karpathy, FLICKR30K, "flickr30k-images"), ("train", "val", "test"))


def coco2017_cap_val() -> Task:
    """COCO."""
    return _task("coco2017_cap_val", "Captions of COCO, validation of 2017 (Chen et al. 2015)", _coco, ("val",))


def nocaps_val() -> Task:
    """NoCaps."""
    parts = {f"CIDEr-D, {part}": _cider(part) for part in ("in-domain", "near-domain", "out-domain")}
    about = "Captions of things that COCO does not show (Agrawal et al. 2019), validation"
    return _task("nocaps_val", about, _nocaps, ("val",), parts)


def flickr8k(data: Path, split: str) -> Iterator[Photo]:
    """The photos of a split, with five captions each."""
    path = FLICKR8K.path(data, "captions.jsonl")
    for row in rows(path):
        if field(row, "split", path) == split:
            name = field(row, "image", path)
            yield Photo(name, str(path.parent / name), tuple(field(row, "captions", path)))


def karpathy(layout: Layout, pictures: str, data: Path, split: str) -> Iterator[Photo]:
    """The photos of a split of Karpathy and Fei-Fei (2015); `pictures` is their folder where rows name none."""
    path = layout.path(data, f"dataset_{layout.folder}.json")
    for row in rows(path, "images"):
        if field(row, "split", path) == split:
            place = path.parent / row.get("filepath", pictures) / field(row, "filename", path)
            yield Photo(row["filename"], str(place), tuple(said["raw"] for said in field(row, "sentences", path)))


def _coco(data: Path, _: str) -> Iterator[Photo]:
    return _annotated(COCO.path(data, "annotations/captions_val2017.json"), COCO.path(data, "val2017"))


def _nocaps(data: Path, _: str) -> Iterator[Photo]:
    return _annotated(NOCAPS.path(data, "nocaps_val_4500_captions.json"), NOCAPS.path(data, "val"))


def _annotated(path: Path, pictures: Path) -> Iterator[Photo]:
    """COCO's format: captions are joined to photos by id; a photo without captions is left out."""
    held = members(path)
    said: dict[Any, list[str]] = {}
    for row in field(held, "annotations", path):
        said.setdefault(field(row, "image_id", path), []).append(field(row, "caption", path))
    for row in field(held, "images", path):
        captions = said.get(field(row, "id", path))
        if captions:
            place = pictures / field(row, "file_name", path)
            yield Photo(str(row["id"]), str(place), tuple(captions), row.get("domain", ""))


def _task(name: str, about: str, album: Album, splits: tuple[str, ...], more: Mapping[str, Corpus] | None = None) -> Task:
    def items(data: Path, split: str) -> Iterator[Item]:
        for photo in album(data, split):
            gold = {"captions": list(photo.captions), "part": photo.part}
            yield ask(photo.name, [Image(photo.path)], CAPTION, gold)

    return Task(
        name=name,
        about=about,
        items=items,
        score=_score,
        main="CIDEr-D",
        corpus={"CIDEr-D": _cider(), **{f"BLEU-{n}": Corpus(_bleu, bleu(n)) for n in (1, 2, 3, 4)}, **(more or {})},
        answer=lambda item: as_sentence(item.gold["captions"][0]),
        sampling=SAMPLING,
        splits=splits,
        extractor=WORDS,
    )


def _score(item: Item, reply: Reply) -> Scores | None:
    said = treebank_words(reply.text)
    if not said:
        return None
    return {"ROUGE-L": rouge_l(said, _references(item)), "words": float(len(said))}


def _references(item: Item) -> list[list[str]]:
    return [treebank_words(text) for text in item.gold["captions"]]


def _objects(items: Sequence[Item], replies: Sequence[Reply]) -> Rows:
    """Things named that no caption of the photo names or may mean."""
    there = [things_possible(item.gold["captions"]) for item in items]
    return chair_rows([things_named(reply.text) for reply in replies], there)


def _bleu(items: Sequence[Item], replies: Sequence[Reply]) -> Rows:
    return bleu_rows([treebank_words(reply.text) for reply in replies], [_references(item) for item in items])


def _cider(part: str = "") -> Corpus:
    """Rarity is counted over all items; with `part`, the mean is over those of that kind alone."""

    def scored(items: Sequence[Item], replies: Sequence[Reply]) -> Rows:
        values = cider_d([treebank_words(reply.text) for reply in replies], [_references(item) for item in items])
        if not part:
            return np.array(values)
        inside = np.array([float(item.gold["part"] == part) for item in items])
        return np.stack([inside, inside * np.array(values)], axis=1)

    return Corpus(scored, ratio if part else mean)
