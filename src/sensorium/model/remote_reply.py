"""What a server answers, whole or in pieces, as an Answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from sensorium.errors import RequestError, ServerError
from sensorium.model.generate import UNCALIBRATED
from sensorium.parts import Answer, Finish, Message, Text, TokenScore, Usage, Use

NO_PROBABILITIES = "the server tells no probabilities"
_FINISHES: dict[str, Finish] = {"stop": "stop", "eos": "stop", "eos_token": "stop", "stop_sequence": "stop", "length": "length"}


class Told(BaseModel):
    """The log-probability of a token."""

    token: str
    logprob: float


class Token(Told):
    """One token of the answer, and those that were likeliest in its place."""

    top_logprobs: list[Told] | None = None


class _Logprobs(BaseModel):
    content: list[Token] | None = None


class _Words(BaseModel):
    content: str | list[dict[str, Any]] | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Words | None = None
    delta: _Words | None = None
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Details(BaseModel):
    reasoning_tokens: int | None = None


class Counts(BaseModel):
    """The server's own count of tokens."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    completion_tokens_details: _Details | None = None


class _Body(BaseModel):
    choices: list[_Choice] = []
    usage: Counts | None = None


class Reply:
    """One answer while it comes in: `take` each piece, or the whole at once, then `answer`.

    Args:
        url: of the server, for messages.
    """

    def __init__(self, url: str) -> None:
        self.url, self.text = url, ""
        self.tokens: list[Token] = []
        self.counts: Counts | None = None
        self.reason: str | None = None

    def take(self, row: Any) -> str:
        """The new words of a `chat.completion` or of one `chat.completion.chunk`.

        Raises:
            ServerError: it is neither.
        """
        try:
            body = _Body.model_validate(row)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(step) for step in first["loc"]) or "the whole"
            problem = f"sends an answer of another form than the chat wire's ({place}: {first['msg']})"
            raise ServerError(self.url, problem, "Look into the server's log") from error
        self.counts = body.usage or self.counts
        if not body.choices:
            return ""
        choice = body.choices[0]
        self.reason = choice.finish_reason or self.reason
        if choice.logprobs is not None:
            self.tokens += choice.logprobs.content or []
        fresh = _words(choice.message or choice.delta)
        self.text += fresh
        return fresh

    def answer(self, uses: Sequence[Use]) -> Answer:
        """The whole of it.

        Raises:
            RequestError: it was stopped by a filter of the server, or is no answer in words.
            ServerError: it ended without a reason: the connection broke, or it is no answer at all.
        """
        finish = _FINISHES.get(self.reason or "")
        if self.reason is None:
            problem = f"ends its answer after {len(self.text)} characters without saying why"
            raise ServerError(self.url, problem, "Try again; look into the server's log")
        if finish is None:
            problem = f"has no answer: the server at {self.url} ended it for the reason {self.reason!r}"
            raise RequestError("conversation", problem, "Ask for something else")
        message = Message("assistant", (Text(self.text),))
        tokens = tuple(
            TokenScore(row.token, row.logprob, tuple((top.token, top.logprob) for top in row.top_logprobs or ()))
            for row in self.tokens
        )
        mean = math.fsum(token.logprob for token in tokens) / len(tokens) if tokens else math.nan
        confidence = min(math.exp(mean), 1.0) if math.isfinite(mean) else None
        source = NO_PROBABILITIES if confidence is None else UNCALIBRATED
        return Answer(message, self._usage(uses), finish, confidence, source, tokens)

    def _usage(self, uses: Sequence[Use]) -> Usage:
        counts = self.counts or Counts()
        notes = []
        if counts.prompt_tokens is None or counts.completion_tokens is None:
            notes.append("the server does not count its tokens; 0 stands for that")
        details = counts.completion_tokens_details
        if details is not None and details.reasoning_tokens:
            notes.append(f"{details.reasoning_tokens} tokens of reasoning are not shown")
        return Usage(counts.prompt_tokens or 0, counts.completion_tokens or 0, tuple(uses), tuple(notes))


def _words(said: _Words | None) -> str:
    """Its text; what a model says when it declines is text too."""
    if said is None:
        return ""
    content = said.content or ""
    if not isinstance(content, str):
        content = "".join(str(block.get("text", "")) for block in content if block.get("type") == "text")
    return content or said.refusal or ""
