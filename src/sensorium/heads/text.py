"""Logits to tokens: filters, the draw and its log-probabilities. Pure functions; every filter keeps the best token."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

import torch
from torch import Tensor

from sensorium.errors import RequestError
from sensorium.protocols import Sampling


class Drawn(NamedTuple):
    """One token a row, and what the unmodified distribution says of it.

    Args:
        ids_B: the tokens. logprobs_B: their log-probabilities, before temperature, filters and penalty.
        top_ids_BN, top_logprobs_BN: the N likeliest tokens of the unmodified distribution, best first; N may be 0.
    """

    ids_B: Tensor
    logprobs_B: Tensor
    top_ids_BN: Tensor
    top_logprobs_BN: Tensor


def check_sampling(sampling: Sampling) -> None:
    """Refuses options that mean nothing.

    Raises:
        RequestError: names the option, its value and its range.
    """
    ranges = (
        ("max_tokens", sampling.max_tokens, sampling.max_tokens >= 1, "at least 1"),
        (
            "temperature",
            sampling.temperature,
            sampling.temperature == 0 or 1e-3 <= sampling.temperature < inf,
            "of 0 (greedy), or 0.001 and above",
        ),
        ("top_k", sampling.top_k, sampling.top_k >= 0, "0 (off) or above"),
        ("top_p", sampling.top_p, 0.0 < sampling.top_p <= 1.0, "above 0, at most 1 (off)"),
        ("min_p", sampling.min_p, 0.0 <= sampling.min_p <= 1.0, "from 0 (off) to 1"),
        (
            "repetition_penalty",
            sampling.repetition_penalty,
            0.0 < sampling.repetition_penalty < inf,
            "above 0; 1 is off",
        ),
        ("beams", sampling.beams, sampling.beams >= 1, "at least 1"),
        ("top_logprobs", sampling.top_logprobs, 0 <= sampling.top_logprobs <= 20, "from 0 to 20"),
    )
    for name, value, good, words in ranges:
        if not good:
            raise RequestError(name, f"is {value}", f"Give a value {words}")
    if sampling.beams > 1 and sampling.temperature > 0:
        raise RequestError(
            "beams", f"is {sampling.beams} with temperature {sampling.temperature}", "Set temperature to 0 or beams to 1"
        )
    if "" in sampling.stop:
        raise RequestError("stop", "holds an empty string", "Give strings of at least one character")


def scale(logits_BV: Tensor, temperature: float) -> Tensor:
    """Logits over the temperature, which is above 0."""
    return logits_BV / temperature


def penalise_repetition(logits_BV: Tensor, ids_BL: Tensor, penalty: float, valid_BL: Tensor | None = None) -> Tensor:
    """Tokens already in the row are divided by the penalty where positive, multiplied where negative (Keskar et al. 2019).

    Args:
        ids_BL: the row so far. valid_BL: bool; padding does not count as said.
    """
    said_BV = torch.zeros(len(logits_BV), logits_BV.shape[1] + 1, dtype=torch.bool, device=logits_BV.device)
    inside_BL = ids_BL if valid_BL is None else ids_BL.masked_fill(~valid_BL, logits_BV.shape[1])
    said_BV.scatter_(1, inside_BL.clamp(max=logits_BV.shape[1]), True)
    lower_BV = torch.where(logits_BV < 0, logits_BV * penalty, logits_BV / penalty)
    return torch.where(said_BV[:, :-1], lower_BV, logits_BV)


def keep_top_k(logits_BV: Tensor, k: int) -> Tensor:
    """Only logits not below the k-th best; ties with it stay."""
    worst_B1 = logits_BV.topk(min(k, logits_BV.shape[-1])).values[:, -1:]
    return logits_BV.masked_fill(logits_BV < worst_B1, -torch.inf)


def keep_top_p(logits_BV: Tensor, p: float) -> Tensor:
    """Only the smallest set of likeliest tokens that holds probability p (nucleus, Holtzman et al. 2020)."""
    sorted_BV, order_BV = logits_BV.sort(descending=False)
    drop_BV = sorted_BV.softmax(-1).cumsum(-1) <= 1 - p
    drop_BV[:, -1] = False
    return logits_BV.masked_fill(torch.zeros_like(drop_BV).scatter(1, order_BV, drop_BV), -torch.inf)


def keep_min_p(logits_BV: Tensor, p: float) -> Tensor:
    """Only tokens at least p times as likely as the likeliest (Nguyen et al. 2024)."""
    probs_BV = logits_BV.softmax(-1)
    best_B1, index_B1 = probs_BV.max(-1, keepdim=True)
    drop_BV = (probs_BV < p * best_B1).scatter(1, index_B1, False)
    return logits_BV.masked_fill(drop_BV, -torch.inf)


def filtered(logits_BV: Tensor, sampling: Sampling) -> Tensor:
    """Temperature, then top-k, top-p and min-p, in the order of `transformers`; greedy leaves the logits alone."""
    if sampling.temperature == 0:
        return logits_BV
    logits_BV = scale(logits_BV, sampling.temperature)
    if sampling.top_k:
        logits_BV = keep_top_k(logits_BV, sampling.top_k)
    if sampling.top_p < 1:
        logits_BV = keep_top_p(logits_BV, sampling.top_p)
    if sampling.min_p > 0:
        logits_BV = keep_min_p(logits_BV, sampling.min_p)
    return logits_BV


def generator(sampling: Sampling, device: torch.device | str = "cpu") -> torch.Generator | None:
    """The source of chance for `draw`; None (torch's own) without a seed."""
    return None if sampling.seed is None else torch.Generator(device).manual_seed(sampling.seed)


def draw(
    logits_BV: Tensor,
    sampling: Sampling,
    ids_BL: Tensor | None = None,
    valid_BL: Tensor | None = None,
    chance: torch.Generator | None = None,
) -> Drawn:
    """One token a row: the best at temperature 0, otherwise drawn from the filtered distribution.

    Args:
        ids_BL, valid_BL: the rows so far, for the repetition penalty only.
        chance: see `generator`; one for the whole answer, so that a seed repeats it.

    Raises:
        RequestError: a repetition penalty without the rows so far.
    """
    logits_BV = logits_BV.float()
    shaped_BV = logits_BV
    if sampling.repetition_penalty != 1:
        if ids_BL is None:
            raise RequestError("repetition_penalty", "needs the tokens so far", "Pass ids_BL")
        shaped_BV = penalise_repetition(shaped_BV, ids_BL, sampling.repetition_penalty, valid_BL)
    shaped_BV = filtered(shaped_BV, sampling)
    if sampling.temperature == 0:
        ids_B = shaped_BV.argmax(-1)
    else:
        ids_B = torch.multinomial(shaped_BV.softmax(-1), 1, generator=chance)[:, 0]
    return report(logits_BV, ids_B, sampling.top_logprobs)


def report(logits_BV: Tensor, ids_B: Tensor, top: int = 0) -> Drawn:
    """What the unmodified distribution says of given tokens, and its `top` likeliest ones."""
    logprobs_BV = logits_BV.float().log_softmax(-1)
    best = logprobs_BV.topk(min(top, logprobs_BV.shape[1]))
    return Drawn(ids_B, logprobs_BV.gather(1, ids_B[:, None])[:, 0], best.indices, best.values)
