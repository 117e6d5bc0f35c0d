"""A teacher for yes-or-no questions about photos: what photos that look like this one show, by what people said of them.

The right answers are soon known by heart, and one photo's captions are silent on much that is in it. What is told of a photo
rests on the captions of all others, so that what is learned from it is how looks go with things.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from recipes import nano_alike
from recipes.nano_teacher import Turn
from sensorium.data.photo_questions import photo_questions, things_named
from sensorium.data.photo_things import THINGS

LOOKS, RIDGE, TRUST, LEAST, QUESTIONS = 0.4, 1.0, 0.8, 0.03, 12
"""The kernel's width and the regression's ridge; his share in an answer, beside the right one's; with less than `LEAST` an
answer is left out; how many things a photo is asked about, at most."""
PULL = 1e-4


class Things:
    """Knows what is in each photo, as if its captions had not been read.

    Args:
        captions: of each photo. looks: what the encoder saw of it, `(N, T, D)`.
    """

    def __init__(self, captions: Sequence[Sequence[str]], looks_NTD: Tensor) -> None:
        self.captions, self.column = captions, {name: column for column, name in enumerate(THINGS)}
        said_NC = torch.full((len(captions), len(THINGS)), 0.5)
        for row, texts in enumerate(captions):
            named = things_named(texts)
            said_NC[row, [self.column[name] for name in named.present]] = 1.0
            said_NC[row, [self.column[name] for name in named.absent]] = 0.0
        self.sure_NC = self._calibrated(_left_out(said_NC, looks_NTD))

    def turns(self, seed: int) -> dict[int, list[Turn]]:
        """By photo: yes and no, each with its weight. Each thing is asked about as many photos with it as without."""
        found: dict[int, list[Turn]] = {}
        for item in photo_questions(self.captions, seed):
            turns = found.setdefault(item.photo, [])
            if len({question for question, *_ in turns}) < QUESTIONS:
                yes = TRUST * float(self.sure_NC[item.photo, self.column[item.thing]]) + (1 - TRUST) * item.answer
                answers = (("Yes.", yes), ("No.", 1 - yes))
                turns += [(item.question, reply, weight) for reply, weight in answers if weight > LEAST]
        return found

    def _calibrated(self, score_NC: Tensor) -> Tensor:
        """Chances of yes where each thing is asked as often with yes as with no: a slope and an offset for each thing."""
        asked = photo_questions(self.captions)
        place = torch.tensor([item.photo for item in asked]), torch.tensor([self.column[item.thing] for item in asked])
        sign_Q = torch.tensor([1.0 if item.answer else -1.0 for item in asked])
        scaled_NC = (score_NC - score_NC.mean(0)) / score_NC.std(0).clamp_min(1e-6)
        slope_C, offset_C = torch.ones(len(THINGS), requires_grad=True), torch.zeros(len(THINGS), requires_grad=True)
        search = torch.optim.LBFGS([slope_C, offset_C], max_iter=60)

        def loss() -> Tensor:
            search.zero_grad()
            margin_Q = sign_Q * (slope_C * scaled_NC + offset_C)[place]
            total: Tensor = F.softplus(-margin_Q).mean() + PULL * (offset_C.square().sum() + (slope_C - 1).square().sum())
            total.backward()  # type: ignore[no-untyped-call]
            return total

        search.step(loss)
        return (slope_C * scaled_NC + offset_C).sigmoid().detach()


def _left_out(said_NC: Tensor, looks_NTD: Tensor) -> Tensor:
    """What regression on all other photos says of each: its value less its residual over the inverse's diagonal."""
    kernel_NN = torch.exp((nano_alike.of_pictures(looks_NTD) - 1) / LOOKS)
    inverse_NN = torch.linalg.inv(kernel_NN + RIDGE * torch.eye(len(kernel_NN)))
    weighed_NC = inverse_NN @ (said_NC - said_NC.mean(0))
    return said_NC - weighed_NC / inverse_NN.diagonal()[:, None]
