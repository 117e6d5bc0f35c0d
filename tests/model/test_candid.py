"""A visible statement where a medium is missing or cannot be read, and none where all is well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from sensorium.errors import LimitError, MediaError
from sensorium.media.audio import encode_wav
from sensorium.media.image import encode_png
from sensorium.media.source import Limits
from sensorium.model.candid import Candid, spoken_of
from sensorium.model.reading import Reader
from sensorium.parts import Answer, Audio, Image, Message, Part, Text, Usage, Use, Video, kind_of
from sensorium.protocols import Sampling

PICTURE = encode_png(torch.randint(0, 255, (3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)))
SOUND = encode_wav(torch.zeros(1600), 16_000)
GREEDY = Sampling()


class Reads:
    """Says how many parts it was given; reads pictures and sounds as a model does."""

    def __init__(self) -> None:
        self.asked: list[Sequence[Message]] = []

    def answer(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[Answer]:
        del sampling
        return [self._answer(messages) for messages in conversations]

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[str | Answer]:
        (answer,) = self.answer([messages], sampling)
        yield answer.text
        yield answer

    def _answer(self, messages: Sequence[Message]) -> Answer:
        self.asked.append(messages)
        uses = []
        for number, message in enumerate(messages):
            for place, part in enumerate(message.parts):
                if isinstance(part, Image):
                    with pytest.MonkeyPatch.context() as patch:
                        patch.setattr(Reader, "_encode", lambda *_: [])
                        patch.setattr(Reader, "_words_in", lambda *_: ((), 0))
                        uses.append(Reader({}, {}).show(part, number, place).use)
                elif not isinstance(part, Text):
                    uses.append(Use(number, place, kind_of(part), "a sound"))
        return Answer(Message("assistant", (Text("A dog."),)), Usage(3, 2, tuple(uses)), "stop")


def ask(*parts: Part) -> list[Message]:
    return [Message("user", parts)]


def test_a_readable_medium_and_a_plain_question_are_answered_without_a_word_more() -> None:
    for messages in (ask(Image(PICTURE), Text("What is in the photo?")), ask(Text("Who was Ada Lovelace?"))):
        for leave_out in (False, True):
            (answer,) = Candid(Reads(), leave_out).answer([messages], GREEDY)
            assert answer == Reads().answer([messages], GREEDY)[0]


def test_a_question_about_a_photo_without_one_is_answered_with_a_statement() -> None:
    (answer,) = Candid(Reads()).answer([ask(Text("What is in the photo?"))], GREEDY)
    said = "The question speaks of a picture, and none was given. This answer rests on the words alone."
    assert answer.text == f"{said}\nA dog."
    assert answer.usage.notes == (said,)


@pytest.mark.parametrize(
    ("question", "parts", "lacking"),
    [
        ("What does she say in this recording?", (), "recording"),
        ("What does she say in this recording?", (Audio(SOUND),), None),
        ("Describe the images.", (Video("a.mp4"),), None),
        ("What happens in the video clip?", (Image(PICTURE),), "clip"),
        ("Summarise my document", (), "document"),
        ("How do I take a good photo?", (), None),
        ("What is in the photo? " + "x" * 400, (), None),
    ],
)
def test_what_is_spoken_of_is_found_by_its_words(question: str, parts: tuple[Part, ...], lacking: str | None) -> None:
    assert spoken_of(ask(*parts, Text(question))) == lacking


def test_a_medium_of_an_earlier_turn_is_there() -> None:
    earlier = [*ask(Image(PICTURE), Text("Hello.")), Message("assistant", (Text("Hello."),))]
    assert spoken_of([*earlier, *ask(Text("What is in the picture?"))]) is None


def test_a_truncated_photo_is_refused_unless_asked_otherwise() -> None:
    messages = ask(Image(PICTURE[:700]), Text("What is in the photo?"))
    with pytest.raises(MediaError, match="cannot be read as a picture"):
        Candid(Reads()).answer([messages], GREEDY)
    with pytest.raises(MediaError, match="cannot be read as a picture"):
        list(Candid(Reads()).stream(messages, GREEDY))


def test_a_truncated_photo_is_left_out_and_the_answer_and_usage_say_so() -> None:
    model = Reads()
    messages = ask(Image(PICTURE[:700]), Image(PICTURE), Text("What is in the photos?"))
    *pieces, answer = Candid(model, leave_out=True).stream(messages, GREEDY)
    assert isinstance(answer, Answer)
    assert "".join(str(piece) for piece in pieces) == answer.text
    statement, said = answer.text.split("\n")
    assert said == "A dog."
    assert statement.startswith("The picture the given bytes could not be used: it cannot be read as a picture (")
    assert statement.endswith("This answer rests on the picture and the words.")
    lost, seen = answer.usage.media
    assert (lost.message, lost.part, lost.kind) == (0, 0, "image") and lost.notes[0].startswith("left out: it cannot be read")
    assert (seen.message, seen.part) == (0, 1), "numbered as it was given"
    assert answer.usage.notes == (statement,)
    assert model.asked[-1][0].parts == messages[0].parts[1:]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone.jpg")
    (answer,) = Candid(Reads(), leave_out=True).answer([ask(Image(gone), Text("What is it?"))], GREEDY)
    statement = f"The picture {gone} could not be used: it does not exist. This answer rests on the words alone."
    assert answer.text.startswith(statement)


def test_one_bad_row_of_a_batch_leaves_the_others_as_they_are() -> None:
    good, bad = ask(Image(PICTURE), Text("What is it?")), ask(Image(b"\x89PNG\r\n\x1a\n"), Text("What is it?"))
    first, second = Candid(Reads(), leave_out=True).answer([good, bad], GREEDY)
    assert first == Reads().answer([good], GREEDY)[0]
    assert second.text.startswith("The picture")


def test_a_choice_stays_a_choice_and_usage_says_it() -> None:
    (answer,) = Candid(Reads()).answer([ask(Text("Is there a dog in the picture?"))], Sampling(choices=("A dog.", "no")))
    assert answer.text == "A dog."
    assert "none was given" in answer.usage.notes[0]


def test_limits_and_questions_that_are_themselves_unreadable_are_refused() -> None:
    small = Limits(pixels=100)
    tiny = ask(Image(PICTURE), Image(PICTURE[:700]), Text("What is it?"))
    with pytest.raises(LimitError):
        Candid(Reads(), leave_out=True, limits=small).answer([tiny], GREEDY)
    with pytest.raises(MediaError, match="cannot be read"):
        Candid(Reads(), leave_out=True).answer([ask(Image(PICTURE[:700]))], GREEDY)
