"""What joint objectives teach, with small budgets; and the arithmetic of the measures."""

from __future__ import annotations

import pytest
import torch

from benchmarks.joint_autoencoding import autoencoding
from benchmarks.joint_questions import questions
from benchmarks.joint_world import CLASSES, Splits, build, captioned, captions, fall, named, splits
from benchmarks.objectives_joint import ALONE, alignment, auc, minimal, pretraining
from sensorium.model.joint_config import SingleStream


@pytest.fixture(scope="module")
def few() -> Splits:
    return splits(40, 8, steps=20)


@pytest.fixture(scope="module")
def many() -> Splits:
    return splits(1500, 200)


def test_the_world_in_words_and_regions_keeps_the_truth(few: Splits) -> None:
    texts = [text for scene in few.test.scenes for text in scene.captions()]
    model = build(texts, SingleStream(depth=1), 16, 16)
    pairs = captioned(captions(model, few.test), few.test, [3, 5], 1)
    assert len(pairs) == 2
    for row, index in enumerate((3, 5)):
        scene = few.test.scenes[index]
        told = named(pairs, row, scene, model)
        said = {place: model.reader.tokenizer.id_to_token(int(pairs.words.ids_BL[row, place])) for place in told}
        assert len(told) == 2 * len(scene.things)
        assert all(said[place] in scene.things[thing].pair for place, thing in told.items())
        assert int(pairs.regions.valid_BG[row].sum()) == len(scene.things)
    assert few.train.regions.classes_BGC is not None
    assert few.train.regions.classes_BGC.shape[-1] == len(CLASSES)
    assert all(not thing.text for scene in few.train.scenes for thing in scene.things)


def test_minimal_pairs_differ_in_one_word(few: Splits) -> None:
    texts = [text for scene in few.test.scenes for text in (*scene.captions(), scene.edit()[0].captions()[1])]
    model = build(texts, SingleStream(depth=1), 16, 16)
    right, wrong = minimal(model, few.test)
    assert len(right) >= 1
    differing = (right.words.ids_BL != wrong.words.ids_BL).sum(1)
    assert bool((differing >= 1).all())
    with torch.no_grad():
        assert auc(model, right, right).value == pytest.approx(0.5, abs=0.5)


def test_a_fall_is_the_share_that_is_gone() -> None:
    assert fall([4.0] * 5 + [1.0] * 20) == pytest.approx(0.75)


@pytest.mark.slow
def test_matching_tells_pairs_apart(many: Splits) -> None:
    result = pretraining(many, 700, ALONE["matching"])
    assert result.scores["matching AUC, another scene's caption"].value >= 0.95
    assert result.falls["matching"] >= 0.5


@pytest.mark.slow
def test_the_transport_plan_finds_each_words_region(many: Splits) -> None:
    result = alignment(many, 500)
    assert result.scores["word-region pairs from the plan"].low >= 0.95
    assert result.falls["word_region"] >= 0.5


@pytest.mark.slow
def test_masked_colours_and_shapes_are_read_off_the_picture(many: Splits) -> None:
    result = pretraining(many, 500, ALONE["words"], wordings=1)
    assert result.scores["masked colours and shapes"].value >= 0.8
    assert result.scores["masked colours and shapes, blind"].value <= 0.3
    assert result.falls["masked_language"] >= 0.5


@pytest.mark.slow
def test_masked_regions_are_named_from_the_words(many: Splits) -> None:
    result = pretraining(many, 800, ALONE["regions"])
    assert result.scores["masked regions named"].value >= 0.9
    assert result.scores["masked regions named, no words"].value <= 0.2
    assert result.falls["masked_region_classes"] >= 0.5


@pytest.mark.slow
def test_two_streams_answer_and_need_the_picture(many: Splits) -> None:
    result = questions(many, "two streams (ViLBERT)", 600)
    assert result.scores["right"].value - result.scores["right, blind"].value >= 0.25
    assert result.falls["answering"] >= 0.5


@pytest.mark.slow
def test_either_modality_is_rebuilt_from_the_other_better_than_by_the_mean(many: Splits) -> None:
    result = autoencoding(many, 500)
    assert all(score.high < 0.3 for score in result.scores.values())
    assert all(value >= 0.5 for value in result.falls.values())
