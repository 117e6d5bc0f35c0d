"""What a text goes on with, and how likely given continuations are, without a chat template."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from sensorium.errors import RequestError
from sensorium.evaluation.adapters.text_model import Continues, Ids
from sensorium.heads.text import check_sampling, draw, report
from sensorium.model.foreign_reply import Reply
from sensorium.protocols import Sampling

_LOG = logging.getLogger(__name__)


class Likelihood(NamedTuple):
    """The log-probability of a continuation, and whether every token of it is the likeliest one."""

    logprob: float
    greedy: bool


def likelihoods(model: Continues, pairs: Sequence[tuple[Ids, Ids]], size: int, positions: int) -> list[Likelihood]:
    """Of each continuation after its context, `size` rows at once, longest first; a context too long loses its beginning.

    Args:
        positions: a row's length at most.

    Raises:
        RequestError: a continuation that is empty or longer than the model holds.
    """
    rows = []
    for context, continuation in pairs:
        if not context or not 1 <= len(continuation) <= positions:
            problem = (
                f"has {len(context)} tokens before {len(continuation)} that are to be scored; {model.name} holds {positions}"
            )
            raise RequestError("continuation", problem, "Score a shorter text, with something before it")
        rows.append([*context, *continuation][-positions - 1 :][:-1])
    _tell_cut(model.name, [len(context) + len(ids) - 1 for context, ids in pairs], positions)
    found: dict[int, Likelihood] = {}
    for places in _batches([len(row) for row in rows], size):
        counts = [len(pairs[place][1]) for place in places]
        logits = model.tails([rows[place] for place in places], counts)
        for place, logits_TV in zip(places, logits, strict=True):
            ids_T = torch.tensor(list(pairs[place][1]))
            logprob = float(report(logits_TV, ids_T).logprobs_B.double().sum())
            found[place] = Likelihood(logprob, bool((logits_TV.argmax(-1) == ids_T).all()))
    return [found[place] for place in range(len(pairs))]


def go_on(model: Continues, contexts: Sequence[Ids], sampling: Sampling, size: int, positions: int) -> list[str]:
    """What each context goes on with, up to its end or a stop string; a context too long loses its beginning.

    Raises:
        RequestError: no room for a context beside the answer.
    """
    check_sampling(sampling)
    room = positions - sampling.max_tokens
    if room < 1:
        problem = f"is {sampling.max_tokens}; {model.name} holds {positions} tokens in all"
        raise RequestError("max_gen_toks", problem, f"Set it below {positions}")
    _tell_cut(model.name, [len(ids) for ids in contexts], room)
    texts: dict[int, str] = {}
    for places in _batches([len(ids) for ids in contexts], min(size, model.rows)):
        replies = [Reply(model.decode, model.ends, contexts[place][-room:], sampling) for place in places]
        for _ in _grow(model, replies, sampling):
            pass
        texts |= {place: reply.text for place, reply in zip(places, replies, strict=True)}
    return [texts[place] for place in range(len(contexts))]


@torch.inference_mode()
def _grow(model: Continues, replies: Sequence[Reply], sampling: Sampling) -> Iterator[None]:
    """One more token to each open reply at each step."""
    session = model.begin([reply.prompt for reply in replies], sampling.max_tokens)
    alive, logits_BV = list(replies), session.logits()
    while alive:
        for reply, logits_V in zip(alive, logits_BV, strict=True):
            said_1L = torch.tensor([reply.prompt + reply.ids])
            drawn = draw(logits_V[None], sampling, said_1L, chance=reply.chance)
            reply.take(int(drawn.ids_B), float(drawn.logprobs_B), ())
        yield
        going = [place for place, reply in enumerate(alive) if reply.finish is None]
        if going and len(going) < len(alive):
            session.fork(going)
        alive = [alive[place] for place in going]
        if alive:
            logits_BV = session.step([reply.ids[-1] for reply in alive])


def _batches(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _tell_cut(name: str, lengths: Sequence[int], room: int) -> None:
    """A harness expects long contexts to be cut; it is said in its log."""
    cut = [length for length in lengths if length > room]
    if cut:
        _LOG.warning("%s: %d of %d contexts lost their beginning: the longest has %d tokens, and %d fit", name, len(cut),
                     len(lengths), max(cut), room)  # fmt: skip
