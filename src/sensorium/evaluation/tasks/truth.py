"""Yes or no: what is in a photo (POPE), and whether a sentence is true of pictures (NLVR, NLVR2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sensorium.data.photo_questions import photo_questions
from sensorium.data.sentences import as_sentence
from sensorium.errors import DataError
from sensorium.estimate import Rows
from sensorium.evaluation.metrics.answers import yes_or_no
from sensorium.evaluation.metrics.objects import pope_f1, pope_precision, pope_recall, pope_rows, pope_yes
from sensorium.evaluation.task import Corpus, Item, Reply, Scores, Task
from sensorium.evaluation.tasks.asking import SHORTLY, ask
from sensorium.evaluation.tasks.captions import flickr8k
from sensorium.evaluation.tasks.kinds import share_of
from sensorium.evaluation.tasks.layout import Layout
from sensorium.evaluation.tasks.reading import LIKELIER, YES_NO
from sensorium.evaluation.tasks.rows import Row, field, rows
from sensorium.parts import Image

POPE = Layout(
    "pope",
    "coco_pope_random.json, coco_pope_popular.json, coco_pope_adversarial.json, val2014/COCO_val2014_000000310196.jpg",
)
NLVR = Layout("nlvr", "questions.jsonl with rows {image, split, sentence, label}, and the pictures it names")
NLVR2 = Layout("nlvr2", "test1.json, test1/test1-0-1-img0.png, test1/test1-0-1-img1.png ...")

CHOICES = ("Yes.", "No.")
"""What a model of ours is taught to say."""
_TRUTH = {"yes": True, "true": True, "no": False, "false": False}
_MEASURES = {"precision": pope_precision, "recall": pope_recall, "F1": pope_f1, "share of yes": pope_yes}
_PARTS = ("random", "popular", "adversarial")


def flickr8k_pope() -> Task:
    """POPE's questions, made from the captions of Flickr8k."""
    about = "Is there a dog in the photo? In POPE's form (Li et al. 2023), made from Flickr8k's captions; the likelier answer"
    return _task("flickr8k_pope", about, _flickr8k, ("train", "dev", "test"), extractor=LIKELIER)


def pope() -> Task:
    """POPE itself."""
    about = "Is there a dog in the image? POPE (Li et al. 2023) on COCO, its three ways to choose absent things"
    parts = {f"accuracy, {part}": share_of("accuracy", _right, part) for part in _PARTS}
    return _task("pope", about, _pope, ("test",), parts)


def nlvr() -> Task:
    """Drawn scenes."""
    about = "Is the sentence true of the drawing? NLVR (Suhr et al. 2017); the likelier answer"
    return _task("nlvr", about, _nlvr, ("dev", "test"), extractor=LIKELIER)


def nlvr2() -> Task:
    """Two photos."""
    return _task("nlvr2", "Is the sentence true of the two photos? NLVR2 (Suhr et al. 2019), public test", _nlvr2, ("test1",))


def _task(
    name: str,
    about: str,
    items: Callable[[Path, str], Iterator[Item]],
    splits: tuple[str, ...],
    parts: dict[str, Corpus] | None = None,
    extractor: str = YES_NO,
) -> Task:
    corpus = {name: Corpus(_counts, measure) for name, measure in _MEASURES.items()}
    return Task(
        name=name,
        about=about,
        items=items,
        score=_right,
        main="accuracy",
        corpus=corpus | (parts or {}),
        answer=lambda item: CHOICES[not item.gold["answer"]],
        splits=splits,
        extractor=extractor,
    )


def _right(item: Item, reply: Reply) -> Scores | None:
    said = yes_or_no(reply.text)
    return None if said is None else {"accuracy": float(said == item.gold["answer"])}


def _counts(items: Sequence[Item], replies: Sequence[Reply]) -> Rows:
    return pope_rows([yes_or_no(reply.text) for reply in replies], [item.gold["answer"] for item in items])


def _flickr8k(data: Path, split: str) -> Iterator[Item]:
    photos = list(flickr8k(data, split))
    for number, asked in enumerate(photo_questions([photo.captions for photo in photos])):
        photo = photos[asked.photo]
        gold = {"answer": asked.answer, "thing": asked.thing}
        yield ask(f"{split}-{number}", [Image(photo.path)], asked.question, gold, photo.name, CHOICES)


def _pope(data: Path, _: str) -> Iterator[Item]:
    pictures = POPE.path(data, "val2014")
    for part in _PARTS:
        path = POPE.path(data, f"coco_pope_{part}.json")
        for row in rows(path):
            name = field(row, "image", path)
            gold = {"answer": _truth(row, path), "part": part}
            question = f"{field(row, 'text', path)}\n{SHORTLY}"
            yield ask(f"{part}-{field(row, 'question_id', path)}", [Image(str(pictures / name))], question, gold, name)


def _nlvr(data: Path, split: str) -> Iterator[Item]:
    path = NLVR.path(data, "questions.jsonl")
    asked = (row for row in rows(path) if field(row, "split", path) == split)
    for number, row in enumerate(asked):
        name = field(row, "image", path)
        question = f"{as_sentence(field(row, 'sentence', path))} Is that true?"
        gold = {"answer": _truth(row, path)}
        yield ask(f"{split}-{number}", [Image(str(path.parent / name))], question, gold, name, CHOICES)


def _nlvr2(data: Path, split: str) -> Iterator[Item]:
    path, pictures = NLVR2.path(data, f"{split}.json"), NLVR2.path(data, split)
    for row in rows(path):
        number = field(row, "identifier", path)
        pair = number.rpartition("-")[0]
        shown = [Image(str(pictures / f"{pair}-img{side}.png")) for side in (0, 1)]
        question = f"{as_sentence(field(row, 'sentence', path))} Is that true?\n{SHORTLY}"
        yield ask(number, shown, question, {"answer": _truth(row, path)}, pair)


def _truth(row: Row, path: Path) -> bool:
    """Of the column `label`: true, "True" or "yes"."""
    label = field(row, "label", path)
    said = label if isinstance(label, bool) else _TRUTH.get(str(label).lower())
    if said is None:
        raise DataError(f"{path}, label {label!r}", "is neither yes nor no", "Fetch the file again")
    return said
