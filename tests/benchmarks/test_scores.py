"""The arithmetic of the measurements."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks import short_answers
from benchmarks.retrieval import recalls
from recipes import nano_data, nano_photos
from sensorium.data.packing import pack
from sensorium.estimate import estimate, mcnemar
from sensorium.model.generate import Assistant
from sensorium.model.presets import tiny
from sensorium.model.session import Session
from sensorium.objectives.next_token import NextToken, connect


def test_an_interval_holds_the_value_and_narrows_with_more_items() -> None:
    few, many = (estimate([0.0, 1.0] * count) for count in (10, 1000))
    assert few.value == many.value == 0.5
    assert few.low < 0.5 < few.high
    assert many.high - many.low < 0.2 * (few.high - few.low)
    assert str(many).endswith("n=2000")


def test_any_measure_of_rows_can_be_estimated() -> None:
    rows = np.array([[1, 2], [3, 4]])
    assert estimate(rows, lambda x: float(x[:, 0].sum() / x[:, 1].sum())).value == pytest.approx(4 / 6)


def test_recall_counts_the_best_of_a_photos_captions() -> None:
    images_PD = torch.eye(3)
    texts_XD = torch.stack([images_PD[0], images_PD[1], images_PD[1], images_PD[2], images_PD[2], images_PD[0]])
    found = recalls(images_PD, texts_XD)
    assert found["text to photo R@1"].value == pytest.approx(0.5)
    assert found["photo to text R@1"].value == pytest.approx(1.0)
    assert found["text to photo R@1"].n == 3


def test_bleu_of_summed_counts_is_that_of_the_scorer() -> None:
    pytest.importorskip("pycocoevalcap")
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer

    from benchmarks.captions import _bleu, _closest

    scorer = BleuScorer(n=4)
    for said, right in (("a dog runs on the grass", ["a dog runs on grass", "the dog runs"]), ("a man", ["a man sits there"])):
        scorer += (said, right)
    value, _ = scorer.compute_score(option="closest", verbose=0)
    counts = np.array([[row["testlen"], _closest(row), *row["guess"], *row["correct"]] for row in scorer.ctest], dtype=float)
    assert _bleu(counts) == pytest.approx(value[3], rel=1e-4)


def test_mcnemar_counts_only_where_two_models_differ() -> None:
    first, second = [True] * 10 + [False] * 5, [False] * 10 + [False] * 5
    assert mcnemar(first, second) == pytest.approx(2 / 2**10)
    assert mcnemar(first, first) == 1.0
    assert mcnemar([True, False], [False, True]) == 1.0


def test_an_answer_is_right_where_the_likeliest_tokens_spell_it() -> None:
    torch.manual_seed(0)
    model = tiny(adapter=True).eval()
    seen = {name: torch.randn(49, 24) for name in ("one", "two")}
    asked = [nano_data.PictureQuestion(name, "test", "What?", answer) for name, answer in (("one", "cup"), ("two", "cat"))]
    assert short_answers.exact(Assistant(model, "tiny"), asked, seen) == [False, False]
    parameters = [*model.decoder.requires_grad_(True).parameters(), *model.connectors["image"].parameters()]
    optimizer = torch.optim.Adam(parameters, 3e-3)
    trees = [nano_photos.tree(model, seen[row.path], [(row.question, row.answer.capitalize() + ".", 1.0)]) for row in asked]
    for _ in range(60):
        optimizer.zero_grad()
        NextToken()(model, pack(trees)).total.backward()
        optimizer.step()
    assert short_answers.exact(Assistant(model, "tiny"), asked, seen) == [True, True]
    swapped = [row._replace(path=other.path) for row, other in zip(asked, reversed(asked), strict=True)]
    assert short_answers.exact(Assistant(model, "tiny"), swapped, seen) == [False, False]
    for row in asked:
        batch = nano_photos.rows(model, [nano_photos.Ask(seen[row.path], row.question)])
        with torch.inference_mode():
            session = Session(model, batch, 8, connect(model, batch.media))
            ids = [int(session.logits().argmax())]
            while ids[-1] not in model.layout.ends:
                ids.append(int(session.step(ids[-1:]).argmax()))
        assert model.layout.tokenizer.decode(ids, skip_special_tokens=True) == row.answer.capitalize() + "."
