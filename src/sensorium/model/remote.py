"""A model behind OpenAI's chat wire, as one that generates and, where its server tells what is needed, scores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import torch

from sensorium.errors import RequestError, ServerError
from sensorium.heads.text import generator
from sensorium.media.source import Access, Limits
from sensorium.model.generate import AMONG_CHOICES
from sensorium.model.remote_http import MissingError, Wire
from sensorium.model.remote_reply import Reply
from sensorium.model.remote_score import Offer, Scorer, probe
from sensorium.model.remote_settings import DIALECTS, OWNERS, Dialect, Settings, read_settings
from sensorium.model.remote_wire import Block, Sender, options
from sensorium.parts import Answer, Message, Text, TokenScore, Usage
from sensorium.protocols import Sampling

_CHAT, _MODELS = "/chat/completions", "/models"
Made = TypeVar("Made")


class Found(NamedTuple):
    """What is known of a server after it was opened: the model asked, its dialect, and what it tells."""

    model: str
    dialect: Dialect
    offer: Offer


class RemoteModel:
    """A served model that answers. It scores given answers only as a `ScoringRemoteModel`.

    Args:
        wire: to the server. found: what it said of itself. sender: writes conversations for it.

    Attributes:
        name: the model's name there. searches_beams: no server does for its callers; beams are refused.
    """

    searches_beams = False

    def __init__(self, wire: Wire, settings: Settings, found: Found, sender: Sender) -> None:
        self.wire, self.settings, self.found, self.sender = wire, settings, found, sender
        self.name = found.model

    @property
    def defaults(self) -> Sampling:
        """Greedy answers."""
        return Sampling()

    @property
    def about(self) -> dict[str, object]:
        """What its answers depend on as far as a client can know, as plain JSON, without any key.

        The server may put another model behind the same name; nothing here would show it.
        """
        told = {"model": self.name, "dialect": self.found.dialect.name, "scoring": self.found.offer.way}
        return self.settings.about() | told | {"logprobs": self.found.offer.logprobs}

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[str | Answer]:
        """One conversation: pieces of text as they come, then the Answer. Choices come in one piece.

        Raises:
            RequestError: options or media that the server cannot take, a conversation too long or refused.
            MediaError: a medium that cannot be read. ServerError: the server fails, also half-way.
        """
        if sampling.choices:
            (answer,) = self.answer([messages], sampling)
            yield from (answer.text, answer)
            return
        body, reply, uses = self._request(messages, sampling)
        streaming = {"stream": True, "stream_options": {"include_usage": True}}
        for row in self.wire.events(_CHAT, body | streaming):
            if fresh := reply.take(row):
                yield fresh
        yield reply.answer(uses)

    def answer(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[Answer]:
        """Many conversations, at most `concurrency` of them at once, answers in order; raises what `stream` raises."""
        one = self._chooser() if sampling.choices else self._answer
        return self._together([partial(one, messages, sampling) for messages in conversations])

    def close(self) -> None:
        """Give up the connections."""
        self.wire.close()

    def _request(self, messages: Sequence[Message], sampling: Sampling) -> tuple[Block, Reply, tuple[Any, ...]]:
        drawn = options(sampling, self.settings, self.found.dialect, self.found.offer.logprobs)
        turns, uses = self.sender(messages)
        return {"model": self.name, "messages": turns, **drawn}, Reply(self.settings.base_url), uses

    def _answer(self, messages: Sequence[Message], sampling: Sampling) -> Answer:
        body, reply, uses = self._request(messages, sampling)
        reply.take(self.wire.post(_CHAT, body))
        return reply.answer(uses)

    def _chooser(self) -> Callable[[Sequence[Message], Sampling], Answer]:
        problem = f"cannot be weighed: the server at {self.settings.base_url} tells no likelihood of given answers"
        raise RequestError("choices", problem, "Let the model answer in words, or use a server with prompt_logprobs or echo")

    def _together(self, jobs: Sequence[Callable[[], Made]]) -> list[Made]:
        """In order; after a failure what has not begun is left out."""
        if not jobs:
            return []
        with ThreadPoolExecutor(min(self.settings.concurrency, len(jobs)), "remote") as pool:
            futures = [pool.submit(job) for job in jobs]
            try:
                return [future.result() for future in futures]
            finally:
                for future in futures:
                    future.cancel()


class ScoringRemoteModel(RemoteModel):
    """A served model whose server tells how likely given answers are; see `remote_score` for the ways."""

    def score(self, messages: Sequence[Message], answers: Sequence[str]) -> list[float]:
        """The log-probability of each answer, without its end.

        Raises:
            RequestError: media or answers that the server's way of scoring cannot take. ServerError: the server fails.
        """
        turns, _ = self.sender(messages)
        return self._scorer()(turns, answers)

    def _scorer(self) -> Scorer:
        way = self.found.offer.way
        return Scorer(self.wire, self.name, way, self.settings.limit_field, self._together)

    def _chooser(self) -> Callable[[Sequence[Message], Sampling], Answer]:
        return self._choose

    def _choose(self, messages: Sequence[Message], sampling: Sampling) -> Answer:
        """The likeliest choice, or one drawn by likelihood when the temperature is above 0."""
        options(sampling, self.settings, self.found.dialect, self.found.offer.logprobs)
        turns, uses = self.sender(messages)
        way, limit = self.found.offer.way, self.settings.limit_field
        scores = Scorer(self.wire, self.name, way, limit, lambda jobs: [job() for job in jobs])(turns, sampling.choices)
        totals = torch.tensor(scores, dtype=torch.float64)
        picked = int(totals.argmax())
        if sampling.temperature > 0:
            weights = (totals / sampling.temperature).softmax(0)
            picked = int(torch.multinomial(weights, 1, generator=generator(sampling)))
        text = sampling.choices[picked]
        usage = Usage(0, 0, uses, ("tokens are not counted where choices are weighed",))
        confidence = float(totals.softmax(0)[picked])
        message = Message("assistant", (Text(text),))
        return Answer(message, usage, "choice", confidence, AMONG_CHOICES, (TokenScore(text, scores[picked]),))


def open(  # noqa: A001 - `remote.open(...)` is how it reads
    name: str = "openai",
    args: Mapping[str, object] = MappingProxyType({}),
    *,
    limits: Limits | None = None,
    access: Access | None = None,
) -> RemoteModel:
    """A served model, after a look at what its server offers (one to four small requests).

    Args:
        name: `openai:http://127.0.0.1:8000/v1#model-name`, or `openai` with `base_url` and `model` among the arguments.
        args: see `Settings`; the values may be strings.
        limits, access: of the media that will be sent.

    Returns:
        A `ScoringRemoteModel`, which satisfies `Scores`, where the server tells what that needs.

    Raises:
        RequestError: an unknown or wrong argument, or a way of scoring that the server does not offer.
        ServerError: the server cannot be reached, refuses the key, has no such model or speaks another language.
    """
    settings = read_settings(name, args)
    wire = Wire(settings, _key(settings.key_variable))
    with ExitStack() as undo:
        undo.callback(wire.close)
        model, owner = _model(wire, settings)
        named = settings.model_copy(update={"model": model})
        wire.settings = named
        spoken = OWNERS.get(owner, "openai") if settings.dialect == "auto" else settings.dialect
        dialect = DIALECTS[spoken]
        offer = probe(wire, model, settings.scoring, dialect.prompt_logprobs, settings.limit_field)
        undo.pop_all()
    kind = RemoteModel if offer.way == "none" else ScoringRemoteModel
    return kind(wire, named, Found(model, dialect, offer), Sender(named, limits or Limits(), access or Access()))


def _key(variable: str) -> str:
    """The key in an environment variable, "" where there is none."""
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable() and " " not in key):
        problem = "holds characters that no key has, such as a space or a line end"
        raise RequestError(f"environment variable {variable}", problem, "Set it again")
    return key


def _model(wire: Wire, settings: Settings) -> tuple[str, str]:
    """The name of the model to ask, and who serves it."""
    try:
        listed = wire.get(_MODELS)
    except MissingError:
        listed = None
    rows = listed.get("data") if isinstance(listed, dict) else None
    if not isinstance(rows, list):
        if settings.model:
            return settings.model, ""
        raise ServerError(f"{wire.url}{_MODELS}", "lists no models", "Name one: model=...")
    owners = {str(row.get("id")): str(row.get("owned_by", "")) for row in rows if isinstance(row, dict)}
    shown = ", ".join(list(owners)[:8]) or "none"
    if settings.model:
        if settings.model not in owners:
            problem = f"has no model {settings.model!r}; it has {shown}"
            raise ServerError(settings.base_url, problem, "Name one of them: model=...")
        return settings.model, owners[settings.model]
    if len(owners) != 1:
        raise ServerError(settings.base_url, f"has {len(owners)} models ({shown})", "Name one of them: model=...")
    return next(iter(owners.items()))
