"""Planted weaknesses are named with their numbers, and sound models pass."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import pytest

from sensorium.audit.exam import Exam
from sensorium.audit.robustness import check
from sensorium.evaluation.kept import Kept
from sensorium.evaluation.result import Finding
from sensorium.evaluation.stress.conflict import lie_of
from sensorium.evaluation.task import Item, Reply, Scores, Task
from sensorium.evaluation.variant import PLAIN
from sensorium.parts import Image, Message, Sample, Text

COLOURS = ("red", "green", "blue")
N = 120
ITEMS = tuple(
    Item(
        Sample(str(number), (Message("user", (Image(f"{number}.png"), Text("What color is it?"))),)),
        {"answer": COLOURS[number % 3]},
    )
    for number in range(N)
)


def right(item: Item, reply: Reply) -> Scores:
    return {"right": float(item.gold["answer"] in reply.text)}


TASK = Task("colours", "", lambda _, __: ITEMS, right, "right", answer=lambda item: str(item.gold["answer"]))
Says = Callable[[int], str | Reply]


def sees(share: float, seed: int) -> Says:
    """Right for that share of the items, else `grey`."""
    chance = random.Random(seed)
    hits = set(chance.sample(range(N), round(share * N)))
    return lambda place: COLOURS[place % 3] if place in hits else "grey"


def sat(**variants: Says) -> Exam:
    """What a model says under each variant; names have `_` for `-`."""
    kept: dict[str, list[Kept]] = {}
    said: Mapping[str, Says] = {PLAIN.name: sees(0.9, 0)} | {name.replace("_", "-"): says for name, says in variants.items()}
    for name, says in said.items():
        kept[name] = []
        for place, item in enumerate(ITEMS):
            answer = says(place)
            reply = Reply(answer) if isinstance(answer, str) else answer
            scores = None if reply.finish == "refused" else right(item, reply)
            kept[name].append(Kept(item.sample.id, "", f"{name} {place}", (), item.gold, reply, scores))
    return Exam(TASK, ITEMS, kept)


def only(found: list[Finding]) -> Finding:
    (finding,) = found
    return finding


def test_too_much_lost_to_a_harm_of_middling_strength_is_named_with_kind_and_amount() -> None:
    finding = only(check(sat(fog_3=sees(0.2, 1), jpeg_3=sees(0.85, 2), snow_5=sees(0.0, 3))))
    assert not finding.passed
    assert finding.claim.startswith("Too much is lost to fog-3 (thickness 2.5): the score of 0.9 falls by 0.7 [")
    assert finding.estimate is not None and finding.estimate.value == pytest.approx(0.7) and finding.estimate.n == N
    assert len(finding.evidence) == 10


def test_a_model_that_stands_harm_passes_and_the_worst_is_still_named() -> None:
    finding = only(check(sat(fog_3=sees(0.7, 1), jpeg_3=sees(0.85, 2))))
    assert finding.passed and "fog-3" in finding.claim


def test_a_score_that_hangs_on_the_wording_is_named() -> None:
    exam = sat(paraphrase_2=sees(0.5, 1), casing_2=sees(0.88, 2), typos_5=sees(0.0, 3))
    finding = only(check(exam))
    assert not finding.passed and "paraphrase-2 (another form)" in finding.claim
    assert only(check(sat(paraphrase_2=sees(0.88, 1)))).passed


def test_a_model_that_follows_a_lying_caption_is_named() -> None:
    gullible = only(check(sat(lying_caption_1=lambda place: f"It is {lie_of(ITEMS, place, TASK)}.")))
    assert not gullible.passed
    claim = "The model follows a caption that lies: the claimed answer comes +100% more often with it."
    assert gullible.claim == claim
    assert only(check(sat(lying_caption_1=sees(0.85, 4)))).passed
    hedging = sat(lying_caption_1=lambda place: f"Not {lie_of(ITEMS, place, TASK)} but {COLOURS[place % 3]}.")
    assert only(check(hedging)).passed, "to name the lie is not to follow it"


@pytest.mark.parametrize("variant", ["no_image", "truncated_3"])
def test_answers_about_a_medium_that_is_gone_are_counted_unless_they_say_so(variant: str) -> None:
    finding = only(check(sat(**{variant: sees(0.3, 5)})))
    assert not finding.passed and f"100% of {N} questions about a medium that " in finding.claim
    honest = ("I cannot see a picture.", "No image was given.", "The picture x could not be used: it is gone.\nred")
    assert only(check(sat(**{variant: lambda place: honest[place % 3]}))).passed
    assert only(check(sat(**{variant: lambda _: Reply("", "refused")}))).passed
    noted = Reply("red", notes=("x.png: left out: it could not be used",))
    assert only(check(sat(**{variant: lambda _: noted}))).passed


def test_a_run_without_stress_or_with_few_items_is_not_judged() -> None:
    assert check(sat(blind=sees(0.3, 5))) == []
    few = sat(fog_3=sees(0.0, 1))
    assert check(Exam(TASK, ITEMS[:19], {name: rows[:19] for name, rows in few.kept.items()})) == []
