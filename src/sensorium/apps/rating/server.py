"""The rating page on this machine: a page, the next pair, a vote, an undo; nothing that a foreign page could call."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sensorium.apps.rating.ballot import Ballot
from sensorium.errors import RequestError
from sensorium.evaluation.report.page import render
from sensorium.evaluation.votes import CHOICES

HOST = "127.0.0.1"
_LARGEST = 1 << 16
_LONGEST_NAME = 80


def open_server(ballot: Ballot, port: int) -> ThreadingHTTPServer:
    """A server that is ready to `serve_forever`; port 0 takes any that is free.

    Raises:
        RequestError: the port is taken.
    """
    try:
        return ThreadingHTTPServer((HOST, port), partial(_Handler, ballot, rating_page()))
    except OSError as error:
        problem = f"cannot be opened ({error.strerror})"
        raise RequestError(f"port {port}", problem, "Choose another with --port; 0 takes any that is free") from error


def rating_page() -> str:
    """The page; it holds no name and no answer."""
    return render("rating.jinja", Path(__file__).parent, "rating_script.jinja")


def next_pair(ballot: Ballot, rater: str) -> dict[str, Any]:
    """What a person is shown next, as JSON, and how far he is."""
    progress = {"done": ballot.done(rater), "total": len(ballot.duels)}
    duel = ballot.next(rater)
    if duel is None:
        return progress
    said = [duel.a.reply.text, duel.b.reply.text]
    sample = ballot.show(duel)
    turns = [{"role": turn.role, "parts": [shown._asdict() for shown in turn.parts]} for turn in sample.turns]
    answers = said[::-1] if ballot.swapped(rater, duel) else said
    return progress | {"pair": duel.pair, "turns": turns, "answers": answers}


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    server_version, sys_version = "sensorium", ""

    def __init__(self, ballot: Ballot, page: str, *rest: Any) -> None:
        self.ballot, self.page = ballot, page
        super().__init__(*rest)

    def do_GET(self) -> None:
        """The page, or `/next?rater=NAME`."""
        url = urlsplit(self.path)
        if not self._is_own():
            return
        if url.path == "/":
            self._send(HTTPStatus.OK, self.page.encode(), "text/html; charset=utf-8")
        elif url.path == "/next":
            self._answer(lambda: next_pair(self.ballot, _rater(parse_qs(url.query).get("rater", [""])[0])))
        else:
            self._send_json(HTTPStatus.NOT_FOUND, {"error": "nothing is here"})

    def do_POST(self) -> None:
        """`/vote` with rater, pair and choice, or `/undo` with rater; both answer with the next pair."""
        actions: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {"/vote": self._vote, "/undo": self._undo}
        if not self._is_own():
            return
        if self.path not in actions:
            self._send_json(HTTPStatus.NOT_FOUND, {"error": "nothing is here"})
            return
        size = int(self.headers.get("Content-Length") or 0)
        if self.headers.get_content_type() != "application/json" or not 0 < size <= _LARGEST:
            self._send_json(HTTPStatus.BAD_REQUEST, {"error": "send JSON"})
            return
        body = self.rfile.read(size)
        self._answer(lambda: actions[self.path](_object(body)))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing: the terminal says how many voted at the end."""

    def _vote(self, row: Mapping[str, Any]) -> dict[str, Any]:
        rater, choice = _rater(row.get("rater")), row.get("choice")
        if choice not in CHOICES:
            raise RequestError(f"choice {choice!r}", "is none", f"Use one of {', '.join(CHOICES)}")
        self.ballot.vote(rater, str(row.get("pair")), choice)
        return next_pair(self.ballot, rater)

    def _undo(self, row: Mapping[str, Any]) -> dict[str, Any]:
        rater = _rater(row.get("rater"))
        self.ballot.undo(rater)
        return next_pair(self.ballot, rater)

    def _answer(self, make: Callable[[], dict[str, Any]]) -> None:
        try:
            row = make()
        except RequestError as error:
            self._send_json(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        else:
            self._send_json(HTTPStatus.OK, row)

    def _is_own(self) -> bool:
        """Refuse what another page or another name for this machine asks for."""
        assert isinstance(self.server, ThreadingHTTPServer)
        port = self.server.server_port
        hosts = {f"{name}:{port}" for name in (HOST, "localhost")}
        origin = self.headers.get("Origin")
        if self.headers.get("Host") in hosts and (origin is None or origin in {f"http://{host}" for host in hosts}):
            return True
        self._send_json(HTTPStatus.FORBIDDEN, {"error": f"open http://{HOST}:{port}/ itself"})
        return False

    def _send_json(self, status: HTTPStatus, row: Mapping[str, Any]) -> None:
        self._send(status, json.dumps(row, ensure_ascii=False).encode(), "application/json")

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Connection": "close",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _rater(name: object) -> str:
    if not isinstance(name, str) or not name.strip() or len(name) > _LONGEST_NAME:
        raise RequestError("rater", f"needs a name of 1 to {_LONGEST_NAME} characters", "Write one")
    return name.strip()


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        row = json.loads(body)
    except ValueError as error:
        raise RequestError("request", f"is not JSON ({error})", "Load the page again") from error
    if not isinstance(row, dict):
        raise RequestError("request", "is not a JSON object", "Load the page again")
    return row
