"""Questions made from captions are balanced, and never ask what the captions leave open."""

from __future__ import annotations

from collections import Counter

from sensorium.data.photo_questions import photo_questions, things_named

DOG = ("A black dog runs on grass .", "A dog in the grass", "The dog plays", "Dogs run", "An animal outside")
MAN = ("A man on a bike", "A man rides a bicycle down a street", "Someone on a bike", "A man", "A cyclist in the street")
SEA = ("A wave in the ocean", "Waves break", "A surfer on a wave", "The sea", "A person rides a wave")


def test_two_captions_make_a_thing_present_and_one_leaves_it_open() -> None:
    named = things_named(DOG)
    assert "a dog" in named.present
    assert "grass" in named.present
    assert things_named(("A dog", *MAN[1:])).present.count("a dog") == 0
    assert "a dog" not in things_named(("A dog", *MAN[1:])).absent


def test_a_word_that_may_mean_a_thing_keeps_it_from_being_absent() -> None:
    named = things_named(SEA)
    assert "a man" not in named.absent  # the person, or the surfer, may be one
    assert "a dog" in named.absent
    assert "a horse" not in things_named(DOG).absent  # "an animal"


def test_every_thing_is_asked_as_often_with_yes_as_with_no() -> None:
    asked = photo_questions([DOG, MAN, SEA, DOG, MAN, SEA], seed=3)
    answers = Counter((item.thing, item.answer) for item in asked)
    assert asked
    assert all(answers[thing, True] == answers[thing, False] for thing, _ in answers)


def test_the_seed_decides_and_the_wording_is_fixed() -> None:
    photos = [DOG, MAN, SEA] * 4
    assert photo_questions(photos, 1) == photo_questions(photos, 1)
    assert photo_questions(photos, 1) != photo_questions(photos, 2)
    (first, *_) = photo_questions(photos, 1)
    assert first.question == f"Is there {first.thing} in the photo?"
    assert first.reply == ("Yes." if first.answer else "No.")


def test_photos_without_a_contrast_give_no_question() -> None:
    assert photo_questions([DOG, DOG]) == []
