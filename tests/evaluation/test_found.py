"""Ranking a gallery by vectors: kept as they come, beside chance, and what cannot be embedded is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from sensorium.errors import RequestError
from sensorium.evaluation.kept import read_answers, read_results
from sensorium.evaluation.run import Options, evaluate
from sensorium.evaluation.task import Item, Reply, Scores, Task
from sensorium.media import image
from sensorium.parts import Image, Message, Sample
from tests.evaluation.exam import Looker, picture, subject

COUNT = 12


class Vectors:
    """A picture's vector is its grey; nothing to look at is refused."""

    def __init__(self) -> None:
        self.seen = 0

    def embed(self, messages: Sequence[Message]) -> Tensor:
        """`(len(messages), 2)`."""
        if any(not message.parts for message in messages):
            raise RequestError("embed", "a message has no parts", "Give a text or a medium")
        self.seen += len(messages)
        angles = torch.tensor([_grey(message) for message in messages])
        return torch.stack([angles.cos(), angles.sin()], 1)


def _grey(message: Message) -> float:
    (part,) = message.parts
    assert isinstance(part, Image)
    return float(image.decode(part.source).pixels_CHW.float().mean()) / 100


def shown(data: Path, split: str) -> Iterator[Item]:
    """Pictures whose right answer is the same picture of the gallery."""
    for number in range(COUNT):
        message = Message("user", (Image(picture("red", 5 * number)),))
        yield Item(Sample(f"{number}", (message,)), {"right": [f"{number}"]})


def hit(item: Item, reply: Reply) -> Scores | None:
    """R@1 and R@3."""
    return {f"R@{depth}": float(item.gold["right"][0] in reply.ranking[:depth]) for depth in (1, 3)} if reply.ranking else None


TASK = Task("twins", "Finding a picture again", shown, hit, "R@1", gallery=shown, needs=("image",))


def run(folder: Path, model: Vectors) -> None:
    """With a batch that does not divide the items."""
    judged = replace(subject(Looker()), embeds=model)
    evaluate(judged, [TASK], Options(folder / "data", size=5, rounds=100), folder)


def test_a_gallery_is_ranked_beside_chance(tmp_path: Path) -> None:
    model, again = Vectors(), Vectors()
    run(tmp_path, model)
    before = (tmp_path / "results.json").read_bytes()
    run(tmp_path, again)
    assert again.seen == 0, "vectors are kept"
    assert (tmp_path / "results.json").read_bytes() == before
    ranked = read_answers(tmp_path, "twins", "as it is")
    assert all(
        row.reply.ranking[0] == row.id and sorted(row.reply.ranking) == sorted(str(n) for n in range(COUNT)) for row in ranked
    )


def test_chance_finds_its_share_and_nothing_to_embed_is_refused(tmp_path: Path) -> None:
    run(tmp_path, Vectors())
    (found,) = read_results(tmp_path).tasks
    assert found.outcomes["as it is"].scores["R@1"].value == 1.0
    blind = found.outcomes["blind"]
    assert (blind.refused, blind.unparsed, blind.scores["R@1"].value) == (COUNT, 0, 0.0)
    assert found.floors["chance"].scores["R@3"].value < 0.6
    assert found.about["floors"] == "the gallery in an order drawn for each item"
