"""How likely a server finds given answers: three ways, none of which every server offers.

`prompt`: the log-probability of each token of a chat prompt (vLLM's `prompt_logprobs`), the answer being its last message, left
open. Any answer, media included. `echo`: the same from `/completions` with `echo`; the prompt is the messages' text one after
the other without a chat template, for base models. `top`: the likeliest first tokens of an answer; for answers of one token.
The end of the answer is not scored, since no server tells it. Where a server offers none of them, likelihood is not measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

from sensorium.errors import RequestError, ServerError
from sensorium.model.remote_http import Wire
from sensorium.model.remote_reply import Reply
from sensorium.model.remote_wire import Block

Way = Literal["prompt", "echo", "top", "none"]
TOP = 20
"""First tokens that are asked for; OpenAI tells no more."""
_CHAT, _COMPLETIONS = "/chat/completions", "/completions"
_SHORT: Block = {"max_tokens": 1, "temperature": 0.0}


class _Row(NamedTuple):
    """Tokens of a text, by id or by spelling, and their log-probabilities; the first has none."""

    tokens: tuple[str, ...]
    logprobs: tuple[float, ...]


class Offer(NamedTuple):
    """What a server tells: log-probabilities of its answers, and the best way to score given ones."""

    logprobs: bool
    way: Way


class Scorer:
    """Scores answers through one server.

    Args:
        together: runs functions at once and gives their results in order.
        limit: what the server calls the limit of an answer.
    """

    def __init__(
        self, wire: Wire, model: str, way: Way, limit: str, together: Callable[[Sequence[Callable[[], Any]]], list[Any]]
    ) -> None:
        self.wire, self.model, self.way, self.limit, self.together = wire, model, way, limit, together

    def __call__(self, turns: Sequence[Block], answers: Sequence[str]) -> list[float]:
        """The log-probability of each answer to a conversation in wire form.

        Raises:
            RequestError: media where the way takes none, or an answer that the server's likeliest tokens do not hold.
        """
        if self.way == "top":
            return self._top(turns, answers)
        read = self._prompted if self.way == "prompt" else self._echoed
        rows: list[_Row] = self.together([partial(read, turns, answer) for answer in (None, *answers)])
        return [_behind(rows[0], row) for row in rows[1:]]

    def _prompted(self, turns: Sequence[Block], answer: str | None) -> _Row:
        said = [*turns] if answer is None else [*turns, {"role": "assistant", "content": answer}]
        more = {} if answer is None else {"add_generation_prompt": False, "continue_final_message": True}
        row = self.wire.post(_CHAT, {"model": self.model, "messages": said, "prompt_logprobs": 0, **_limit(self.limit), **more})
        return _prompt_row(row, self.wire.url)

    def _echoed(self, turns: Sequence[Block], answer: str | None) -> _Row:
        if any(not isinstance(turn["content"], str) for turn in turns):
            raise RequestError("conversation", "holds media, and scoring=echo reads text alone", "Give scoring=prompt or top")
        text = "".join(turn["content"] for turn in turns) + (answer or "")
        return _echo_row(self.wire.post(_COMPLETIONS, echo_body(self.model, text)), self.wire.url)

    def _top(self, turns: Sequence[Block], answers: Sequence[str]) -> list[float]:
        body = {"model": self.model, "messages": [*turns], **_limit(self.limit), "logprobs": True, "top_logprobs": TOP}
        reply = Reply(self.wire.url)
        reply.take(self.wire.post(_CHAT, body))
        first = (reply.tokens[0].top_logprobs or []) if reply.tokens else []
        scores = []
        for answer in answers:
            found = [told.logprob for told in first if told.token.strip() == answer.strip()]
            if not found:
                problem = f"is not among the {len(first)} likeliest first tokens that the server at {self.wire.url} tells"
                raise RequestError(f"answer {answer!r}", problem, "Let the model answer in words instead")
            scores.append(_log_sum(found))
        return scores


def probe(wire: Wire, model: str, wanted: str, prompt_logprobs: bool, limit: str) -> Offer:
    """Ask little questions to find out what a server tells; each costs one token.

    Args:
        wanted: a way by name, or `auto`. prompt_logprobs: whether to ask for them, which other servers may refuse.

    Raises:
        RequestError: the wanted way is not offered. ServerError: the server does not answer at all.
    """
    chat = {"model": model, "messages": [{"role": "user", "content": "Say A."}], **_limit(limit)}
    told = {"logprobs": True, "top_logprobs": 1}
    tries: list[Block] = [told | {"prompt_logprobs": 0}] if prompt_logprobs or wanted == "prompt" else []
    row = _first_taken(wire, chat, [*tries, told])
    reply = Reply(wire.url)
    reply.take(row)
    logprobs = bool(reply.tokens)
    top = logprobs and bool(reply.tokens[0].top_logprobs)
    ways: dict[str, Callable[[], bool]] = {
        "prompt": lambda: isinstance(row.get("prompt_logprobs"), list),
        "echo": lambda: _echoes(wire, model),
        "top": lambda: top,
    }
    order: list[Way] = ["prompt", "echo", "top"]
    for way in order:
        if wanted in ("auto", way) and ways[way]():
            return Offer(logprobs, way)
    if wanted in ways:
        remedy = "Leave scoring out to take what there is; without any, likelihood is not measured"
        raise RequestError(f"scoring={wanted}", f"is not offered by the server at {wire.url}", remedy)
    return Offer(logprobs, "none")


def echo_body(model: str, text: str) -> Block:
    """A request for the log-probability of each token of a text."""
    return {"model": model, "prompt": text, "echo": True, "logprobs": 1, **_SHORT}


def _first_taken(wire: Wire, chat: Block, extras: Sequence[Block]) -> Any:
    """The answer to the first of these requests that is not refused; the last is the plain one."""
    for extra in extras:
        try:
            return wire.post(_CHAT, chat | extra)
        except (RequestError, ServerError):
            continue
    return wire.post(_CHAT, chat)


def _echoes(wire: Wire, model: str) -> bool:
    try:
        row = _echo_row(wire.post(_COMPLETIONS, echo_body(model, "A B"), retries=0), wire.url)
    except (RequestError, ServerError):
        return False
    return bool(row.tokens)


def _limit(name: str) -> Block:
    return {name: 1, "temperature": 0.0}


def _prompt_row(row: Any, url: str) -> _Row:
    """`[null, {"<id>": {"logprob": ...}}, ...]`, one entry a token."""
    told = row.get("prompt_logprobs") if isinstance(row, dict) else None
    if not isinstance(told, list) or not all(entry is None or (isinstance(entry, dict) and len(entry) == 1) for entry in told):
        raise _unclear(url, "does not tell one log-probability a token of the prompt")
    pairs = [next(iter(entry.items())) if entry else ("", {"logprob": 0.0}) for entry in told]
    try:
        return _Row(tuple(str(name) for name, _ in pairs), tuple(float(value["logprob"]) for _, value in pairs))
    except (KeyError, TypeError, ValueError) as error:
        raise _unclear(url, f"tells log-probabilities of the prompt in an unknown form ({error})") from error


def _echo_row(row: Any, url: str) -> _Row:
    """The tokens of the prompt, without the one that was generated behind it."""
    try:
        told = row["choices"][0]["logprobs"]
        count = int(row["usage"]["prompt_tokens"])
        tokens, values = tuple(map(str, told["tokens"]))[:count], told["token_logprobs"][:count]
        logprobs = tuple(0.0 if value is None else float(value) for value in values)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise _unclear(url, f"does not echo its prompt's log-probabilities ({type(error).__name__}: {error})") from error
    if not len(tokens) == len(logprobs) == count:
        raise _unclear(url, f"tells {len(logprobs)} log-probabilities for {count} tokens")
    return _Row(tokens, logprobs)


def _behind(prompt: _Row, whole: _Row) -> float:
    """What follows the prompt; where a token spans both, it counts with the answer."""
    shared = 0
    for one, other in zip(prompt.tokens, whole.tokens, strict=False):
        if one != other:
            break
        shared += 1
    return math.fsum(whole.logprobs[shared:])


def _log_sum(logs: Sequence[float]) -> float:
    most = max(logs)
    return most + math.log(math.fsum(math.exp(value - most) for value in logs))


def _unclear(url: str, problem: str) -> ServerError:
    return ServerError(url, problem, "Give scoring=none, or scoring=top for answers of one token")
