"""Named objects and yes-or-no questions by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from sensorium.errors import RequestError
from sensorium.estimate import estimate
from sensorium.evaluation.metrics import objects
from sensorium.evaluation.metrics.objects import chair_i, chair_rows, chair_s, pope_rows, things_named, things_possible


def test_chair_counts_objects_and_captions() -> None:
    rows = chair_rows([["dog", "cat"], ["dog", "dog", "ball"], [], ["tree"]], [{"dog"}, {"ball"}, {"dog"}, {"tree"}])
    assert rows.tolist() == [[2, 1], [3, 2], [0, 0], [1, 0]]
    assert chair_i(rows) == pytest.approx(3 / 6)
    assert chair_s(rows) == pytest.approx(2 / 4)
    assert chair_i(chair_rows([[]], [{"dog"}])) == 0.0
    assert estimate(rows, chair_i, rounds=50).n == 4


def test_things_of_captions() -> None:
    assert things_named("A dog chases a Ball on the grass.") == ["a dog", "a ball", "grass"]
    assert things_named("") == things_named("собака") == []
    there = things_possible(["A puppy plays", "an animal on a lawn"])
    assert {"a dog", "grass", "a horse"} <= there  # the animal may be a horse
    rows = chair_rows([things_named("a dog and a car")], [there])
    assert rows.tolist() == [[2, 1]]


def test_pope_is_scikit_learns() -> None:
    chance = np.random.default_rng(0)
    said, true = (chance.random(200) < 0.6).tolist(), (chance.random(200) < 0.5).tolist()
    rows = pope_rows(said, true)
    assert objects.pope_accuracy(rows) == pytest.approx(accuracy_score(true, said))
    assert objects.pope_precision(rows) == pytest.approx(precision_score(true, said))
    assert objects.pope_recall(rows) == pytest.approx(recall_score(true, said))
    assert objects.pope_f1(rows) == pytest.approx(f1_score(true, said))
    assert objects.pope_yes(rows) == pytest.approx(np.mean(said))


def test_a_reply_that_is_neither_is_wrong_and_no_yes() -> None:
    rows = pope_rows([True, None, None, False], [True, True, False, False])
    assert objects.pope_accuracy(rows) == 0.5
    assert objects.pope_recall(rows) == 0.5
    assert objects.pope_precision(rows) == 1.0
    assert objects.pope_yes(rows) == 0.25


def test_always_no_and_always_yes() -> None:
    true = [True, False, True, False]
    no, yes = pope_rows([False] * 4, true), pope_rows([True] * 4, true)
    assert objects.pope_precision(no) == objects.pope_recall(no) == objects.pope_f1(no) == 0.0
    assert (objects.pope_yes(yes), objects.pope_accuracy(yes), objects.pope_recall(yes)) == (1.0, 0.5, 1.0)
    assert objects.pope_recall(pope_rows([True], [False])) == 0.0
    assert objects.pope_f1(pope_rows([False], [False])) == 0.0


def test_lists_must_pair() -> None:
    with pytest.raises(RequestError, match=r"captions: are 1, for the objects of 0 pictures\. Give both for each"):
        chair_rows([["dog"]], [])
    with pytest.raises(RequestError, match="replies: are 1 for 2 questions"):
        pope_rows([True], [True, False])
