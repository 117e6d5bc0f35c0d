"""Requests to a model server: bounded in time and bytes, tried again where that may help, every failure in plain words.

A server that its user names may be on this machine or in a private network: the rules of the media connector are for addresses
that come with data, not for this one. Redirects are not followed, since they would take the key elsewhere.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx2

from sensorium.errors import RequestError, SensoriumError, ServerError
from sensorium.model.remote_settings import Settings

_BUSY = (408, 409, 425, 429, 500, 502, 503, 504, 529)
_LONG = ("context length", "context size", "context_length", "context window", "maximum context", "too many tokens")
_LOCAL = ("localhost", "127.0.0.1", "::1")
_CONNECT = 10.0
_FIRST_WAIT = 0.5


class _AgainError(Exception):
    """A failure that may pass; `wait` is what the server asks for, in seconds."""

    def __init__(self, error: SensoriumError, wait: float | None = None) -> None:
        super().__init__(error)
        self.error, self.wait = error, wait


class MissingError(ServerError):
    """The server knows neither the path nor the model, or not one of them (404)."""


class Wire:
    """One server. Threads may share it.

    Args:
        key: sent as a bearer token, and struck out of whatever the server says; "" is none.
        sleep: called with the seconds before another attempt.
    """

    def __init__(self, settings: Settings, key: str = "", sleep: Callable[[float], None] = time.sleep) -> None:
        self.url, self.settings, self._key, self._sleep = settings.base_url, settings, key, sleep
        headers, address = {"User-Agent": "sensorium", "Accept-Encoding": "identity"}, urlsplit(settings.base_url)
        self._client = httpx2.Client(
            headers=headers | ({"Authorization": f"Bearer {key}"} if key else {}),
            timeout=httpx2.Timeout(settings.timeout, connect=min(_CONNECT, settings.timeout), pool=None),
            limits=httpx2.Limits(max_connections=settings.concurrency, max_keepalive_connections=settings.concurrency),
            verify=address.scheme == "https",  # a plain address has nothing to verify, and redirects are not followed
            trust_env=address.hostname not in _LOCAL,
            follow_redirects=False,
        )

    def get(self, path: str) -> Any:
        """The JSON behind a path. Raises what `post` raises."""
        return self._tried(lambda: self._json("GET", path, None), self.settings.retries)

    def post(self, path: str, body: Mapping[str, Any], retries: int | None = None) -> Any:
        """The JSON that answers a request.

        Raises:
            RequestError: the server refuses this request (400, 413, 422): too long, or something it does not take.
            ServerError: not reached, not allowed, no such model, too slow, too large, or an answer that is no JSON.
        """
        return self._tried(lambda: self._json("POST", path, body), self.settings.retries if retries is None else retries)

    def events(self, path: str, body: Mapping[str, Any]) -> Iterator[Any]:
        """The JSON of each event of a streamed answer. It is not tried again once the first event is here.

        Raises:
            RequestError, ServerError: as `post`; also where the stream breaks off.
        """
        turn, begun = 0, False
        while True:
            try:
                for row in self._stream(path, body):
                    begun = True
                    yield row
                return
            except _AgainError as again:
                if begun:
                    raise again.error from again.error.__cause__
                self._wait(again, turn, self.settings.retries)
                turn += 1

    def close(self) -> None:
        """Give up the connections."""
        self._client.close()

    # One attempt, and the next

    def _tried(self, once: Callable[[], Any], retries: int) -> Any:
        turn = 0
        while True:
            try:
                return once()
            except _AgainError as again:
                self._wait(again, turn, retries)
                turn += 1

    def _wait(self, again: _AgainError, turn: int, retries: int) -> None:
        """Exponential with chance, or as long as the server says, where that is not over `patience`."""
        patience = self.settings.patience
        asked = again.wait
        if turn >= retries or (asked is not None and asked > patience):
            told = f"; it asks for {asked:.0f} s of rest, over the patience of {patience:g} s" if asked is not None else ""
            tries = f" after {turn + 1} attempts" if turn else ""
            error = again.error
            raise type(error)(error.thing, f"{error.problem}{tries}{told}", error.remedy) from error.__cause__
        self._sleep(asked if asked is not None else min(patience, _FIRST_WAIT * 2**turn * random.uniform(1.0, 1.5)))

    def _json(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        with self._send(method, path, body) as (_, pieces):
            content = b"".join(pieces)
        row = self._parse(content.decode("utf-8", "replace"), path)
        self._check_error(row)
        return row

    def _stream(self, path: str, body: Mapping[str, Any]) -> Iterator[Any]:
        with self._send("POST", path, body) as (response, pieces):
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind == "application/json":
                self._check_error(self._parse(b"".join(pieces).decode("utf-8", "replace"), path))
                raise self._wrong(path, "was answered whole, not as a stream")
            headers = {"content-type": "text/event-stream; charset=utf-8"}
            bounded = httpx2.Response(200, headers=headers, content=pieces, request=response.request)
            for event in httpx2.EventSource(bounded, max_event_size=self.settings.max_bytes):
                if event.data.strip() == "[DONE]":
                    return
                row = self._parse(event.data, path)
                self._check_error(row)
                yield row

    @contextmanager
    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None
    ) -> Iterator[tuple[httpx2.Response, Iterator[bytes]]]:
        """A response with status 200 and its bounded body."""
        name, end = f"{self.url}{path}", time.monotonic() + self.settings.timeout
        try:
            with self._client.stream(method, name, json=body) as response:
                pieces = self._bounded(response, end)
                if response.status_code != 200:
                    raise self._refused(response, b"".join(pieces).decode("utf-8", "replace"), path)
                yield response, pieces
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
            problem = f"cannot be reached ({self._shown(_line(error))})"
            raise _AgainError(_caused(ServerError(name, problem, "Start the server, or check its address"), error)) from error
        except (httpx2.ReadTimeout, httpx2.WriteTimeout) as error:
            raise self._slow(name) from error
        except (httpx2.NetworkError, httpx2.RemoteProtocolError) as error:
            problem = f"broke off ({self._shown(_line(error))})"
            raise _AgainError(_caused(ServerError(name, problem, "Look into the server's log, or try again"), error)) from error
        except httpx2.HTTPError as error:
            raise ServerError(name, f"cannot be used ({self._shown(_line(error))})", "Look into the server's log") from error

    def _bounded(self, response: httpx2.Response, end: float) -> Iterator[bytes]:
        size = 0
        for piece in response.iter_bytes():
            size += len(piece)
            if size > self.settings.max_bytes:
                problem = f"answers with over {self.settings.max_bytes:,} bytes, the limit"
                raise ServerError(str(response.url), problem, "Ask for a shorter answer, or raise max_bytes")
            if time.monotonic() > end:
                raise self._slow(str(response.url))
            yield piece

    # What went wrong

    def _parse(self, text: str, path: str) -> Any:
        try:
            return json.loads(text)
        except ValueError as error:
            raise self._wrong(path, f"is answered with something that is no JSON: {self._shown(text)!r}") from error

    def _check_error(self, row: Any) -> None:
        """Some gateways answer 200 and put the error into the body; streams have no other way."""
        if isinstance(row, dict) and row.get("error") and not row.get("choices"):
            told = row["error"]
            code = told.get("code") if isinstance(told, dict) else None
            status = code if isinstance(code, int) and 400 <= code < 600 else 500
            raise self._fault(status, self._said(row), None)

    def _refused(self, response: httpx2.Response, text: str, path: str) -> SensoriumError | _AgainError:
        status = response.status_code
        if 300 <= status < 400:
            told = response.headers.get("location", "nowhere").partition("?")[0]
            return ServerError(f"{self.url}{path}", f"is answered with {status}, which leads to {told}", "Give that address")
        try:
            row = json.loads(text)
        except ValueError:
            row = text
        return self._fault(status, self._said(row), response.headers.get("retry-after"))

    def _fault(self, status: int, said: str, rest: str | None) -> SensoriumError | _AgainError:
        url, settings = self.url, self.settings
        lower = said.lower()
        told = f"{status}: {said}" if said else str(status)
        if status in (401, 403):
            what = "refuses the key" if self._key else "asks for a key"
            remedy = f"Put the key into the environment variable {settings.key_variable}, or name another with key_env"
            return ServerError(url, f"{what} ({told})", remedy)
        if "insufficient_quota" in lower:
            return ServerError(url, f"says that nothing is left to spend ({told})", "Pay, or ask another server")
        if status in _BUSY:
            return _AgainError(ServerError(url, f"cannot answer now ({told})", "Try again later"), _seconds(rest))
        if status == 404:
            problem = f"knows no such thing ({told}); it was asked for the model {settings.model!r}"
            return MissingError(url, problem, "Check the model's name, and the address, which mostly ends in /v1")
        if status in (400, 413, 422):
            if any(word in lower for word in _LONG):
                remedy = "Ask with fewer or smaller media, or for a shorter answer"
                return RequestError("conversation", f"is too long for the model at {url} ({told})", remedy)
            remedy = "Change what is asked, or how it is sent (--model_args)"
            if "max_completion_tokens" in lower:
                remedy = "Give limit_field=max_completion_tokens"
            return RequestError("conversation", f"is refused by {url} ({told})", remedy)
        return ServerError(url, f"answers with {told}", "Look into the server's log")

    def _said(self, row: Any) -> str:
        """The message of an error, whichever of the usual places it stands in."""
        inner = row.get("error", row) if isinstance(row, dict) else row
        if isinstance(inner, dict):
            words = [inner.get(name) for name in ("message", "detail", "msg", "code", "type")]
            found = [word if isinstance(word, str) else json.dumps(word) for word in words if word]
            inner = " ".join(dict.fromkeys(found[:1] + [word for word in found[1:] if "_" in word]))
        return self._shown(str(inner))

    def _shown(self, text: str) -> str:
        plain = " ".join(text.split())
        plain = plain.replace(self._key, "***") if self._key else plain
        return plain if len(plain) <= 300 else plain[:299] + "\u2026"

    def _wrong(self, path: str, problem: str) -> ServerError:
        remedy = "Check that the address is of a server that speaks OpenAI's chat wire"
        return ServerError(f"{self.url}{path}", problem, remedy)

    def _slow(self, name: str) -> ServerError:
        problem = f"took over {self.settings.timeout:g} s, the limit"
        return ServerError(name, problem, "Ask for a shorter answer, lower concurrency, or raise timeout")


def _seconds(rest: str | None) -> float | None:
    """`Retry-After`: seconds, or a date."""
    if rest is None:
        return None
    if rest.strip().replace(".", "", 1).isdecimal():
        return float(rest)
    try:
        when = parsedate_to_datetime(rest)
    except (ValueError, TypeError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max((when - datetime.now(UTC)).total_seconds(), 0.0)


def _line(error: Exception) -> str:
    return str(error) or type(error).__name__


def _caused(error: SensoriumError, cause: Exception) -> SensoriumError:
    error.__cause__ = cause
    return error
