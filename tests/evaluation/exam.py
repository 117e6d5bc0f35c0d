"""A small exam and models that sit it, for the tests of this ring."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

from PIL import Image as Pictures

from sensorium.evaluation.subject import Subject, wrap
from sensorium.evaluation.task import Item, Reply, Scores, Task
from sensorium.media import image
from sensorium.parts import Answer, Image, Message, Sample, Text, Usage
from sensorium.protocols import Sampling

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220)}
NAMES = tuple(COLOURS)


def picture(colour: str, shade: int = 0) -> bytes:
    """A plain picture, of which `shade` makes a new one of the same colour."""
    file = io.BytesIO()
    Pictures.new("RGB", (8, 8), tuple(max(0, value - shade) for value in COLOURS[colour])).save(file, "PNG")
    return file.getvalue()


def items(count: int = 24, of: Sequence[str] = NAMES, choices: bool = False) -> list[Item]:
    """Two questions about each picture: what colour it has, and whether it is one of the colours."""
    made: list[Item] = []
    for number in range(count):
        colour, asked = of[(number // 2) % len(of)], of[(number // 2 + (number // 6) % 2) % len(of)]
        words, gold = ("What colour?", colour) if number % 2 == 0 else (f"Is it {asked}?", "yes" if asked == colour else "no")
        sample = Sample(f"q{number}", (Message("user", (Image(picture(colour, number // 2)), Text(words))),))
        made.append(Item(sample, {"answer": gold}, f"p{number // 2}", (*of, "yes", "no") if choices else ()))
    return made


def task(count: int = 24, of: Sequence[str] = NAMES, choices: bool = False) -> Task:
    """Exact match; an empty answer cannot be read."""

    def score(item: Item, reply: Reply) -> Scores | None:
        text = reply.text.strip(" .").lower()
        return {"exact": float(text == item.gold["answer"])} if text else None

    return Task(
        name="colours",
        about="Colours of plain pictures.",
        items=lambda _, __: items(count, of, choices),
        score=score,
        main="exact",
        answer=lambda item: str(item.gold["answer"]),
        sampling=Sampling(max_tokens=4),
    )


class Looker:
    """Says what colour the picture has. `asked` counts conversations; after `patience` of them it is interrupted."""

    def __init__(self, patience: int = 1 << 30) -> None:
        self.asked, self.patience = 0, patience

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[str | Answer]:
        """The answer in one piece."""
        (answer,) = self.answer([messages], sampling)
        yield answer.text
        yield answer

    def answer(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[Answer]:  # noqa: ARG002
        """By the mean colour of the last picture, "Nothing." without one."""
        if self.asked >= self.patience:
            raise KeyboardInterrupt
        self.asked += len(conversations)
        return [self._answer(messages) for messages in conversations]

    def said(self, messages: Sequence[Message]) -> tuple[str, float]:
        """What it says and how sure it is."""
        parts = messages[-1].parts
        shown = [part for part in parts if isinstance(part, Image)]
        question = "".join(part.text for part in parts if isinstance(part, Text))
        if not shown:
            return "Nothing.", 0.3
        means = image.decode(shown[-1].source).pixels_CHW.float().mean((1, 2))
        colour = NAMES[int(means.argmax())]
        if question.startswith("What"):
            return f"{colour.capitalize()}.", 0.9
        return ("Yes." if colour in question else "No."), 0.8

    def _answer(self, messages: Sequence[Message]) -> Answer:
        text, sure = self.said(messages)
        return Answer(Message("assistant", (Text(text),)), Usage(1, 1), "stop", sure, "told")


def subject(model: Looker, name: str = "looker") -> Subject:
    """As it is judged."""
    return wrap(model, name, "server", name, {})
