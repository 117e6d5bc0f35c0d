"""Questions with options, answered by a letter: MMMU, ScienceQA, AI2D, MMStar, MMBench, NExT-QA."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from sensorium.errors import DataError
from sensorium.evaluation.metrics.answers import exact_match, letter_of, plain
from sensorium.evaluation.task import Corpus, Item, Reply, Scores, Task
from sensorium.evaluation.tasks.asking import BY_LETTER, LETTERS, SHORTLY, ask, lettered
from sensorium.evaluation.tasks.kinds import share_of
from sensorium.evaluation.tasks.layout import Layout
from sensorium.evaluation.tasks.reading import LETTER
from sensorium.evaluation.tasks.rows import Row, choices, field, members, picture, rows
from sensorium.parts import Image, Message, Part, Sample, Text, Video

MMMU = Layout("mmmu", "a folder for each subject, Accounting/validation-00000-of-00001.parquet (or validation.jsonl) ...")
SCIENCEQA = Layout("scienceqa", "problems.json, pid_splits.json, test/5/image.png ...")
AI2D = Layout("ai2d", "test-00000-of-00001.parquet (or test.jsonl) with question, options, answer, image")
MMSTAR = Layout("mmstar", "mmstar.parquet (or mmstar.jsonl) with index, question, image, answer, category")
MMBENCH = Layout("mmbench", "MMBench_DEV_EN.tsv with index, question, hint, A, B, C, D, answer, image")
NEXTQA = Layout("nextqa", "test.csv, map_vid_vidorID.json, NExTVideo/1164/3238737531.mp4 ...")

_MARK = re.compile(r"<image (\d+)>")
_AROUND = 1_000_000
"""MMBench numbers the same question with its options in another order one million further on."""


def mmmu_val() -> Task:
    """MMMU."""
    about = "MMMU, validation: college subjects, up to seven pictures a question (Yue et al. 2024)"
    parts = {f"accuracy, {part}": share_of("accuracy", _chosen, part) for part in ("multiple-choice", "open")}
    return _task("mmmu_val", about, _mmmu, corpus=parts)


def scienceqa_img() -> Task:
    """ScienceQA."""
    return _task("scienceqa_img", "ScienceQA, test questions that have a picture (Lu et al. 2022)", _scienceqa)


def ai2d() -> Task:
    """AI2D."""
    return _task("ai2d", "Questions about diagrams of school science (Kembhavi et al. 2016)", _ai2d)


def mmstar() -> Task:
    """MMStar."""
    return _task("mmstar", "MMStar: questions that cannot be answered without the picture (Chen et al. 2024)", _mmstar)


def mmbench_en_dev() -> Task:
    """MMBench."""
    about = "MMBench, English, dev (Liu et al. 2023): every row counts alone, which is not its circular score"
    return _task("mmbench_en_dev", about, _mmbench)


def nextqa_mc_test() -> Task:
    """NExT-QA."""
    parts = {f"accuracy, {part}": share_of("accuracy", _chosen, part) for part in ("causal", "temporal", "descriptive")}
    return _task("nextqa_mc_test", "NExT-QA: questions about clips, five options (Xiao et al. 2021)", _nextqa, "video", parts)


def _task(
    name: str,
    about: str,
    items: Callable[[Path, str], Iterable[Item]],
    medium: str = "image",
    corpus: dict[str, Corpus] | None = None,
) -> Task:
    return Task(name, about, items, _chosen, "accuracy", corpus=corpus or {}, answer=_right, needs=(medium,), extractor=LETTER)


def _chosen(item: Item, reply: Reply) -> Scores | None:
    if "answers" in item.gold:  # one of MMMU's open questions
        return {"accuracy": exact_match(reply.text, item.gold["answers"])} if plain(reply.text) else None
    number = letter_of(reply.text, item.gold["options"])
    return None if number is None else {"accuracy": float(number == item.gold["right"])}


def _right(item: Item) -> str:
    return str(item.gold["answers"][0]) if "answers" in item.gold else LETTERS[item.gold["right"]]


def _gold(options: Sequence[str], right: object, path: Path) -> Row:
    """By a letter or a number from 0."""
    number = LETTERS.find(right) if isinstance(right, str) and right in LETTERS and right else _number(right, path)
    if not 0 <= number < len(options):
        raise DataError(f"{path}, answer {right!r}", f"is none of the {len(options)} options", "Fetch the file again")
    return {"options": list(options), "right": number}


def _number(right: object, path: Path) -> int:
    if not str(right).isdigit():
        raise DataError(f"{path}, answer {right!r}", "is neither a letter nor a number", "Fetch the file again")
    return int(str(right))


def _mmmu(data: Path, _: str) -> Iterator[Item]:
    """Pictures stand where the question or its options name them."""
    for subject in sorted(folder.name for folder in MMMU.path(data).iterdir() if folder.is_dir()):
        for path in MMMU.table(data, "validation", subject):
            for row in rows(path):
                yield _mmmu_item(row, path)


def _mmmu_item(row: Row, path: Path) -> Item:
    given = field(row, "options", path)
    options = [str(option) for option in (ast.literal_eval(given) if isinstance(given, str) else given)]
    kind = field(row, "question_type", path)
    if kind == "multiple-choice":
        text = lettered(field(row, "question", path), options)
        gold = _gold(options, field(row, "answer", path), path)
    else:
        text = f"{field(row, 'question', path)}\n{SHORTLY}"
        answer = field(row, "answer", path)
        several = isinstance(answer, str) and answer.startswith("[")
        gold = {"answers": [str(one) for one in ast.literal_eval(answer)] if several else [str(answer)]}
    parts: list[Part] = []
    for place, piece in enumerate(_MARK.split(text)):
        if place % 2:
            parts.append(Image(picture(field(row, f"image_{piece}", path), path.parent)))
        elif piece.strip():
            parts.append(Text(piece))
    return Item(Sample(str(field(row, "id", path)), (Message("user", tuple(parts)),)), gold | {"part": kind})


def _scienceqa(data: Path, split: str) -> Iterator[Item]:
    problems, splits = SCIENCEQA.path(data, "problems.json"), SCIENCEQA.path(data, "pid_splits.json")
    asked = members(problems)
    for number in field(members(splits), split, splits):
        row = field(asked, number, problems)
        if row.get("image"):
            options = field(row, "choices", problems)
            said = "\n".join(filter(None, [row.get("hint", ""), field(row, "question", problems)]))
            shown = Image(str(SCIENCEQA.path(data) / split / number / row["image"]))
            yield ask(number, [shown], lettered(said, options), _gold(options, field(row, "answer", problems), problems))


def _ai2d(data: Path, split: str) -> Iterator[Item]:
    for path in AI2D.table(data, split):
        for number, row in enumerate(rows(path)):
            options, shown = field(row, "options", path), Image(picture(field(row, "image", path), path.parent))
            gold = _gold(options, field(row, "answer", path), path)
            yield ask(f"{path.stem}-{number}", [shown], lettered(field(row, "question", path), options), gold)


def _mmstar(data: Path, _: str) -> Iterator[Item]:
    """Its questions hold their options in their own words, as `Options: A: ..., B: ...`."""
    for path in MMSTAR.table(data, "mmstar"):
        for row in rows(path):
            question, shown = field(row, "question", path), Image(picture(field(row, "image", path), path.parent))
            options = re.findall(r"[A-J]: (.*?)(?:,? (?=[B-J]: )|$)", question.rpartition("Options:")[2].replace("\n", " "))
            gold = _gold([option.strip() for option in options], field(row, "answer", path), path)
            yield ask(str(field(row, "index", path)), [shown], f"{question}\n{BY_LETTER}", gold)


def _mmbench(data: Path, _: str) -> Iterator[Item]:
    path = MMBENCH.path(data, "MMBench_DEV_EN.tsv")
    shown: dict[str, Image] = {}
    for row in rows(path):
        number, cell = str(field(row, "index", path)), field(row, "image", path)
        shown[number] = shown[cell] if cell in shown else Image(picture(cell, path.parent))
        options = choices("ABCD", row)
        said = "\n".join(choices(("hint", "question"), row))
        gold = _gold(options, field(row, "answer", path), path)
        yield ask(number, [shown[number]], lettered(said, options), gold, str(int(number) % _AROUND))


def _nextqa(data: Path, _: str) -> Iterator[Item]:
    path, where = NEXTQA.path(data, "test.csv"), NEXTQA.path(data, "map_vid_vidorID.json")
    clips = members(where)
    kinds = {"C": "causal", "T": "temporal", "D": "descriptive"}
    for row in rows(path):
        name = str(field(row, "video", path))
        options = choices([f"a{number}" for number in range(5)], row)
        gold = _gold(options, field(row, "answer", path), path) | {"part": kinds.get(field(row, "type", path)[:1], "")}
        shown = Video(str(NEXTQA.path(data) / "NExTVideo" / f"{field(clips, name, where)}.mp4"))
        said = field(row, "question", path).strip().capitalize().rstrip("?") + "?"
        yield ask(f"{name}-{field(row, 'qid', path)}", [shown], lettered(said, options), gold, name)
