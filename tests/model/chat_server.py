"""A real HTTP server in a thread that speaks OpenAI's wire as its script says, and remembers what it was asked."""

from __future__ import annotations

import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

import torch

Body = dict[str, Any]
MODEL = "toy/one"


@dataclass
class Answered:
    """One response. `pieces` are sent as chunks of the body, each at once; `cut` closes the connection after them."""

    status: int = 200
    pieces: Sequence[bytes] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    pause: float = 0.0
    cut: bool = False


Play = Callable[[str, Body], Answered]
"""Path and parsed body to a response."""


class ChatServer(ThreadingHTTPServer):
    """`play` answers; `asked` holds (path, headers, body) of every request in order of arrival."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, play: Play) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.play, self.asked = play, list[tuple[str, Mapping[str, str], Body]]()
        self.lock = threading.Lock()
        self.active = self.most_active = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ChatServer

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, body: Body) -> None:
        server = self.server
        with server.lock:
            server.asked.append((self.path.removeprefix("/v1"), dict(self.headers), body))
            server.active += 1
            server.most_active = max(server.most_active, server.active)
        try:
            self._write(server.play(self.path.removeprefix("/v1"), body))
        finally:
            with server.lock:
                server.active -= 1

    def _write(self, answered: Answered) -> None:
        headers = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"} | dict(answered.headers)
        self.send_response(answered.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        for piece in answered.pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if piece else b"")
            self.wfile.flush()
            time.sleep(answered.pause)
        if answered.cut:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self.wfile.write(b"0\r\n\r\n")


@contextmanager
def serving(play: Play) -> Iterator[ChatServer]:
    server = ChatServer(play)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def plain(row: Any, status: int = 200, **headers: str) -> Answered:
    """JSON, whole."""
    return Answered(status, [json.dumps(row).encode()], {name.replace("_", "-"): value for name, value in headers.items()})


def fault(status: int, message: str, code: str | None = None, **headers: str) -> Answered:
    return plain({"error": {"message": message, "type": "error", "param": None, "code": code}}, status, **headers)


def models(*names: str, owner: str = "somebody") -> Answered:
    return plain({"object": "list", "data": [{"id": name, "object": "model", "owned_by": owner} for name in names]})


def completion(text: str | None, finish: str | None = "stop", **more: Any) -> Body:
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}} | more
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    return {"id": "1", "object": "chat.completion", "model": MODEL, "choices": [choice], "usage": usage}


def chunk(text: str | None = None, finish: str | None = None, **more: Any) -> Body:
    choice = {"index": 0, "finish_reason": finish, "delta": {} if text is None else {"content": text}} | more
    return {"id": "1", "object": "chat.completion.chunk", "model": MODEL, "choices": [choice]}


def events(*rows: Any, done: bool = True, line: str = "\n") -> bytes:
    """Server-sent events."""
    texts = [json.dumps(row, ensure_ascii=False) for row in rows] + (["[DONE]"] if done else [])
    return "".join(f"data: {text}{line}{line}" for text in texts).encode()


def streamed(pieces: Sequence[bytes], **more: Any) -> Answered:
    return Answered(200, pieces, {"Content-Type": "text/event-stream"}, **more)


class Toy:
    """A language model over characters that a server can serve: each follows the one before it by a fixed table.

    Its chat template is `<u>text</u>` for a user, `<a>` where an answer begins; `tokens` are single characters.
    """

    alphabet = "".join(sorted(set("<>/uabcdefghijklmnopqrstvwxyzABCDEINOYS .?:,0123456789!")))

    def __init__(self) -> None:
        count = len(self.alphabet)
        self.table = torch.randn(count, count, generator=torch.Generator().manual_seed(7)).log_softmax(-1)

    def logprob(self, before: str, after: str) -> float:
        return float(self.table[self.alphabet.index(before), self.alphabet.index(after)])

    def likely(self, before: str, count: int) -> list[tuple[str, float]]:
        best = self.table[self.alphabet.index(before)].topk(count)
        return [(self.alphabet[index], value) for value, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)]

    def sum(self, prompt: str, answer: str) -> float:
        text = prompt + answer
        return math.fsum(self.logprob(text[i - 1], text[i]) for i in range(len(prompt), len(text)))

    def template(self, turns: Sequence[Body], begin: bool) -> str:
        written = "".join(f"<{turn['role'][0]}>{turn['content']}</{turn['role'][0]}>" for turn in turns)
        return written + "<a>" if begin else written.removesuffix("</a>")

    def play(self, *, prompt: bool = False, echo: bool = False, logprobs: bool = True, owner: str = "somebody") -> Play:
        """A server of it that offers what is said."""

        def answer(path: str, body: Body) -> Answered:
            if path == "/models":
                return models(MODEL, owner=owner)
            if path == "/completions":
                return plain(self._echoed(body)) if echo else fault(404, "no such path")
            if not prompt and "prompt_logprobs" in body:
                return fault(400, "unknown field prompt_logprobs")
            if not logprobs and "logprobs" in body:
                return fault(400, "logprobs are not supported")
            return plain(self._chatted(body))

        return answer

    def _chatted(self, body: Body) -> Body:
        text = self.template(body["messages"], body.get("add_generation_prompt", True))
        told, answer = [], ""
        for _ in range(body.get("max_tokens", 4)):
            (best, logprob), *_ = self.likely((text + answer)[-1], 1)
            top = [{"token": t, "logprob": v} for t, v in self.likely((text + answer)[-1], body.get("top_logprobs", 0) or 1)]
            told.append({"token": best, "logprob": logprob, "top_logprobs": top if body.get("top_logprobs") else []})
            answer += best
        row = completion(answer, "length", logprobs={"content": told} if body.get("logprobs") else None)
        row["usage"] = {"prompt_tokens": len(text), "completion_tokens": len(answer)}
        if "prompt_logprobs" in body:
            pairs = [{str(self.alphabet.index(b)): {"logprob": self.logprob(a, b)}} for a, b in pairwise(text)]
            row["prompt_logprobs"] = [None, *pairs]
        return row

    def _echoed(self, body: Body) -> Body:
        text = body["prompt"]
        whole = text + self.likely(text[-1], 1)[0][0]
        values = [None, *(self.logprob(a, b) for a, b in pairwise(whole))]
        told = {"tokens": list(whole), "token_logprobs": values, "text_offset": list(range(len(whole)))}
        choice = {"text": whole, "index": 0, "finish_reason": "length", "logprobs": told}
        return {"object": "text_completion", "choices": [choice], "usage": {"prompt_tokens": len(text), "completion_tokens": 1}}
