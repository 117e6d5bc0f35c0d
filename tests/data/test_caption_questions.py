"""Counts and colours are asked only where captions agree on them."""

from __future__ import annotations

from sensorium.data.caption_questions import caption_questions, colours_named, counts_named

TWO = ("Two brown dogs run .", "two dogs play on grass", "Animals outside", "A pair plays", "The dogs' toy")
ONE = ("A black dog runs .", "One black dog with a red ball", "A dog", "an animal", "A dog and a red ball")


def test_two_captions_must_agree_on_a_number_and_none_may_differ() -> None:
    assert counts_named(TWO[:4]) == {"dogs": 2}
    assert counts_named(TWO) == {}  # "the dogs" does not say how many
    assert counts_named(("Two dogs", "Three dogs", "Two dogs")) == {}
    assert counts_named(("A man and another man", "A man", "A man")) == {}
    assert counts_named(("Two dogs", "A dog")) == {}
    assert counts_named(ONE) == {"dogs": 1}


def test_one_person_is_not_asked_for_since_a_man_is_one_too() -> None:
    assert counts_named(("A person", "One person")) == {}
    assert counts_named(("Three people", "three young people")) == {"people": 3}


def test_colours_stand_right_before_their_thing() -> None:
    assert colours_named(ONE) == {"dog": "black", "ball": "red"}
    assert colours_named(("A black and white dog", "The black and white dog")) == {"dog": "black and white"}
    assert colours_named(("A grey car", "gray car")) == {"car": "gray"}
    assert colours_named(("A red shirt", "A blue shirt", "A red shirt")) == {}
    assert colours_named(("A man in a red shirt on a bike", "red shirt, bike")) == {"shirt": "red"}


def test_one_of_a_thing_is_asked_no_more_often_than_several() -> None:
    asked = caption_questions([ONE, ONE, ONE, TWO[:4]], seed=1)
    answers = [item.answer for item in asked if item.kind == "count"]
    assert sorted(answers) == ["1", "2"]
    assert {item.answer for item in asked if item.kind == "colour"} == {"Black", "Red"}
    assert asked == caption_questions([ONE, ONE, ONE, TWO[:4]], seed=1)
    assert [item.photo for item in asked] == sorted(item.photo for item in asked)
