"""Pairs of answers of which one is preferred, laid out, and the objective on them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from sensorium.batch import Batch
from sensorium.data.flat import Flat, flatten
from sensorium.data.row import Row
from sensorium.errors import DataError
from sensorium.model.multimodal import MultimodalLM
from sensorium.objectives.loss import Loss
from sensorium.objectives.next_token import NextToken
from sensorium.objectives.preference import Answers, Preference
from sensorium.parts import message_from_json
from sensorium.training.corpus import Lay
from sensorium.training.task import Blindfold
from sensorium.training.truth import blindfolded


class Pairs(NamedTuple):
    """Rows with their chosen answers, and the same rows with the rejected ones."""

    chosen: Flat
    rejected: Flat


class LayPair:
    """A preference row as two batches of one: with the chosen answer and with the rejected one.

    Raises:
        DataError: the row has no rejected answer.
    """

    def __init__(self, model: MultimodalLM) -> None:
        self._lay = Lay(model)

    def __call__(self, row: Row) -> tuple[Batch, Batch]:
        """Both sides."""
        rejected = row.sample.meta.get("rejected")
        if not rejected:
            remedy = "Use preference data, or an objective that learns from answers alone"
            raise DataError(f"{row.file}, row {row.row}", "has no rejected answer", remedy)
        given: Any = json.loads(rejected) if isinstance(rejected, str) else rejected
        other = [message_from_json(message) for message in given]
        last = max(index for index, message in enumerate(row.sample.messages) if message.role == "user") + 1
        told = (*row.sample.messages[:last], *(replace(said, learn=said.role == "assistant") for said in other[-1:]))
        return self._lay(row), self._lay(row._replace(sample=replace(row.sample, messages=told)))


def join_pairs(laid: Sequence[tuple[Batch, Batch]]) -> Pairs:
    """Each side end to end."""
    return Pairs(flatten([chosen for chosen, _ in laid]), flatten([rejected for _, rejected in laid]))


def blind_pairs(pairs: Pairs, how: Blindfold) -> Pairs | None:
    """Both sides with their media replaced."""
    chosen, rejected = blindfolded(pairs.chosen, how), blindfolded(pairs.rejected, how)
    return None if chosen is None or rejected is None else Pairs(chosen, rejected)


class Prefer:
    """Callable over (model, pairs): a preference loss, beside that of the chosen answers.

    Args:
        reference: the model as it was, for the forms that need it. anchor: weight of the chosen answers' own loss per token
            (Pang et al. 2024), which keeps them from becoming less likely together with the rejected ones.
    """

    def __init__(self, preference: Preference, reference: MultimodalLM | None = None, anchor: float = 0.0) -> None:
        self.preference, self.reference, self.anchor = preference, reference, anchor

    def __call__(self, model: MultimodalLM, pairs: Pairs) -> Loss:
        """The sum over pairs."""
        chosen, rejected = answers(model, pairs.chosen), answers(model, pairs.rejected)
        known = None
        if self.reference is not None:
            with torch.no_grad():
                known = answers(self.reference, pairs.chosen), answers(self.reference, pairs.rejected)
        loss = self.preference(chosen, rejected, known)
        if not self.anchor:
            return loss
        own = -(chosen.total_B / chosen.length_B.clamp(min=1)).sum()
        terms = {**loss.terms, "chosen": (float(own.detach()), loss.size)}
        return Loss(loss.total + self.anchor * own, loss.size, terms)


def answers(model: MultimodalLM, flat: Flat) -> Answers:
    """Log-probabilities of the learned tokens of each sample of a flat batch, its media encoded on the way."""
    logs_TV = model.decoder.logits(NextToken(encoders=model.encoders).hidden(model, flat)).log_softmax(-1)
    logs_T = logs_TV.gather(1, flat.targets.ids_T[:, None])[:, 0]
    which_T = torch.searchsorted(torch.tensor(flat.lengths).cumsum(0), flat.targets.places_T, right=True)
    zeros_B = logs_T.new_zeros(len(flat.lengths))
    return Answers(zeros_B.index_add(0, which_T, logs_T), zeros_B.index_add(0, which_T, torch.ones_like(logs_T)))
