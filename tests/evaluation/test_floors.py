"""Floors: what the commonest answer and the question's words alone give, without an item's own answer helping it."""

from __future__ import annotations

import random
from collections.abc import Sequence

from sensorium.data.synthetic import World
from sensorium.evaluation.floors import MAJORITY, QUESTION_ONLY, basis, floors
from sensorium.evaluation.task import Item, Reply, Task
from sensorium.parts import Image, Message, Sample, Text


def item(name: str, question: str, answer: str, cluster: str = "", choices: tuple[str, ...] = ()) -> Item:
    said = Message("user", (Image(f"{cluster or name}.png"), Text(question)))
    return Item(Sample(name, (said,)), {"answer": answer}, cluster, choices)


def exam(**changes: object) -> Task:
    given: dict[str, object] = {"answer": lambda row: row.gold["answer"]} | changes
    return Task("exam", "", lambda _, __: (), _score, "right", **given)  # type: ignore[arg-type]


def _score(row: Item, reply: Reply) -> dict[str, float]:
    return {"right": float(reply.text == row.gold["answer"])}


def right(items: Sequence[Item], replies: Sequence[Reply]) -> float:
    return sum(_score(row, reply)["right"] for row, reply in zip(items, replies, strict=True)) / len(items)


def world(count: int, split: str) -> list[Item]:
    """Questions of a synthetic world that are not answered by yes or no as often as by the other."""
    scenes = [World(3).scene(index, split) for index in range(count)]  # type: ignore[arg-type]
    return [
        item(f"{split}-{scene.index}-{asked.kind}", asked.question, asked.answer, f"{split}-{scene.index}")
        for scene in scenes
        for asked in scene.questions()
        if asked.medium == "image"
    ]


def test_words_alone_beat_the_commonest_answer_from_a_train_split() -> None:
    train, items = world(120, "train"), world(60, "test")
    found = floors(exam(), items, train)
    assert right(items, found[MAJORITY]) == sum(row.gold["answer"] == "yes" for row in items) / len(items)
    assert right(items, found[QUESTION_ONLY]) > right(items, found[MAJORITY]) + 0.08


def test_without_a_train_split_the_other_items_stand_in_and_do_about_as_well() -> None:
    items = world(120, "test")
    alone, told = floors(exam(), items), floors(exam(), items, world(120, "train"))
    for name in (MAJORITY, QUESTION_ONLY):
        assert abs(right(items, alone[name]) - right(items, told[name])) < 0.06
    assert "120 items" in basis(exam(), world(120, "train")[:120]) and "same split" in basis(exam(), ())


def test_leaving_one_out_of_a_balanced_set_does_not_make_the_floor_fall_to_nothing() -> None:
    items = [item(f"{n}", "Is there a dog?", ("yes", "no")[n % 2]) for n in range(40)]
    found = floors(exam(), items)
    assert right(items, found[MAJORITY]) == right(items, found[QUESTION_ONLY]) == 0.5


def test_an_answer_that_nobody_else_gave_helps_nobody() -> None:
    items = [item(f"{n}", f"What is on table {n}?", f"thing {n}") for n in range(30)]
    found = floors(exam(), items)
    assert all(right(items, replies) == 0 for replies in found.values())


def test_answers_that_have_nothing_to_do_with_the_question_are_guessed_at_chance() -> None:
    shares = []
    for seed in range(20):
        chance = random.Random(seed)
        words = ("red", "green", "blue", "round", "square", "small")
        items = [
            item(f"{n}", f"What of the {chance.choice(words)} {chance.choice(words)} one?", chance.choice("abcd"))
            for n in range(100)
        ]
        shares.append(right(items, floors(exam(), items)[QUESTION_ONLY]))
    assert 0.21 < sum(shares) / len(shares) < 0.29  # of four equally likely answers


def test_one_picture_s_items_say_nothing_about_one_another() -> None:
    items = [item(f"{n}", "What is this?", f"word {n // 5}", cluster=f"picture {n // 5}") for n in range(50)]
    assert all(right(items, replies) == 0 for replies in floors(exam(), items).values())


def test_differing_choices_are_guessed_by_their_place() -> None:
    items = [item(f"{n}", f"Which {n}?", f"{n} b", choices=tuple(f"{n} {name}" for name in "abcd")) for n in range(9)]
    items.append(item("9", "Which?", "9 a", choices=("9 a", "9 b")))
    found = floors(exam(), items)[MAJORITY]
    assert [reply.text[-1] for reply in found] == ["b"] * 10 and right(items, found) == 0.9
    assert found[0].finish == "choice" and found[0].logprobs.index(max(found[0].logprobs)) == 1


def test_fixed_choices_are_guessed_by_their_words() -> None:
    train = [item(f"{n}", "Cat or dog?", "dog", choices=("cat", "dog")) for n in range(3)]
    found = floors(exam(), [item("9", "Cat or dog?", "cat", choices=("cat", "dog"))], train)
    assert found[QUESTION_ONLY][0].text == "dog" and found[MAJORITY][0].confidence == 3.5 / 4


def test_a_task_without_right_answers_in_words_has_no_floors() -> None:
    assert floors(exam(answer=None), world(3, "test")) == {}
    assert floors(exam(), []) == {}
