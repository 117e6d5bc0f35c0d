"""Test rows in the training data are named, however they were saved; and a model trained on them is told by how sure it is."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from PIL import Image as Pillow

from sensorium.audit.contamination import contamination, leaks, memorised
from sensorium.data.fault import Fault
from sensorium.data.row import Remarks, Row
from sensorium.data.synthetic import World
from sensorium.data.synthetic.draw import png
from sensorium.data.synthetic.sound import wav
from sensorium.errors import RequestError
from sensorium.evaluation.sureness import Sure
from sensorium.evaluation.task import Item
from sensorium.model import presets
from sensorium.model.generate import Assistant
from sensorium.objectives.next_token import NextToken
from sensorium.parts import Audio, Image, Message, Sample, Text
from sensorium.protocols import Scores
from tests.audit.subjects import EXAM

WORLD = World(5)


@dataclass
class Corpus:
    """Training rows in memory."""

    samples: Sequence[Sample]
    name: str = "corpus.jsonl"
    remarks: Remarks = field(default_factory=Remarks)

    def rows(self, start: int = 0) -> Iterator[Row | Fault]:
        return (Row(sample, self.name, number) for number, sample in enumerate(self.samples, 1) if number > start)

    def fingerprint(self) -> str:
        return ""


def items(count: int, split: str = "test", seed: int = 5) -> list[Item]:
    """One question about each scene's picture."""
    made = []
    for index in range(count):
        scene = World(seed).scene(index, split)  # type: ignore[arg-type]
        questions = [one for one in scene.questions() if one.medium == "image"]
        asked = questions[index % len(questions)]
        said = Message("user", (Image(png(scene.picture())), Text(asked.question)))
        made.append(Item(Sample(f"{split}-{index}", (said,)), {"answer": asked.answer}))
    return made


def row(item: Item, change: object = None) -> Sample:
    """As it would stand in training data, its picture saved anew."""
    picture, words = item.sample.messages[0].parts
    assert isinstance(picture, Image)
    shown = picture if change is None else Image(change(picture.source))  # type: ignore[operator]
    return Sample("r", (Message("user", (shown, words)), Message("assistant", (Text(item.gold["answer"]),), learn=True)))


def jpeg(source: bytes) -> bytes:
    target = io.BytesIO()
    Pillow.open(io.BytesIO(source)).save(target, "JPEG", quality=85)
    return target.getvalue()


def smaller(source: bytes) -> bytes:
    target = io.BytesIO()
    Pillow.open(io.BytesIO(source)).resize((56, 56), Pillow.Resampling.LANCZOS).save(target, "PNG")
    return target.getvalue()


OTHERS = [row(item) for item in items(60, "train")]


def test_questions_are_found_with_their_pictures_even_when_these_were_saved_anew() -> None:
    exam = items(12)
    train = Corpus([*OTHERS, row(exam[3]), row(exam[5], jpeg), row(exam[7], smaller)])
    found = leaks(exam, train)
    assert [(leak.item, leak.how, leak.row) for leak in found] == [
        ("test-3", "question", 61),
        ("test-5", "question", 62),
        ("test-7", "question", 63),
    ]
    finding = contamination(EXAM, exam, train)
    assert not finding.passed and finding.estimate is not None and finding.estimate.value == 0.25
    assert (
        finding.claim
        == "3 of 12 items are in the training data corpus.jsonl: 3 with their questions, 0 with their media alone."
    )
    assert finding.evidence[0] == "test-3: its question is in row 61 of corpus.jsonl"


def test_a_picture_that_was_trained_on_with_another_question_is_named_as_such() -> None:
    exam = items(4)
    picture = exam[2].sample.messages[0].parts[0]
    captioned = Sample("c", (Message("user", (picture, Text("Describe it."))), Message("assistant", (Text("A thing."),))))
    assert [(leak.item, leak.how) for leak in leaks(exam, Corpus([*OTHERS, captioned]))] == [("test-2", "medium")]


def test_a_question_within_a_longer_conversation_is_found() -> None:
    exam = items(3)
    first, second = (exam[place].sample.messages[0] for place in (0, 1))
    talk = Sample("t", (first, Message("assistant", (Text("yes"),)), Message("user", second.parts[1:])))
    assert [(leak.item, leak.how) for leak in leaks(exam, Corpus([talk]))] == [("test-0", "question")]


def test_texts_are_found_when_nearly_all_words_are_the_same() -> None:
    asked = (
        "A farmer has seventeen sheep in his field, and all but nine of them run away in the night. How many are left to him?"
    )
    exam = [Item(Sample("sheep", (Message("user", (Text(asked),)),)), {"answer": "9"})]
    near = Sample("n", (Message("user", (Text(asked.replace("seventeen", "seventeen ")),)),))
    touched = Sample("n", (Message("user", (Text(asked.replace("to him", "him")),)),))
    other = Sample("o", (Message("user", (Text("A farmer has seven cows in his barn. How many legs is that?"),)),))
    assert leaks(exam, Corpus([other])) == []
    assert leaks(exam, Corpus([other, near]))[0].row == leaks(exam, Corpus([other, touched]))[0].row == 2


def test_recordings_are_found_by_their_bytes_and_stretch() -> None:
    sound = wav(WORLD.scene(1).sound())
    exam = [Item(Sample("s", (Message("user", (Audio(sound, 0.0, 0.2), Text("What is it?"))),)), {"answer": "a"})]
    same, part = (Sample("r", (Message("user", (Audio(sound, 0.0, stop), Text("Tones?"))),)) for stop in (0.2, 0.1))
    assert [leak.how for leak in leaks(exam, Corpus([same]))] == ["medium"] and leaks(exam, Corpus([part])) == []


def test_other_pictures_of_the_same_world_are_no_leak() -> None:
    exam = items(60)
    finding = contamination(EXAM, exam, Corpus(OTHERS))
    assert finding.passed and finding.claim.startswith("None of 60 items is in the training data")
    assert finding.estimate is not None and finding.estimate.high < 0.1


def trained(on: Sequence[Item]) -> Assistant:
    """A tiny model taught right answers."""
    return taught([row(item) for item in on])


def taught(rows: Sequence[Sample], steps: int = 60) -> Assistant:
    """A tiny model that has learned what is marked; its encoders stay as they were drawn."""
    torch.manual_seed(0)
    model = presets.tiny(layers=1)
    model.reader = replace(model.reader, policy=replace(model.reader.policy, words_in_images=False))
    batch = model.batch(rows)
    learned = [*model.decoder.parameters(), *model.connectors.parameters()]
    optimizer = torch.optim.AdamW(learned, lr=1e-2, weight_decay=0.0)
    for _ in range(steps):
        loss = NextToken(encoders=model.encoders)(model, batch)
        optimizer.zero_grad()
        (loss.total / loss.size).backward()
        optimizer.step()
    return Assistant(model.eval(), "tiny")


def asking(model: Scores) -> Sure:
    """Its log-probabilities, asked one by one."""
    return lambda _, items: [model.score(item.sample.messages, item.choices)[0] for item in items]


def test_a_model_trained_on_the_exam_is_told_from_one_trained_on_other_questions() -> None:
    exam, twins, other = items(30), items(30, seed=6), items(30, seed=7)
    guilty = memorised(asking(trained(exam)), EXAM, exam, twins, among=12)
    assert guilty is not None and not guilty.passed and guilty.estimate is not None and guilty.estimate.low > 0.5
    assert guilty.claim.startswith("The model is surer of this exam's answers than") and "30 items, 30 twins" in guilty.claim
    assert guilty.check == "memorised" and len(guilty.evidence) == 10
    innocent = memorised(asking(trained(other)), EXAM, exam, twins)
    assert innocent is not None and innocent.passed


class Guesses:
    """Likelihoods that have nothing to do with the question."""

    def __init__(self, seed: int) -> None:
        self.chance = torch.Generator().manual_seed(seed)

    def score(self, messages: Sequence[Message], answers: Sequence[str]) -> list[float]:
        assert messages
        return [-float(torch.randn((), generator=self.chance).exp()) for _ in answers]


def test_a_model_that_saw_neither_is_accused_in_at_most_one_of_twenty_cases() -> None:
    exam, twins = items(25), items(25, seed=6)
    found = [memorised(asking(Guesses(seed)), EXAM, exam, twins) for seed in range(60)]
    assert sum(finding is not None and not finding.passed for finding in found) <= 3


def test_of_many_exams_none_is_found_guilty_by_chance_alone() -> None:
    exam, twins = items(25), items(25, seed=6)
    spread = torch.linspace(-1.5, 1.5, 25)
    noise = torch.cat([spread + 0.7, spread]).tolist()
    alone, one_of_many = (memorised(lambda _, __: noise, EXAM, exam, twins, among) for among in (1, 400))
    assert alone is not None and not alone.passed and len(alone.evidence) == 10
    assert one_of_many is not None and one_of_many.passed and not one_of_many.evidence
    assert one_of_many.claim.endswith("; of 400 exams looked at, one may show as much by chance).")


def test_items_that_the_model_cannot_take_are_left_out() -> None:
    exam, twins = items(25), items(25, seed=6)
    some = memorised(lambda _, asked: [None if place % 25 < 5 else -1.0 for place, _ in enumerate(asked)], EXAM, exam, twins)
    assert some is not None and "20 items, 20 twins" in some.claim
    assert (
        memorised(lambda _, asked: [None if place % 25 < 6 else -1.0 for place, _ in enumerate(asked)], EXAM, exam, twins)
        is None
    )


def test_too_few_twins_or_no_right_answers_are_refused() -> None:
    exam = items(20)
    with pytest.raises(RequestError, match=r"task world: has 20 items and 3 twins\. Give 20 of each"):
        memorised(asking(Guesses(0)), EXAM, exam, exam[:3])
    with pytest.raises(RequestError, match="has no right answers in words"):
        memorised(asking(Guesses(0)), replace(EXAM, answer=None), exam, exam)


def test_media_that_are_files_are_found_under_other_names(tmp_path: Path) -> None:
    exam = items(2)
    source = exam[1].sample.messages[0].parts[0]
    assert isinstance(source, Image) and isinstance(source.source, bytes)
    (tmp_path / "copy.png").write_bytes(source.source)
    copied = Sample("c", (Message("user", (Image(str(tmp_path / "copy.png")), Text("Describe it."))),))
    assert [leak.item for leak in leaks(exam, Corpus([copied]))] == ["test-1"]
