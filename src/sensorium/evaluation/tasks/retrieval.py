"""Finding a picture by a caption and a caption by its picture (Flickr8k, Flickr30k, COCO); the same for sounds (Clotho)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from sensorium.data.sentences import as_sentence
from sensorium.evaluation.metrics.ranking import average_precision, ndcg_of, places_of, recall_at, reciprocal_rank
from sensorium.evaluation.task import Item, Reply, Scores, Task
from sensorium.evaluation.tasks.asking import ask
from sensorium.evaluation.tasks.captions import FLICKR30K, KARPATHY_COCO, Album, Photo, flickr8k, karpathy
from sensorium.evaluation.tasks.layout import Layout
from sensorium.evaluation.tasks.rows import choices, field, rows
from sensorium.parts import Audio, Image

CLOTHO = Layout("clotho", "clotho_captions_evaluation.csv, evaluation/Santa Motor.wav ...")
DEPTHS = (1, 5, 10)
RANKING = "the order of the gallery by the cosine of the model's vectors"

Kind = type[Image] | type[Audio]


def flickr8k_text_to_image() -> Task:
    """Photos by captions."""
    return _to_media("flickr8k_text_to_image", "Flickr8k", flickr8k, ("train", "dev", "test"))


def flickr8k_image_to_text() -> Task:
    """Captions by photos."""
    return _to_text("flickr8k_image_to_text", "Flickr8k", flickr8k, ("train", "dev", "test"))


def flickr30k_text_to_image() -> Task:
    """Photos by captions."""
    album = partial(karpathy, FLICKR30K, "flickr30k-images")
    return _to_media("flickr30k_text_to_image", "Flickr30k", album, ("train", "val", "test"))


def flickr30k_image_to_text() -> Task:
    """Captions by photos."""
    album = partial(karpathy, FLICKR30K, "flickr30k-images")
    return _to_text("flickr30k_image_to_text", "Flickr30k", album, ("train", "val", "test"))


def coco_text_to_image() -> Task:
    """Photos by captions."""
    return _to_media("coco_text_to_image", "COCO (Karpathy's 5,000)", partial(karpathy, KARPATHY_COCO, ""), ("val", "test"))


def coco_image_to_text() -> Task:
    """Captions by photos."""
    return _to_text("coco_image_to_text", "COCO (Karpathy's 5,000)", partial(karpathy, KARPATHY_COCO, ""), ("val", "test"))


def clotho_text_to_audio() -> Task:
    """Sounds by captions."""
    return _to_media("clotho_text_to_audio", "Clotho", _clotho, ("validation", "evaluation"), Audio)


def clotho_audio_to_text() -> Task:
    """Captions by sounds."""
    return _to_text("clotho_audio_to_text", "Clotho", _clotho, ("validation", "evaluation"), Audio)


def _to_media(name: str, of: str, album: Album, splits: tuple[str, ...], kind: Kind = Image) -> Task:
    what = "photo" if kind is Image else "recording"
    return _task(name, f"Finding the {what} of a caption in {of}", _captions(album), _media(album, kind), splits, kind)


def _to_text(name: str, of: str, album: Album, splits: tuple[str, ...], kind: Kind = Image) -> Task:
    what = "photo" if kind is Image else "recording"
    about = f"Finding a caption of a {what} in {of}; the best of its own counts"
    return _task(name, about, _media(album, kind), _captions(album), splits, kind)


def _task(
    name: str,
    about: str,
    items: Callable[[Path, str], Iterable[Item]],
    gallery: Callable[[Path, str], Iterable[Item]],
    splits: tuple[str, ...],
    kind: Kind,
) -> Task:
    needs = ("image",) if kind is Image else ("audio",)
    return Task(name, about, items, _found, "R@1", gallery=gallery, splits=splits, needs=needs, extractor=RANKING)


def _media(album: Album, kind: Kind) -> Callable[[Path, str], Iterator[Item]]:
    """Each medium, with the ids of its captions."""

    def items(data: Path, split: str) -> Iterator[Item]:
        for photo in album(data, split):
            right = [_caption_id(photo, number) for number in range(len(photo.captions))]
            yield ask(photo.name, [kind(photo.path)], "", {"right": right})

    return items


def _captions(album: Album) -> Callable[[Path, str], Iterator[Item]]:
    """Each caption, with the id of its medium; those of one medium are drawn together."""

    def items(data: Path, split: str) -> Iterator[Item]:
        for photo in album(data, split):
            for number, caption in enumerate(photo.captions):
                yield ask(_caption_id(photo, number), [], as_sentence(caption), {"right": [photo.name]}, photo.name)

    return items


def _caption_id(photo: Photo, number: int) -> str:
    return f"{photo.name}#{number}"


def _found(item: Item, reply: Reply) -> Scores | None:
    if not reply.ranking:
        return None
    right = item.gold["right"]
    places = places_of(reply.ranking, right)
    return {
        **{f"R@{depth}": recall_at(places, depth) for depth in DEPTHS},
        "MRR": reciprocal_rank(places),
        "mAP": average_precision(places),
        "nDCG@10": ndcg_of(reply.ranking, dict.fromkeys(right, 1.0), 10),
    }


def _clotho(data: Path, split: str) -> Iterator[Photo]:
    path, sounds = CLOTHO.path(data, f"clotho_captions_{split}.csv"), CLOTHO.path(data, split)
    for row in rows(path):
        name = field(row, "file_name", path)
        yield Photo(name, str(sounds / name), tuple(choices([f"caption_{number}" for number in range(1, 6)], row)))
