"""Short answers about pictures and sounds: DAQUAR, easy-VQA, VQAv2, GQA, TextVQA, DocVQA, ChartQA, Clotho-AQA."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from sensorium.data.fault import Fault, refuse
from sensorium.data.sentences import as_sentence
from sensorium.data.vqa import open_vqa
from sensorium.evaluation.metrics import answers
from sensorium.evaluation.metrics.vqa import official, vqa_accuracy
from sensorium.evaluation.task import Corpus, Item, Reply, Scores, Task
from sensorium.evaluation.tasks.asking import SHORTLY, ask
from sensorium.evaluation.tasks.kinds import share_of
from sensorium.evaluation.tasks.layout import Layout
from sensorium.evaluation.tasks.pictured import SPLITS, drawings, pictured, rooms
from sensorium.evaluation.tasks.reading import OFFICIAL, PLAIN
from sensorium.evaluation.tasks.rows import field, members, rows
from sensorium.parts import Audio, Image, Text

VQAV2 = Layout(
    "vqav2",
    "v2_OpenEnded_mscoco_val2014_questions.json, v2_mscoco_val2014_annotations.json, val2014/COCO_val2014_000000262148.jpg ...",
)
GQA = Layout("gqa", "testdev_balanced_questions.json, images/n161313.jpg ...")
TEXTVQA = Layout("textvqa", "TextVQA_0.5.1_val.json, train_images/003a8ae2ef43b901.jpg ...")
DOCVQA = Layout("docvqa", "val_v1.0_withQT.json, documents/xnbl0037_1.png ...")
CHARTQA = Layout("chartqa", "test/test_human.json, test/test_augmented.json, test/png/41699051005347.png ...")
CLOTHO = Layout("clotho_aqa", "clotho_aqa_test.csv, audio_files/river.wav ...")


def exact_match(item: Item, reply: Reply) -> Scores | None:
    """Whether the reply is one of the right answers, case and final full stop aside."""
    said = answers.plain(reply.text)
    return {"exact_match": answers.exact_match(said, item.gold["answers"])} if said else None


def daquar() -> Task:
    """Rooms."""
    return Task(
        name="daquar",
        about="Questions about photos of rooms (Malinowski and Fritz 2014); only an answer right in every word counts",
        items=lambda data, split: pictured(rooms(data), split),
        score=exact_match,
        main="exact_match",
        answer=_usual,
        splits=SPLITS,
        extractor=PLAIN,
        version="2",
    )


def easy_vqa() -> Task:
    """Drawings."""
    return Task(
        name="easy_vqa",
        about="Questions about drawings of one coloured shape, from the package easy-vqa",
        items=lambda _, split: pictured(drawings(), split),
        score=exact_match,
        main="exact_match",
        answer=_usual,
        splits=SPLITS,
        extractor=PLAIN,
        version="2",
    )


def vqav2_val() -> Task:
    """VQAv2."""
    return _public("vqav2_val", "VQAv2, validation (Goyal et al. 2017); ten people's answers", _vqav2, _vqa, "vqa_accuracy")


def textvqa_val() -> Task:
    """TextVQA."""
    return _public("textvqa_val", "Questions about words in photos (Singh et al. 2019)", _textvqa, _vqa, "vqa_accuracy")


def gqa() -> Task:
    """GQA."""
    about = "GQA, balanced test-dev questions about scenes (Hudson and Manning 2019)"
    return _public("gqa", about, _gqa, exact_match, "exact_match", splits=("testdev",))


def docvqa_val() -> Task:
    """DocVQA."""
    return _public("docvqa_val", "Questions about scanned documents (Mathew et al. 2021)", _docvqa, _anls, "anls")


def chartqa() -> Task:
    """ChartQA."""
    parts = {f"relaxed_accuracy, {part}": share_of("relaxed_accuracy", _relaxed, part) for part in ("human", "augmented")}
    about = "Questions about charts (Masry et al. 2022); numbers may be off by 5 %"
    return _public("chartqa", about, _chartqa, _relaxed, "relaxed_accuracy", parts, splits=("test",))


def clotho_aqa_test() -> Task:
    """Clotho-AQA."""
    return Task(
        name="clotho_aqa_test",
        about="Questions about recordings (Lipping et al. 2022); the share of three people who gave the same answer",
        items=_clotho,
        score=_share,
        main="exact_match",
        answer=_usual,
        needs=("audio",),
        extractor=PLAIN,
    )


def _public(
    name: str,
    about: str,
    items: Callable[[Path, str], Iterable[Item]],
    score: Callable[[Item, Reply], Scores | None],
    main: str,
    corpus: dict[str, Corpus] | None = None,
    splits: tuple[str, ...] = ("val",),
) -> Task:
    extractor = OFFICIAL if score is _vqa else PLAIN
    return Task(name, about, items, score, main, corpus=corpus or {}, answer=_usual, splits=splits, extractor=extractor)


def _usual(item: Item) -> str:
    """The answer given most often."""
    return as_sentence(Counter(item.gold["answers"]).most_common(1)[0][0])


def _vqa(item: Item, reply: Reply) -> Scores | None:
    return {"vqa_accuracy": vqa_accuracy(reply.text, item.gold["answers"])} if official(reply.text) else None


def _anls(item: Item, reply: Reply) -> Scores | None:
    said = answers.plain(reply.text)
    return {"anls": answers.anls(said, item.gold["answers"])} if said else None


def _relaxed(item: Item, reply: Reply) -> Scores | None:
    said = answers.plain(reply.text)
    return {"relaxed_accuracy": answers.relaxed_accuracy(said, item.gold["answers"])} if said else None


def _share(item: Item, reply: Reply) -> Scores | None:
    said, given = answers.plain(reply.text), [answers.plain(text) for text in item.gold["all"]]
    return {"exact_match": given.count(said) / len(given)} if said else None


def _vqav2(data: Path, _: str) -> Iterator[Item]:
    questions = VQAV2.path(data, "v2_OpenEnded_mscoco_val2014_questions.json")
    annotations = VQAV2.path(data, "v2_mscoco_val2014_annotations.json")
    pictures = VQAV2.path(data, "val2014")
    for row in open_vqa(str(questions), str(pictures), str(annotations), "COCO_val2014_{id:0>12}.jpg").rows():
        if isinstance(row, Fault):
            refuse(row)
            continue
        (shown,) = (part for part in row.sample.messages[0].parts if isinstance(part, Image))
        question = "".join(part.text for part in row.sample.messages[0].parts if isinstance(part, Text))
        given = [one["answer"] for one in row.sample.meta["answers"]]
        yield _shortly(row.sample.id, shown, question, given, str(row.sample.meta["image_id"]))


def _gqa(data: Path, _: str) -> Iterator[Item]:
    path, pictures = GQA.path(data, "testdev_balanced_questions.json"), GQA.path(data, "images")
    for number, row in members(path).items():
        name = str(field(row, "imageId", path))
        shown = Image(str(pictures / f"{name}.jpg"))
        yield _shortly(number, shown, field(row, "question", path), [field(row, "answer", path)], name)


def _textvqa(data: Path, _: str) -> Iterator[Item]:
    path, pictures = TEXTVQA.path(data, "TextVQA_0.5.1_val.json"), TEXTVQA.path(data, "train_images")
    for row in rows(path, "data"):
        name = field(row, "image_id", path)
        shown, question = Image(str(pictures / f"{name}.jpg")), field(row, "question", path)
        yield _shortly(str(field(row, "question_id", path)), shown, question, field(row, "answers", path), name)


def _docvqa(data: Path, _: str) -> Iterator[Item]:
    path = DOCVQA.path(data, "val_v1.0_withQT.json")
    for row in rows(path, "data"):
        name = field(row, "image", path)
        shown, question = Image(str(path.parent / name)), field(row, "question", path)
        yield _shortly(str(field(row, "questionId", path)), shown, question, field(row, "answers", path), name)


def _chartqa(data: Path, _: str) -> Iterator[Item]:
    pictures = CHARTQA.path(data, "test/png")
    for part in ("human", "augmented"):
        path = CHARTQA.path(data, f"test/test_{part}.json")
        for number, row in enumerate(rows(path)):
            name = field(row, "imgname", path)
            gold = {"answers": [str(field(row, "label", path))], "part": part}
            question = f"{field(row, 'query', path)}\n{SHORTLY}"
            yield ask(f"{part}-{number}", [Image(str(pictures / name))], question, gold, name)


def _clotho(data: Path, _: str) -> Iterator[Item]:
    """Three rows of the table are one question."""
    path, sounds = CLOTHO.path(data, "clotho_aqa_test.csv"), CLOTHO.path(data, "audio_files")
    given: dict[tuple[str, str], list[str]] = {}
    for row in rows(path):
        given.setdefault((field(row, "file_name", path), field(row, "QuestionText", path)), []).append(
            field(row, "answer", path)
        )
    for number, ((name, question), said) in enumerate(given.items()):
        gold = {"answers": [text for text, _ in Counter(map(answers.plain, said)).most_common(1)], "all": said}
        yield ask(str(number), [Audio(str(sounds / name))], f"{question}\n{SHORTLY}", gold, name)


def _shortly(identity: str, shown: Image, question: str, right: Sequence[str], cluster: str) -> Item:
    return ask(identity, [shown], f"{question}\n{SHORTLY}", {"answers": list(right)}, cluster)
