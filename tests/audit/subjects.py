"""Simulated models over the synthetic world: honest ones that see more or less well, and ones with a planted defect."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from sensorium.audit.exam import Exam
from sensorium.data.synthetic import COLOURS, SHAPES, World
from sensorium.data.synthetic.scene import Scene
from sensorium.evaluation.blanked import BLANKED
from sensorium.evaluation.kept import Kept
from sensorium.evaluation.task import Item, Reply, Scores, Task
from sensorium.evaluation.variant import BLIND, PLAIN, SHUFFLED, Variant, with_parts
from sensorium.parts import Answer, Finish, Image, Message, Sample, Text, Usage, message_to_json
from sensorium.protocols import Sampling

WORLD = World(11)
KINDS = ("existence", "colour", "shape", "counting")
GREY = Image("grey.png")
GREYED = Variant(
    BLANKED.name, BLANKED.kind, 1.0, lambda items, place: with_parts(items[place], lambda _, __, part: [_grey(part)])
)


def _grey(part: object) -> Image | Text:
    return part if isinstance(part, Text) else GREY


def _right(item: Item, reply: Reply) -> Scores | None:
    words = re.findall(r"\w+", reply.text.lower())
    return {"right": float(words[0] == item.gold["answer"])} if words else None


EXAM = Task(
    "world",
    "",
    lambda _, __: (),
    _right,
    "right",
    answer=lambda item: str(item.gold["answer"]),
    sampling=Sampling(max_tokens=16),
)


@cache
def scene(index: int) -> Scene:
    return WORLD.scene(index, "test")


@cache
def every(kinds: tuple[str, ...] = KINDS) -> tuple[Item, ...]:
    """Questions of these kinds about the first 400 scenes."""
    return tuple(
        Item(
            Sample(f"{index}-{asked.kind}", (Message("user", (Image(f"{index}.png"), Text(asked.question))),)),
            {"answer": asked.answer, "kind": asked.kind},
            str(index),
        )
        for index in range(400)
        for asked in scene(index).questions()
        if asked.kind in kinds
    )


def drawn(count: int, seed: int, kinds: tuple[str, ...] = KINDS, yes: float | None = None) -> list[Item]:
    """So many items at random; of yes-or-no questions the share of yes may be chosen."""
    chance = random.Random(seed)
    pool = list(every(kinds))
    chance.shuffle(pool)
    if yes is None:
        return pool[:count]
    first = [item for item in pool if item.gold["answer"] == "yes"][: round(count * yes)]
    return [*first, *[item for item in pool if item.gold["answer"] == "no"][: count - len(first)]]


def truth(index: int, question: str) -> str | None:
    """The right answer to any of these questions about any scene; None where there is none."""
    things, words = scene(index).things, question.lower().rstrip("?").split()
    colour = next((word for word in words if word in COLOURS), None)
    shape = next((name for name in SHAPES for word in words if word in (name, f"{name}s", f"{name}es")), None)
    fitting = [thing for thing in things if colour in (None, thing.colour) and shape in (None, thing.shape)]
    if question.startswith("How many"):
        return str(len(fitting))
    if question.startswith("Is there"):
        return "yes" if fitting else "no"
    if not fitting:
        return None
    return fitting[0].colour if question.startswith("What colour") else fitting[0].shape


@dataclass(frozen=True)
class Sighted:
    """Answers what it sees, but for a share `noise` of its looks, when it guesses; without a known picture it always does.

    Args:
        steady: the guess is the same for the same question, whatever is shown. wordy: how it puts an answer.
    """

    noise: float
    seed: int = 0
    steady: bool = False
    wordy: str = "{}"
    blots: float = 0.0

    def says(self, source: str, question: str) -> tuple[str, Finish]:
        chance = _chance(self.seed, source, question)
        if chance.random() < self.blots:
            return "", "stop"
        known = re.fullmatch(r"(\d+)\.png", source)
        seen = truth(int(known.group(1)), question) if known and chance.random() >= self.noise else None
        guess = self.guess(question, _chance(self.seed, "" if self.steady else source, question, "guess"))
        return self.wordy.format(seen or guess).capitalize(), "stop"

    def guess(self, question: str, chance: random.Random) -> str:
        pools = {
            "Is there": ("yes", "no"),
            "How many": ("1", "1", "2", "0"),
            "What colour": tuple(COLOURS),
            "What shape": SHAPES,
        }
        return chance.choice(next(pool for start, pool in pools.items() if question.startswith(start)))

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[str | Answer]:
        answer = self.answer([messages], sampling)[0]
        yield answer.text
        yield answer

    def answer(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[Answer]:
        answers = []
        for messages in conversations:
            source = next((str(part.source) for part in messages[-1].parts if isinstance(part, Image)), "")
            question = next(part.text for part in messages[-1].parts if isinstance(part, Text))
            text, finish = self.says(source, question)
            answers.append(Answer(Message("assistant", (Text(text),)), Usage(1, min(1, sampling.max_tokens)), finish))
        return answers


@dataclass(frozen=True)
class Deaf(Sighted):
    """Knows the commonest answers and never looks."""

    noise: float = 1.0
    steady: bool = True


@dataclass(frozen=True)
class Always(Sighted):
    """Says one thing, to every question or only to those that begin so."""

    noise: float = 0.2
    word: str = "Yes"
    to: str = ""

    def says(self, source: str, question: str) -> tuple[str, Finish]:
        return (self.word, "stop") if question.startswith(self.to) else super().says(source, question)


@dataclass(frozen=True)
class Broken(Sighted):
    """Sees well; its answers come through a wrong template."""

    noise: float = 0.1
    how: str = "{}"
    share: float = 1.0
    finish: Finish = "stop"

    def says(self, source: str, question: str) -> tuple[str, Finish]:
        text, finish = super().says(source, question)
        if _chance(self.seed, source, question, "broken").random() >= self.share:
            return text, finish
        return self.how.format(text, question=question), self.finish


def sit(
    model: Sighted, items: Sequence[Item], task: Task = EXAM, variants: Sequence[Variant] = (SHUFFLED, GREYED, BLIND)
) -> Exam:
    """The exam with the model's answers."""
    kept = {}
    for variant in (PLAIN, *variants):
        asked = [variant.change(items, place) for place in range(len(items))]
        answers = model.answer([item.sample.messages for item in asked], task.sampling)
        replies = [Reply(answer.text, answer.finish) for answer in answers]
        kept[variant.name] = [
            Kept(
                item.sample.id,
                item.cluster,
                hashlib.sha256(repr(item.sample.messages).encode()).hexdigest(),
                tuple(map(message_to_json, item.sample.messages)),
                item.gold,
                reply,
                task.score(item, reply),
            )
            for item, reply in zip(asked, replies, strict=True)
        ]
    return Exam(task, items, kept)


def _chance(*key: object) -> random.Random:
    return random.Random(hashlib.sha256(repr(key).encode()).digest())
