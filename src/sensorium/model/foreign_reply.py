"""How a foreign model's answer grows: each token is drawn by our rules from its logits, inside its own `generate`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sensorium.heads.text import draw, generator, report
from sensorium.parts import Answer, Finish, Message, Text, TokenScore, Usage
from sensorium.protocols import Sampling

Decode = Callable[[list[int], bool], str]
"""Token ids to text, control tokens left out where the flag says so."""


class Reply:
    """One answer while it grows.

    Args:
        decode: see `Decode`. ends: tokens that end an answer. prompt: ids of the row, for the repetition penalty.
    """

    def __init__(self, decode: Decode, ends: frozenset[int], prompt: Sequence[int], sampling: Sampling) -> None:
        self.decode, self.ends, self.prompt, self.sampling = decode, ends, list(prompt), sampling
        self.chance = generator(sampling)
        self.ids: list[int] = []
        self.tokens: list[TokenScore] = []
        self.text = ""
        self.finish: Finish | None = None
        self._shown = 0

    def take(self, token: int, logprob: float, top: Sequence[tuple[int, float]]) -> None:
        """One more token."""
        ended = token in self.ends
        self.ids.append(token)
        word = "" if ended else self.decode([token], True)
        self.tokens.append(TokenScore(word, logprob, tuple((self.decode([index], False), value) for index, value in top)))
        if not ended:
            self.text = self.decode(self.ids, True)
        cuts = [place for stop in self.sampling.stop if (place := self.text.find(stop)) >= 0]
        if cuts:
            self.text = self.text[: min(cuts)]
        if ended or cuts:
            self.finish = "stop"
        elif len(self.ids) >= self.sampling.max_tokens:
            self.finish = "length"

    def fresh(self) -> str:
        """Text not handed out yet, less half a character and what may still become a stop string."""
        text = self.text
        if self.finish is None:
            text = text.rstrip("\ufffd")
            held = [size for stop in self.sampling.stop for size in range(1, len(stop)) if text.endswith(stop[:size])]
            text = text[: len(text) - max(held, default=0)]
        fresh, self._shown = text[self._shown :], max(self._shown, len(text))
        return fresh

    def answer(self, usage: Usage, source: str) -> Answer:
        """The whole answer; `source` says how its confidence is made."""
        mean = math.fsum(token.logprob for token in self.tokens) / len(self.tokens)
        message = Message("assistant", (Text(self.text),))
        return Answer(message, usage, self.finish or "length", math.exp(mean), source, tuple(self.tokens))


class Picker:
    """A logits processor and stopping rule in one: it picks every row's token and lets `generate` see no other.

    Args:
        never, never_first: tokens that the checkpoint bans from answers, and from their beginning.
        after: called after each step. cancelled: set it to end the generation at the next token.
    """

    def __init__(
        self,
        replies: Sequence[Reply],
        never: Sequence[int] = (),
        never_first: Sequence[int] = (),
        after: Callable[[], None] | None = None,
    ) -> None:
        self.replies, self.never, self.never_first, self.after = replies, list(never), list(never_first), after
        self.cancelled = False

    def __call__(self, _ids_BL: Tensor, logits_BV: Tensor) -> Tensor:
        """Scores in which only the picked token of each row is possible; a row that has ended picks its end token."""
        picked_BV = torch.full_like(logits_BV, -torch.inf)
        for row, reply in enumerate(self.replies):
            token = min(reply.ends) if reply.finish else self._pick(reply, logits_BV[row : row + 1])
            picked_BV[row, token] = 0.0
        if self.after is not None:
            self.after()
        return picked_BV

    def over(self, ids_BL: Tensor, _scores: object = None) -> Tensor:
        """Which rows have ended, bool `(B,)`."""
        ended = [self.cancelled or reply.finish is not None for reply in self.replies]
        return torch.tensor(ended, device=ids_BL.device)

    def _pick(self, reply: Reply, logits_1V: Tensor) -> int:
        allowed_1V = logits_1V.float()
        banned = self.never + (self.never_first if not reply.ids else [])
        if banned:
            allowed_1V = allowed_1V.index_fill(1, torch.tensor(banned, device=logits_1V.device), -torch.inf)
        said_1L = torch.tensor([reply.prompt + reply.ids], dtype=torch.long, device=logits_1V.device)
        drawn = draw(allowed_1V, reply.sampling, said_1L, chance=reply.chance)
        told = report(logits_1V, drawn.ids_B, reply.sampling.top_logprobs)
        token = int(drawn.ids_B)
        top = list(zip(told.top_ids_BN[0].tolist(), told.top_logprobs_BN[0].tolist(), strict=True))
        reply.take(token, float(told.logprobs_B), top)
        return token
