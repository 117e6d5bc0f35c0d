"""Questions of the synthetic world for a joint model that sees what a small detector found, and what its runs share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.joint_world import DIM, Shown, splits
from benchmarks.judged import On
from sensorium.fusion.pairs import Pairs, Regions, Words
from sensorium.model.joint import Joint
from sensorium.model.joint_config import BlockConfig, JointBlueprint, JointConfig, RegionConfig, SingleStream, word_tokenizer
from sensorium.nn.trace import Trace
from sensorium.objectives.distillation import Seen
from sensorium.parts import Message, Sample, Text

KINDS = ("counting", "colour", "shape", "negation", "existence")
"""Kinds of questions whose answers are few; relations and comparisons take longer to learn than these runs are."""


class Asked(NamedTuple):
    """One question about scene number `scene`."""

    scene: int
    kind: str
    question: str
    answer: str


@dataclass(frozen=True)
class Exam:
    """Questions with the regions of their scenes; words are read once, by the tokenizer that all models here share."""

    asked: Sequence[Asked]
    words: Words
    regions: Regions
    gold_Q: Tensor

    def __len__(self) -> int:
        return len(self.asked)

    def pairs(self, rows: Sequence[int]) -> Pairs:
        """The given questions with their scenes; no more word positions than the longest of them has."""
        words = self.words.take(rows)
        length = int(words.valid_BL.sum(1).max())
        cut = Words(words.ids_BL[:, :length], words.valid_BL[:, :length], words.tags_BL[:, :length], words.spots)
        return Pairs(cut, self.regions.take([self.asked[row].scene for row in rows]))

    def answers(self, kind: str) -> Tensor:
        """Which answers questions of one kind have, bool."""
        return torch.zeros(int(self.gold_Q.max()) + 1, dtype=torch.bool).index_fill(0, self.gold_Q[self.of(kind)], True)

    def scenes(self, rows: Sequence[int] | None = None) -> list[int]:
        """Of which scene each question is: questions about one scene are answered alike well."""
        return [self.asked[row].scene for row in (range(len(self)) if rows is None else rows)]

    def of(self, kind: str) -> list[int]:
        """The rows of one kind."""
        return [row for row, item in enumerate(self.asked) if item.kind == kind]


class School(NamedTuple):
    """What is learned, what is asked, and a model's vocabulary and answers."""

    train: Exam
    test: Exam
    texts: Sequence[str]
    answers: Sequence[str]


def school(train: int, test: int, kinds: Sequence[str] = KINDS, on: On = "test") -> School:
    """Every question of these kinds about so many scenes."""
    shown = splits(train, test, on=on)
    taught, examined = list(_ask(shown.train, kinds)), list(_ask(shown.test, kinds))
    answers = sorted({item.answer for item in taught})
    examined = [item for item in examined if item.answer in answers]
    texts = sorted({item.question for item in taught})
    reader = build(texts, answers, 32, 1)
    return School(_exam(taught, shown.train, answers, reader), _exam(examined, shown.test, answers, reader), texts, answers)


def build(texts: Sequence[str], answers: Sequence[str], width: int, depth: int, heads: int = 0) -> Joint:
    """A single-stream model of this width and depth, with a head every 32 if their number is 0."""
    tokenizer = word_tokenizer(texts)
    config = JointConfig(
        vocabulary=tokenizer.get_vocab_size(),
        positions=32,
        blocks=BlockConfig(width=width, heads=heads or max(1, width // 32), mlp_width=2 * width),
        regions=RegionConfig(dim=DIM, at="boxes"),
        streams=SingleStream(depth=depth),
        answers=tuple(answers),
    )
    torch.manual_seed(0)
    return Joint(JointBlueprint(config, tokenizer))


def size(model: Joint) -> int:
    """Parameters that answering uses: the heads of masked words, masked regions and matching are left out."""
    unused = ("word_head.", "region_head.", "match.")
    return sum(parameter.numel() for name, parameter in model.named_parameters() if not name.startswith(unused))


def answering(model: Joint) -> list[torch.nn.Parameter]:
    """The parameters that `size` counts."""
    unused = ("word_head.", "region_head.", "match.")
    return [parameter for name, parameter in model.named_parameters() if not name.startswith(unused)]


def seen(model: Joint, pairs: Pairs, layers: Sequence[int]) -> Seen:
    """What a model shows of these layers: logits of answers, hidden states and attention."""
    trace = Trace([f"joint.{layer}.{what}" for layer in layers for what in ("hidden", "attention")])
    assert model.answer is not None
    logits_BA = model.answer(model(pairs, trace=trace).pooled_BD)
    found = trace.result()
    return Seen(logits_BA, *([found[f"joint.{layer}.{what}"] for layer in layers] for what in ("hidden", "attention")))


@torch.no_grad()
def right(model: Joint, exam: Exam, rows: Sequence[int] | None = None, among_A: Tensor | None = None) -> Tensor:
    """Whether each question is answered rightly, bool; `among_A`: which answers are to be chosen from."""
    rows = range(len(exam)) if rows is None else rows
    found = []
    for start in range(0, len(rows), 128):
        some = rows[start : start + 128]
        logits_XV = seen(model, exam.pairs(some), ()).logits_XV
        logits_XV = logits_XV if among_A is None else logits_XV.masked_fill(~among_A, -torch.inf)
        found.append(logits_XV.argmax(-1) == exam.gold_Q[list(some)])
    return torch.cat(found)


def _ask(shown: Shown, kinds: Sequence[str]) -> Iterator[Asked]:
    for number, scene in enumerate(shown.scenes):
        for item in scene.questions():
            if item.kind in kinds:
                yield Asked(number, item.kind, item.question, item.answer)


def _exam(asked: Sequence[Asked], shown: Shown, answers: Sequence[str], reader: Joint) -> Exam:
    samples = [Sample(str(row), (Message("user", (Text(item.question),)),)) for row, item in enumerate(asked)]
    gold = torch.tensor([answers.index(item.answer) for item in asked])
    return Exam(asked, reader.reader(samples, ("user",)), shown.regions, gold)
