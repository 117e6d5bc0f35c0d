"""Rows that begin alike: read once up to where they part, and told the same as read whole."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
import torch
from PIL import Image as Pillow

from sensorium.batch import Batch
from sensorium.model import prefill
from sensorium.model.multimodal import MultimodalLM, rows_with_pictures
from sensorium.model.presets import tiny
from sensorium.model.session import Session
from sensorium.nn.trace import SILENT
from sensorium.parts import Image, Message, Part, Sample, Text


def png(red: int) -> Image:
    file = io.BytesIO()
    Pillow.new("RGB", (40, 30), (red, 10, 10)).save(file, "PNG")
    return Image(file.getvalue())


LONG = "Many words that every question has in front of it, so that there is something to share. "
RED, BLACK, LIMIT = png(220), png(10), 4096


@pytest.fixture(scope="module", params=[False, True], ids=["spliced", "memory"])
def model(request: pytest.FixtureRequest) -> MultimodalLM:
    model = tiny(adapter=not request.param, cross_attention=request.param).eval()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(std=0.3)
    return model


def laid_out(model: MultimodalLM, *asked: Sequence[Part]) -> Batch:
    samples = [Sample(str(number), (Message("user", tuple(parts)),)) for number, parts in enumerate(asked)]
    return model.batch(samples, reply=True)


MIXED = (
    (RED, Text(LONG + "What?")),
    (RED, Text(LONG + "Which colour is it, please?")),
    (BLACK, Text("Who?")),
    (Text(LONG + "What?"),),
    (Text(LONG + "Where and when was that?"),),
    (RED, Text(LONG + "Why?")),
)


@torch.inference_mode()
def test_what_follows_is_what_follows_each_row_alone(model: MultimodalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = laid_out(model, *MIXED)
    counted: list[int] = []
    read = Session._decode

    def decode(self: Session, embeds_BLD: torch.Tensor, valid_BL: torch.Tensor | None) -> torch.Tensor:
        counted.append(embeds_BLD.shape[0] * embeds_BLD.shape[1])
        return read(self, embeds_BLD, valid_BL)

    monkeypatch.setattr(Session, "_decode", decode)
    session = Session(model, batch, 4)
    if session.memory is None:
        assert len(counted) == 2 and sum(counted) <= 0.8 * batch.ids_BL.numel()
    else:
        assert counted == [batch.ids_BL.numel()]
    after = session.step([7] * len(MIXED))
    for row, parts in enumerate(MIXED):
        alone = Session(model, laid_out(model, parts), 4)
        assert torch.allclose(alone.step([7])[0], after[row], atol=1e-3, rtol=1e-4)
        assert session.cache.lengths[row] == alone.cache.lengths[0]


@torch.inference_mode()
def test_the_plan_takes_no_row_for_another(model: MultimodalLM) -> None:
    batch = laid_out(model, *MIXED)
    embeds_BLD = model.embed_batch(batch, SILENT).embeds_BLD
    adapted_B = rows_with_pictures(batch)
    found = prefill.plan(embeds_BLD, batch.valid_BL, adapted_B, LIMIT)
    assert found is not None
    for row, (owner, shared) in enumerate(zip(found.owner_B, found.shared_B, strict=True)):
        leader = found.leaders[owner]
        assert torch.equal(embeds_BLD[row, :shared], embeds_BLD[leader, :shared])
        assert adapted_B[row] == adapted_B[leader] and 0 <= shared < int(batch.valid_BL[row].sum())
    assert found.owner_B[3] != found.owner_B[0], "the adapter is on for one and off for the other"


@torch.inference_mode()
@pytest.mark.parametrize(
    "asked",
    [
        [(RED, Text(LONG))],
        [(RED, Text("What?")), (BLACK, Text(LONG))],
        [(Text(LONG),), (Text(LONG[::-1]),), (Text(LONG.upper()),)],
    ],
)
def test_rows_that_have_too_little_in_common_are_read_whole(model: MultimodalLM, asked: Sequence[Sequence[Part]]) -> None:
    batch = laid_out(model, *asked)
    embeds_BLD = model.embed_batch(batch, SILENT).embeds_BLD
    assert prefill.plan(embeds_BLD, batch.valid_BL, rows_with_pictures(batch), LIMIT) is None


def test_equal_rows_leave_their_last_position_to_each() -> None:
    embeds_BLD = torch.ones(3, 6, 2)
    valid_BL = torch.tensor([[True] * 6, [True] * 6, [True] * 4 + [False] * 2])
    found = prefill.plan(embeds_BLD, valid_BL, torch.zeros(3, dtype=torch.bool), 6)
    assert found == prefill.Plan([0], [0, 0, 0], [3, 3, 3])
    assert prefill.plan(embeds_BLD, valid_BL, torch.zeros(3, dtype=torch.bool), 5) is None, "over the decoder's limit"
    first, seen = prefill.beginnings(embeds_BLD, found)
    assert first.shape == (1, 3, 2) and bool(seen.all())
    rest, valid = prefill.remainders(embeds_BLD, valid_BL, found.shared_B)
    assert rest.shape == (3, 3, 2) and valid.sum(1).tolist() == [3, 3, 1] and float(rest[2, 1:].abs().sum()) == 0
