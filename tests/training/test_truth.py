"""What a run is told about itself: counts, blind losses, parts without a gradient, collapse, the first bad operation."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sensorium.batch import Batch, Modality
from sensorium.data.flat import flatten
from sensorium.data.row import Row
from sensorium.data.synthetic import World
from sensorium.errors import CheckpointError, DataError
from sensorium.model.multimodal import MultimodalLM
from sensorium.model.presets import tiny
from sensorium.objectives.loss import Loss
from sensorium.objectives.next_token import NextToken
from sensorium.parts import Message, Sample, Text
from sensorium.training.config import parse
from sensorium.training.corpus import Data, Lay, corpus, join_flat, join_for
from sensorium.training.feed import Cycle, Rows, UnlearnableError
from sensorium.training.optimizer import Part
from sensorium.training.run import Recipe, Run, Training
from sensorium.training.sentinel import accuse
from sensorium.training.task import Task
from sensorium.training.truth import Judge, Truth, account, blindfolded


def model() -> MultimodalLM:
    made = tiny()
    made.reader = replace(made.reader, policy=replace(made.reader.policy, words_in_images=False, words_in_sound=False))
    return made


def rows(count: int, what: str = "captions") -> list[Row]:
    return [Row(sample, "world", number) for number, sample in enumerate(World(0, 32).samples(count, what=what), 1)]  # type: ignore[arg-type]


def test_a_batch_is_counted() -> None:
    made = model()
    batch = made.batch([row.sample for row in rows(3)])
    plain, flat = account(batch), account(flatten([batch]))
    assert plain is not None
    assert flat is not None
    assert (plain.rows, flat.rows) == (3, 3)
    assert plain.tokens == int(batch.valid_BL.sum())
    assert plain.supervised == flat.supervised == int((batch.learn_BL & batch.valid_BL).sum())
    assert plain.media == flat.media == {"image": 3 * 16}
    assert account("something else") is None


def test_a_blindfold_replaces_media_and_nothing_else() -> None:
    batch = flatten([model().batch([row.sample for row in rows(3)])])
    zeroed, swapped = blindfolded(batch, "zeroed"), blindfolded(batch, "swapped")
    pictures = batch.media[Modality.IMAGE]
    assert all(not tensor.any() for tensor in zeroed.media[Modality.IMAGE])
    assert [torch.equal(x, y) for x, y in zip(swapped.media[Modality.IMAGE], [*pictures[1:], pictures[0]], strict=True)] == [
        True
    ] * 3
    assert torch.equal(zeroed.ids_BL, batch.ids_BL)
    alone = flatten([model().batch([rows(1)[0].sample])])
    assert blindfolded(alone, "swapped") is None
    assert blindfolded(alone._replace(media={}), "zeroed") is None


def test_a_flat_row_has_the_loss_of_its_rows_one_by_one_and_none_sees_another() -> None:
    made = model()
    batches = [made.batch([row.sample]) for row in rows(4)]
    objective = NextToken(encoders=made.encoders)
    flat = objective(made, flatten(batches))
    alone = [objective(made, batch) for batch in batches]
    assert flat.total.item() == pytest.approx(sum(loss.total.item() for loss in alone), rel=1e-5)
    assert flat.size == sum(loss.size for loss in alone)
    side_by_side = objective(made, made.batch([row.sample for row in rows(4)]))
    assert side_by_side.total.item() == pytest.approx(flat.total.item(), rel=1e-5)


def test_rows_are_joined_side_by_side_where_media_are_read_by_cross_attention() -> None:
    made = tiny(cross_attention=True)
    made.reader = replace(made.reader, policy=model().reader.policy)
    batches = [made.batch([row.sample]) for row in rows(4)]
    joined, whole = join_for(made)(batches), made.batch([row.sample for row in rows(4)])
    assert isinstance(joined, Batch)
    for name in ("ids_BL", "valid_BL", "learn_BL"):
        assert torch.equal(getattr(joined, name), getattr(whole, name))
    assert joined.placements == whole.placements
    assert NextToken()(made, joined).total.item() == pytest.approx(NextToken()(made, whole).total.item())
    assert join_for(model()) is join_flat


def test_the_loss_is_measured_blind_too() -> None:
    made = model()
    objective, held = NextToken(encoders=made.encoders), [flatten([made.batch([row.sample for row in rows(4)])])]
    made.train()
    values = Judge(made, [Task("a", objective, Cycle([]), held)], Truth(), nullcontext)(1, []).values
    assert values["gap_zeroed"] == pytest.approx(values["loss_zeroed"] - values["loss"])
    assert values["gap_swapped"] != 0
    assert made.training


def test_an_objective_without_a_term_named_loss_is_judged_by_its_total() -> None:
    made = model()
    objective, held = NextToken(encoders=made.encoders), [flatten([made.batch([row.sample for row in rows(4)])])]

    def unnamed(model: Any, batch: Any) -> Loss:
        return objective(model, batch)._replace(terms={"words": (4.0, 2.0)})

    found = [Judge(made, [Task("a", one, Cycle([]), held)], Truth(), nullcontext)(1, []) for one in (objective, unnamed)]
    assert found[1].loss == pytest.approx(found[0].loss)
    assert found[1].values["gap_zeroed"] == pytest.approx(found[0].values["gap_zeroed"], abs=1e-6)
    assert found[1].values["words"] == 2.0


def test_a_part_that_got_no_gradient_stops_the_run(tmp_path: Path) -> None:
    made = model()
    batch = flatten([made.batch([row.sample for row in rows(4)])])
    run = Run(tmp_path, Recipe(training=Training(steps=4, precision="fp32")))
    task = Task("a", NextToken(encoders=made.encoders), Cycle([[batch]]))
    parts = {"connectors.image": Part(), "connectors.audio": Part()}
    with pytest.raises(CheckpointError, match=r"part connectors\.audio: should learn, and has had no gradient.*freeze it"):
        run.train(made, [task], parts, run.config.training)


def test_a_row_without_a_learned_token_is_an_error_that_names_it() -> None:
    made = model()
    row = rows(1)[0]
    mute = replace(row.sample, messages=tuple(replace(message, learn=False) for message in row.sample.messages))
    feed: Rows[Any, Any] = Rows(Given([row._replace(sample=mute, row=7)]), Lay(made), lambda laid: laid, 1)
    with pytest.raises(UnlearnableError, match=r"world, row 7: \(captions-train-0\) has no token to learn.*assistant"):
        feed.draw()


class Given:
    """A stream of given rows, without end."""

    def __init__(self, given: Sequence[Row]) -> None:
        self.given, self.turn = given, 0

    def take(self, count: int) -> list[Row]:
        self.turn += count
        return [self.given[place % len(self.given)] for place in range(self.turn - count, self.turn)]

    def position(self) -> int:
        return self.turn

    def seek(self, position: int) -> None:
        self.turn = position


def test_a_row_that_cannot_be_used_is_dropped_and_counted() -> None:
    made = model()
    good, bad = rows(2)
    broken = Sample("x", (Message("assistant", (Text("a" * 1100),), learn=True),))
    feed: Rows[Any, Any] = Rows(Given([good, bad._replace(sample=broken)]), Lay(made), lambda laid: [join_flat(laid)], 2)
    (batch,) = feed.draw()
    assert len(batch.lengths) == 1
    assert dict(feed.dropped.kinds) == {"refused": 1}
    position = feed.position()
    feed.draw()
    feed.seek(position)
    assert dict(feed.dropped.kinds) == {"refused": 1}
    strict: Rows[Any, Any] = Rows(Given([bad._replace(sample=broken)]), Lay(made), lambda laid: laid, 1, strict=True)
    with pytest.raises(DataError, match=r"world, row 2.*positions"):
        strict.draw()


def test_data_are_shared_out_and_held_back() -> None:
    made = model()
    data = Data(train=("synthetic:classes",), rows=4, judge=6, parts=2)
    found = corpus(data, Lay(made), join_flat)
    assert [len(batch.lengths) for batch in found.held] == [4, 2]
    assert len(found.judged) == 6
    whole = [batch.lengths for batch in found.feed.draw()]
    assert [len(lengths) for lengths in whole] == [2, 2]
    halves = [corpus(data, Lay(made), lambda laid: [one.samples[0].id for one in laid], (rank, 2)) for rank in (0, 1)]
    alone = corpus(data, Lay(made), lambda laid: [one.samples[0].id for one in laid])
    ids = sorted(name for half in halves for part in half.feed.draw() for name in part)
    assert ids == sorted(name for part in alone.feed.draw() for name in part)
    with pytest.raises(DataError, match=r"data\.train: names nothing.*synthetic:captions"):
        corpus(Data(), Lay(made), join_flat)
    with pytest.raises(DataError, match="synthetic:cats: is not a kind"):
        corpus(Data(train=("synthetic:cats",)), Lay(made), join_flat)


def test_every_setting_of_the_data_is_read_by_something() -> None:
    values = Data().to_json() | {"train": "synthetic:classes", "held": "synthetic:classes", "weights": "1", "scenes": 8}
    data = parse(Data, [f"{key}={'none' if value is None else value}" for key, value in values.items()])
    corpus(data, lambda row: row, len)
    assert set(data.unread()) <= {"media"}  # of files only


class Guess(nn.Module):
    """A contrastive loss that tells nothing apart."""

    def forward(self, _: Any, batch: int) -> Loss:
        total = torch.tensor(batch * math.log(batch))
        return Loss(total, batch, {"loss": (float(total), batch)})


def test_a_loss_stuck_at_chance_is_a_collapse_that_stops_the_run_in_the_end() -> None:
    judge = Judge(nn.Linear(1, 1), [Task("pairs", Guess(), Cycle([]), [128], contrastive=True)], Truth(patience=2), nullcontext)
    assert "the logarithm of its 128 pairs" in judge(1, []).values["collapse"][0]
    with pytest.raises(CheckpointError, match=r"pairs: loss: stays at 4\.852.*at 2 evaluations running"):
        judge(2, [])
    calm = Judge(nn.Linear(1, 1), [Task("pairs", Guess(), Cycle([]), [128], contrastive=True)], Truth(patience=0), nullcontext)
    assert all(calm(step, []).values["collapse"] for step in range(5))


def test_features_that_are_all_alike_and_answers_that_all_begin_alike_are_seen() -> None:
    made = model()
    held = [flatten([made.batch([row.sample for row in rows(12, "questions")])])]
    with torch.no_grad():
        made.connectors["image"].get_parameter("linear_2.weight").zero_()
    task = Task("a", NextToken(encoders=made.encoders), Cycle([]), held)
    signs = Judge(made, [task], Truth(blind=False), nullcontext)(1, []).values["collapse"]
    assert any("connectors.image gives all media the same features" in sign for sign in signs)
    assert any("all begin alike" in sign for sign in signs)


class Risky(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.inner, self.outer, self.how = nn.Linear(2, 2), Power(how), how

    def loss(self, x: Tensor) -> Loss:
        total = self.outer(self.inner(x)).sum()
        return Loss(total, 1, {"loss": (float(total.detach()), 1)})


class Power(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "forward":
            return torch.log(-x.abs() - 1)
        return torch.sqrt(x * 0)  # finite, and its gradient is not


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("forward", r"log in outer \(forward\), which made NaN"),
        ("backward", r"\S+ in outer \(backward\), which made"),
    ],
)
def test_the_first_bad_operation_is_named(how: str, message: str) -> None:
    risky = Risky(how)
    said = accuse([risky], [partial(risky.loss, torch.ones(1, 2))])
    assert re.search(message, said), said


def test_a_bad_parameter_and_a_good_batch_are_told_from_a_bad_operation() -> None:
    risky = Risky("forward")
    with torch.no_grad():
        risky.inner.bias[0] = math.nan
    assert accuse([risky], []) == "parameter inner.bias was not finite before the step"
    fine = nn.Linear(2, 1)
    assert "run again, the batch is finite" in accuse(
        [fine], [lambda: Loss(fine(torch.ones(1, 2)).sum(), 1, {"loss": (0.0, 1)})]
    )


def test_a_run_stops_at_the_first_nan_and_names_the_place(tmp_path: Path) -> None:
    risky = Risky("forward")
    run = Run(tmp_path, Recipe(training=Training(steps=4, precision="fp32")))
    task: Task[Tensor] = Task("a", lambda model, x: model.loss(x), Cycle([[torch.ones(1, 2)]]))
    with pytest.raises(CheckpointError, match=r"step 0: has the loss loss nan.*first bad operation is log in outer"):
        run.train(risky, [task], {"inner": Part()}, run.config.training)
