"""Preference learning from pairs of answers: DPO (Rafailov et al. 2023, eq. 7) and its two length-normalised forms.

dpo     -log sigmoid(beta * ((chosen - reference chosen) - (rejected - reference rejected))), log-probabilities summed
ln-dpo  the same, each log-probability divided by its answer's length (Lambert et al. 2024, Tülu 3, eq. 6)
simpo   -log sigmoid(beta * (chosen / length - rejected / length) - margin), no reference (Meng et al. 2024, eq. 6)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.data.packing import Packed
from sensorium.errors import RequestError
from sensorium.model.multimodal import MultimodalLM
from sensorium.objectives.loss import Loss
from sensorium.objectives.next_token import NextToken

Form = Literal["dpo", "ln-dpo", "simpo"]

BETAS: Mapping[Form, float] = {"dpo": 0.1, "ln-dpo": 5.0, "simpo": 2.0}
"""What the papers use."""


class Answers(NamedTuple):
    """Log-probabilities of B whole answers: `total_B`, summed over their `length_B` tokens."""

    total_B: Tensor
    length_B: Tensor

    def detached(self) -> Answers:
        """Without a gradient, as a reference is kept."""
        return Answers(self.total_B.detach(), self.length_B)


class Preference:
    """Callable over the log-probabilities of chosen and rejected answers; row i of both answers the same.

    Args:
        beta: how far the model may go from the reference, or, for "simpo", the scale of the reward; None is the paper's.
        margin: of "simpo": how much better per token (times beta) a chosen answer should be; gamma in the paper.
    """

    def __init__(self, form: Form = "dpo", beta: float | None = None, margin: float | None = None) -> None:
        if margin is not None and form != "simpo":
            raise RequestError(f"preference margin {margin:g}", f"has no meaning for {form}", "Leave it out, or use simpo")
        self.form: Form = form
        self.beta = BETAS[form] if beta is None else beta
        self.margin = 0.0 if form != "simpo" else 1.0 if margin is None else margin

    def __call__(self, chosen: Answers, rejected: Answers, reference: tuple[Answers, Answers] | None = None) -> Loss:
        """The sum over pairs; the terms are how often the chosen answer's reward is the higher, and by how much.

        Args:
            reference: the same answers, chosen and rejected, under the model before training.

        Raises:
            RequestError: a reference is missing, or given although the form has none.
        """
        if (reference is None) != (self.form == "simpo"):
            problem = "compares with no reference" if self.form == "simpo" else "needs the log-probabilities of the reference"
            remedy = "Leave them out" if self.form == "simpo" else "Score the answers with the model before training"
            raise RequestError(f"preference {self.form}", problem, remedy)
        gain_B = self._reward(chosen, reference[0] if reference else None) - self._reward(
            rejected, reference[1] if reference else None
        )
        total = -F.logsigmoid(gain_B - self.margin).sum()
        count = float(len(gain_B))
        preferred = float((gain_B.detach() > 0).sum())
        terms = {"loss": float(total.detach()), "preferred": preferred, "gain": float(gain_B.detach().sum())}
        return Loss(total, count, {name: (value, count) for name, value in terms.items()})

    def _reward(self, answers: Answers, reference: Answers | None) -> Tensor:
        total_B = answers.total_B if reference is None else answers.total_B - reference.total_B
        return self.beta * (total_B if self.form == "dpo" else total_B / answers.length_B.clamp(min=1))


def log_probabilities(model: MultimodalLM, packed: Packed) -> Answers:
    """Of the learned tokens of each row of a batch whose trees hold one answer each."""
    hidden_TD = NextToken().hidden(model, packed)
    logs_TV = model.decoder.logits(hidden_TD).log_softmax(-1)
    logs_T = logs_TV.gather(1, packed.targets.ids_T[:, None])[:, 0]
    zeros_B = logs_T.new_zeros(len(packed.ids_BL))
    rows_T = packed.targets.rows_T
    return Answers(zeros_B.index_add(0, rows_T, logs_T), zeros_B.index_add(0, rows_T, torch.ones_like(logs_T)))
