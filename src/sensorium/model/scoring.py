"""How likely given answers are: each prompt is read once, and its answers stand behind copies of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sensorium.batch import Batch, Modality
from sensorium.heads.text import report
from sensorium.model.multimodal import MultimodalLM
from sensorium.model.seen import Prompt
from sensorium.model.session import Session
from sensorium.parts import Message, Sample, Text

_ROWS, _POSITIONS = 32, 256
"""Answers read at once, and positions of which all logits are held at once."""


@torch.inference_mode()
def likelihoods(model: MultimodalLM, prompt: Prompt, answers: Sequence[Sequence[str]]) -> list[list[float]]:
    """For each conversation of the prompt the log-probability (natural, summed over tokens) of each answer and of its end."""
    batch = prompt.batch
    owners = [row for row, some in enumerate(answers) for _ in some]
    asked = [_answered(batch.samples[row], text) for row, some in enumerate(answers) for text in some]
    if not asked:
        return [[] for _ in answers]
    whole = model.layout(asked, [prompt.shown[row] for row in owners], reply=False)
    starts = _starts(batch, whole, owners)
    stops = whole.valid_BL.sum(1).tolist()
    room = max(stop - starts[row] for row, stop in zip(owners, stops, strict=True))
    session = Session(model, batch, room, prompt.features)
    session.crop(starts)
    totals: list[float] = []
    for begin in range(0, len(asked), _ROWS):
        rows = range(begin, min(begin + _ROWS, len(asked)))
        spans = [slice(starts[owners[row]], stops[row]) for row in rows]
        totals += _read(session.branch([owners[row] for row in rows]), whole, rows, spans)
    left = iter(totals)
    return [[next(left) for _ in some] for some in answers]


def _starts(prompt: Batch, whole: Batch, owners: Sequence[int]) -> list[int]:
    """For each prompt the position before the first that differs among it and all its answered forms."""
    starts = [int(length) - 1 for length in prompt.valid_BL.sum(1)]
    for row, owner in enumerate(owners):
        most = min(starts[owner] + 1, whole.ids_BL.shape[1])
        same_L = whole.ids_BL[row, :most] == prompt.ids_BL[owner, :most]
        starts[owner] = min(starts[owner], int(same_L.long().cumprod(0).sum()) - 1)
    for place in prompt.placements:
        assert place.modality is Modality.TEXT or place.stop <= starts[place.sample] + 1, "an answer changes its media"
    return starts


def _read(session: Session, whole: Batch, rows: Sequence[int], spans: Sequence[slice]) -> list[float]:
    """The log-probabilities of what is learned in these spans of the rows, summed for each."""
    width = max(span.stop - span.start for span in spans)
    ids_BL = torch.zeros(len(rows), width, dtype=torch.int64)
    valid_BL, learn_BL = torch.zeros(2, len(rows), width, dtype=torch.bool)
    for place, (row, span) in enumerate(zip(rows, spans, strict=True)):
        count = span.stop - span.start
        ids_BL[place, :count], valid_BL[place, :count] = whole.ids_BL[row, span], True
        learn_BL[place, 1:count] = whole.learn_BL[row, span][1:]
    hidden_BLD = session.extend(ids_BL, valid_BL)
    before_BL = learn_BL.roll(-1, 1)  # a token is told by what stands before it; position 0 is never learned
    totals = torch.zeros(len(rows), dtype=torch.float64)
    owner_P = learn_BL.nonzero()[:, 0]
    return totals.index_add(0, owner_P, _logprobs(session, hidden_BLD[before_BL], ids_BL[learn_BL])).tolist()


def _logprobs(session: Session, hidden_PD: Tensor, ids_P: Tensor) -> Tensor:
    parts = [slice(start, start + _POSITIONS) for start in range(0, max(len(ids_P), 1), _POSITIONS)]
    logits = session.model.decoder.logits
    return torch.cat([report(logits(hidden_PD[part]), ids_P[part]).logprobs_B.double() for part in parts])


def _answered(sample: Sample, text: str) -> Sample:
    return replace(sample, messages=(*sample.messages, Message("assistant", (Text(text),), learn=True)))
