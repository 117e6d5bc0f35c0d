"""Beam search: the likeliest answers, length-normalised, with rows forked by index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

_NEVER = -1.0e9


class Fork(NamedTuple):
    """What the model reads next: `ids_B` one token a row, after taking over the state of rows `parents_B` of the step before.

    At the first step the parents count the R prompts; from then on the R x W rows.
    """

    parents_B: Tensor
    ids_B: Tensor


class Hypothesis(NamedTuple):
    """One answer: its tokens (the end token included), their log-probabilities and the length-normalised score."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    score: float
    ended: bool


class _Beams(NamedTuple):
    """W (or more) candidates of each of R prompts. `parents_RW`: the beam each came from; of ended ones their length."""

    ids_RWL: Tensor
    logprobs_RWL: Tensor
    scores_RW: Tensor
    parents_RW: Tensor

    def pick(self, index_RW: Tensor) -> _Beams:
        take = index_RW[..., None].expand(-1, -1, self.ids_RWL.shape[-1])
        return _Beams(
            self.ids_RWL.gather(1, take),
            self.logprobs_RWL.gather(1, take),
            self.scores_RW.gather(1, index_RW),
            self.parents_RW.gather(1, index_RW),
        )


class BeamState:
    """The search over R prompts with W beams each; step by step as `transformers` does it (`early_stopping=False`).

    Args:
        prompts, beams: R and W. stop: tokens that end an answer. max_tokens: an answer's tokens at most.
        length_penalty: an answer's score is its log-probability over its length to this power.
    """

    def __init__(
        self, prompts: int, beams: int, stop: Sequence[int], max_tokens: int, length_penalty: float = 1.0, device: str = "cpu"
    ) -> None:
        self.prompts, self.beams, self.max_tokens, self.length_penalty = prompts, beams, max_tokens, length_penalty
        self.stop = torch.tensor(sorted(set(stop)), dtype=torch.long, device=device)
        self.length = 0
        self._open_R1 = torch.ones(prompts, 1, dtype=torch.bool, device=device)
        scores_RW = torch.full((prompts, beams), _NEVER, device=device)
        nothing = torch.zeros(prompts, beams, 0, device=device)
        parents_RW = torch.zeros(prompts, beams, dtype=torch.long, device=device)
        self._ended = _Beams(nothing.long(), nothing, scores_RW, parents_RW)
        self._ended_RW = torch.zeros(prompts, beams, dtype=torch.bool, device=device)
        first_RW = scores_RW.clone()
        first_RW[:, 0] = 0.0
        self._running = self._ended._replace(scores_RW=first_RW)
        self.done = False

    def said(self) -> Tensor:
        """The answers so far of the running rows, `(R * W, length)`, for a repetition penalty."""
        return self._running.ids_RWL.flatten(0, 1)

    def step(self, logprobs_BV: Tensor, ranking_BV: Tensor | None = None) -> Fork:
        """Take the distribution of the next token, choose the W best continuations of each prompt.

        Args:
            logprobs_BV: log-probabilities; R rows at the first step, R x W after.
            ranking_BV: what the beams are ranked by where that is not the log-probability (a penalty).
        """
        assert not self.done, "the search is over"
        plain_RWV, ranking_RWV = self._spread(logprobs_BV), self._spread(logprobs_BV if ranking_BV is None else ranking_BV)
        vocabulary = ranking_RWV.shape[-1]
        kept = min(max(2, 1 + len(self.stop)) * self.beams, self.beams * vocabulary)
        total_RWV = ranking_RWV + self._running.scores_RW[..., None]
        scores_RC, flat_RC = total_RWV.flatten(1).topk(kept)
        beam_RC, token_RC = flat_RC // vocabulary, flat_RC % vocabulary
        gained_RC1 = plain_RWV.flatten(1).gather(1, flat_RC)[..., None]
        past = self._running.pick(beam_RC)
        candidates = _Beams(
            torch.cat([past.ids_RWL, token_RC[..., None]], -1),
            torch.cat([past.logprobs_RWL, gained_RC1], -1),
            scores_RC,
            beam_RC,
        )
        self.length += 1
        over_RC = torch.isin(token_RC, self.stop) | (self.length >= self.max_tokens)
        running = candidates._replace(scores_RW=scores_RC + over_RC.float() * _NEVER)
        self._running = running.pick(running.scores_RW.topk(self.beams).indices)
        self._keep_ended(candidates, over_RC)
        best_running_R1 = self._running.scores_RW[:, :1] / self.length**self.length_penalty
        worst_ended_R1 = torch.where(self._ended_RW, self._ended.scores_RW.amin(1, keepdim=True), _NEVER)
        self._open_R1 &= (best_running_R1 > worst_ended_R1).any(1, keepdim=True)
        self.done = bool(over_RC.all()) or not bool(self._open_R1.any())
        width = 1 if self.length == 1 else self.beams
        offsets_R1 = torch.arange(self.prompts, device=token_RC.device)[:, None] * width
        parents_RW = self._running.parents_RW if width > 1 else torch.zeros_like(self._running.parents_RW)
        return Fork((parents_RW + offsets_R1).flatten(), self._running.ids_RWL[..., -1].flatten())

    def best(self, count: int = 1) -> list[list[Hypothesis]]:
        """The `count` best answers of each prompt, best first; those still running when the search was left do not count."""
        out: list[list[Hypothesis]] = []
        for row in range(self.prompts):
            found = []
            for beam in range(min(count, self.beams)):
                if not self._ended_RW[row, beam]:
                    continue
                size = int(self._ended.parents_RW[row, beam])
                ids = self._ended.ids_RWL[row, beam, :size]
                logprobs = tuple(self._ended.logprobs_RWL[row, beam, :size].tolist())
                ended = bool(torch.isin(ids[-1], self.stop))
                found.append(Hypothesis(tuple(ids.tolist()), logprobs, float(self._ended.scores_RW[row, beam]), ended))
            out.append(found)
        return out

    def _spread(self, x_BV: Tensor) -> Tensor:
        """`(R, W, V)`; at the first step all beams are the prompt."""
        if self.length:
            return x_BV.unflatten(0, (self.prompts, self.beams)).float()  # type: ignore[no-untyped-call, no-any-return]
        return x_BV[:, None].expand(-1, self.beams, -1).float()

    def _keep_ended(self, candidates: _Beams, over_RC: Tensor) -> None:
        """Merge the answers that ended among the first W candidates into the W best; `parents_RW` keeps their lengths."""
        first_RC = torch.arange(over_RC.shape[1], device=over_RC.device)[None] < self.beams
        ended_RC = over_RC & first_RC
        scores_RC = candidates.scores_RW / self.length**self.length_penalty
        scores_RC = scores_RC + (~self._open_R1).float() * _NEVER + (~ended_RC).float() * _NEVER
        lengths_RC = torch.full_like(candidates.parents_RW, self.length)
        pad = (0, 1)
        merged = _Beams(
            torch.cat([torch.nn.functional.pad(self._ended.ids_RWL, pad), candidates.ids_RWL], 1),
            torch.cat([torch.nn.functional.pad(self._ended.logprobs_RWL, pad), candidates.logprobs_RWL], 1),
            torch.cat([self._ended.scores_RW, scores_RC], 1),
            torch.cat([self._ended.parents_RW, lengths_RC], 1),
        )
        order_RW = merged.scores_RW.topk(self.beams).indices
        self._ended = merged.pick(order_RW)
        self._ended_RW = torch.cat([self._ended_RW, ended_RC], 1).gather(1, order_RW)
