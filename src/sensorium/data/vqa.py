"""VQAv2: questions in one file, answers in another, joined by `question_id`; Goyal et al. 2017, arXiv:1612.00837."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from sensorium.data.attached import resolved
from sensorium.data.fault import RowError
from sensorium.data.lookup import Lookup
from sensorium.data.record import Record
from sensorium.data.row import Remarks
from sensorium.data.spans import members
from sensorium.data.table import Table
from sensorium.data.told import Told
from sensorium.errors import DataError
from sensorium.parts import Image, Message, Sample, Text

_PATTERNS = ("COCO_{subset}_{id:0>12}.jpg", "{id:0>12}.jpg", "{id}.jpg", "{id}.png", "{id}")


def open_vqa(questions: str, media: str, annotations: str | None = None, picture: str | None = None) -> Told:
    """Questions with their answers.

    Args:
        annotations: by default the file beside `questions` whose name differs in "annotations" for "questions".
        picture: how a picture's file is called, such as `COCO_train2014_{id:0>12}.jpg`; by default the first of the usual
            patterns for which the first question's picture is there.

    Raises:
        DataError: no annotations, or no picture in `media` under any usual name.
    """
    table, remarks = Table(questions, "array", "questions"), Remarks()
    answers = annotations or _beside(questions)
    told = Vqa(answers, media, picture or _pattern(questions, media), remarks)
    return Told(Path(questions).name, table, told, remarks)


@dataclass(frozen=True)
class Vqa:
    """Tells a question: the picture and the question are asked, the answer most people gave is learned."""

    path: str
    media: str
    picture: str
    remarks: Remarks
    answers: Lookup = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "answers", Lookup(Table(self.path, "array", "annotations"), "question_id"))

    def __call__(self, record: Record, _default: str) -> Sample:
        """One question.

        Raises:
            RowError: a field is missing, or the question has no answer.
        """
        number, image_id, question = record.take("question_id"), record.take("image_id"), record.text("question")
        for name, value in (("question_id", number), ("image_id", image_id), ("question", question)):
            if value is None:
                raise RowError(name, "missing-field", f"is missing; the row has {sorted(record.values)}", f"Write {name}")
        found = self.answers.find(number)
        answer = found.text("multiple_choice_answer", "answer") if found else None
        if found is None or answer is None:
            reason = f"is {number!r}, and {Path(self.path).name} holds no answer to it"
            raise RowError("question_id", "missing-answer", reason, "Add the annotation, or remove the question")
        name = self.picture.format(id=image_id)
        messages = (
            Message("user", (Image(resolved(name, self.media)), *((Text(question),) if question else ()))),
            Message("assistant", (Text(answer),) if answer else (), learn=True),
        )
        more = {name: found.take(name) for name in ("question_type", "answer_type", "answers")}
        return Sample(str(number), messages, record.meta(self.remarks, image_id=image_id, **more))


def _beside(questions: str) -> str:
    path = Path(questions)
    stem = path.name.replace("OpenEnded_", "").replace("MultipleChoice_", "")
    tried = [path.with_name(name.replace("questions", "annotations")) for name in (stem, path.name)]
    for other in tried:
        if other != path and other.is_file():
            return str(other)
    wanted = " or ".join(sorted({other.name for other in tried}))
    raise DataError(questions, f"has no answers beside it ({wanted})", "Put the annotations file into the same folder")


def _pattern(questions: str, media: str) -> str:
    subset = next((value for key, value in members(questions) if key == "data_subtype" and value), "")
    patterns = [pattern.replace("{subset}", subset) for pattern in _PATTERNS]
    records = islice(Table(questions, "array", "questions").records(), 100)
    ids = [found.record.take("image_id") for found in records if isinstance(found.record, Record)]
    for pattern in patterns:
        if any(Path(media, pattern.format(id=number)).is_file() for number in ids):
            return pattern
    if subset:
        return patterns[0]
    tried = ", ".join(pattern.format(id=ids[0]) for pattern in patterns[1:-1]) if ids else "there is no question"
    raise DataError(
        media, f"holds no picture of the first questions under a usual name ({tried})", "Give the folder of pictures"
    )
