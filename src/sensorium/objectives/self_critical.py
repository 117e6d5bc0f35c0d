"""Self-critical sequence training (Rennie et al. 2017, arXiv:1612.00563): answers drawn from the model, judged by a reward.

The baseline of an answer is the mean reward of the others drawn for the same prompt (Luo 2020, arXiv:2003.09971).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.batch import Batch, Modality
from sensorium.data.packing import Tree, grow, pack
from sensorium.model.multimodal import MultimodalLM
from sensorium.model.session import Session
from sensorium.objectives.loss import Loss
from sensorium.objectives.next_token import NextToken, connect

Reward = Callable[[int, str], float]
"""How good a text is as the answer to prompt number i of the batch."""


class SelfCritical:
    """Callable over (model, prompts, reward). The prompts' media are features that the encoders have made already.

    Args:
        vocabulary: the token ids that may be drawn; they alone compete in the softmax.
        draws: answers to each prompt. room: tokens of an answer at most; one without an end by then is judged as it is.
        temperature: of the policy, which is drawn from and learns; under 1 it keeps what smoothed labels gave to every
            token from spoiling most answers.
    """

    def __init__(self, vocabulary: Sequence[int], draws: int = 5, room: int = 20, temperature: float = 1.0) -> None:
        assert draws > 1, "an answer is compared with the others"
        self.draws, self.room, self.temperature = draws, room, temperature
        self.vocabulary_V = torch.tensor(sorted(set(vocabulary)))
        self.objective = NextToken(vocabulary=vocabulary)

    def __call__(self, model: MultimodalLM, prompts: Batch, reward: Reward) -> Loss:
        """Minus the advantage of each answer times its log-probability, summed; the size is the number of answers."""
        answers = self.draw(model, prompts)
        decode, ends = model.layout.tokenizer.decode, model.layout.ends
        trees: list[Tree] = []
        rewards: list[float] = []
        for row in range(len(prompts.samples)):
            own = answers[row :: len(prompts.samples)]
            gained = [reward(row, decode(ids, skip_special_tokens=True)) for ids in own]
            trees.append(grow(answered(prompts, row, own), _advantages(gained)))
            rewards += gained
        packed = pack(trees)
        losses_T = self.objective.losses(model, packed, self.temperature)
        total = (losses_T * packed.targets.weights_T).sum()
        count, ended = float(len(answers)), sum(1.0 for ids in answers if ids[-1] in ends)
        return Loss(total, count, {"reward": (sum(rewards), count), "ended": (ended, count)})

    @torch.no_grad()
    def draw(self, model: MultimodalLM, prompts: Batch) -> list[list[int]]:
        """Token ids, the end included: one answer to each prompt, then a second one to each, and so on."""
        session = Session(model, prompts, self.room, connect(model, prompts.media))
        rows = len(prompts.samples) * self.draws
        session.fork([place % len(prompts.samples) for place in range(rows)])
        weight_VD = model.decoder.embed_tokens.weight[self.vocabulary_V]
        ends, answers = model.layout.ends, [list[int]() for _ in range(rows)]
        held = list(range(rows))  # which answer each row of the session writes
        for _ in range(self.room):
            chances_BV = F.linear(session.hidden_BD, weight_VD).float().div(self.temperature).softmax(-1)
            ids_B = self.vocabulary_V[torch.multinomial(chances_BV, 1)[:, 0]]
            for answer, token in zip(held, ids_B.tolist(), strict=True):
                if not answers[answer] or answers[answer][-1] not in ends:
                    answers[answer].append(token)
            unfinished = [row for row, answer in enumerate(held) if answers[answer][-1] not in ends]
            if not unfinished:
                break
            if len(unfinished) <= len(held) // 2:  # dropping rows copies the cache
                session.fork(unfinished)
                held, ids_B = [held[row] for row in unfinished], ids_B[unfinished]
            session.hidden_BD = session.extend(ids_B[:, None])[:, -1]
        return answers


def answered(prompts: Batch, row: int, answers: Sequence[Sequence[int]]) -> Batch:
    """One prompt with several answers, given as token ids: a row each, whose answers are learned."""
    start = int(prompts.valid_BL[row].sum())
    length = start + max(map(len, answers))
    ids_BL = torch.zeros(len(answers), length, dtype=torch.long)
    learn_BL = torch.zeros(len(answers), length, dtype=torch.bool)
    valid_BL = learn_BL.clone()
    for place, ids in enumerate(answers):
        ids_BL[place, : start + len(ids)] = torch.cat([prompts.ids_BL[row, :start], torch.tensor(ids)])
        valid_BL[place, : start + len(ids)] = True
        learn_BL[place, start : start + len(ids)] = True
    spots, media = [], dict[Modality, list[Tensor]]()
    seen: dict[Modality, int] = {}
    for spot in prompts.placements:
        index = seen[spot.modality] = seen.get(spot.modality, -1) + 1
        if spot.sample == row:
            spots.append(spot)
            if spot.modality in prompts.media:
                media.setdefault(spot.modality, []).append(prompts.media[spot.modality][index])
    placements = tuple(spot._replace(sample=place) for place in range(len(answers)) for spot in spots)
    repeated = {kind: tensors * len(answers) for kind, tensors in media.items()}
    samples, uses = (prompts.samples[row],) * len(answers), (prompts.uses[row],) * len(answers)
    return Batch(samples, ids_BL, valid_BL, learn_BL, repeated, placements, uses)


def _advantages(rewards: Sequence[float]) -> list[float]:
    """Each reward less the mean of the others."""
    total, others = sum(rewards), len(rewards) - 1
    return [value - (total - value) / others for value in rewards]
