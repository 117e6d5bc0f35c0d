"""URLs: who may be reached, and that nobody else can be, by any trick."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from sensorium.errors import AccessError, LimitError, MediaError, SensoriumError
from sensorium.media import fetch as fetching
from sensorium.media.fetch import fetch, is_public
from sensorium.media.source import Access, Limits, load

from .made import valid

PUBLIC = "93.184.215.14"
OPEN = Access(hosts=("media.example", "other.example"), schemes=("http", "https"), timeout=5)


class _Server(BaseHTTPRequestHandler):
    """`/photo.png`, and paths that misbehave."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str]] = []  # noqa: RUF012 (reset by the fixture)

    def do_GET(self) -> None:
        self.seen.append((self.headers["Host"], self.path))
        where = self.path.partition("?")[0]
        if where == "/photo.png":
            self._answer(200, valid()["plain.png"])
        elif where.startswith("/to/"):
            self._answer(302, b"", Location=where[4:])
        elif where == "/loop":
            self._answer(302, b"", Location="/loop")
        elif where == "/lies":
            self._answer(200, b"short", length=500)
        elif where == "/packed":
            self._answer(200, b"x" * 50, **{"Content-Encoding": "gzip"})
        elif where == "/huge":
            self._answer(200, b"x" * 500, length=10**12)
        elif where in ("/endless", "/drip"):
            self._pour(b"x" * 1000 if where == "/endless" else b"x", 0.0 if where == "/endless" else 0.05)
        else:
            self._answer(404, b"no such thing")

    def _answer(self, status: int, body: bytes, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = length is not None

    def _pour(self, piece: bytes, pause: float) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for _ in range(10_000):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                time.sleep(pause)
        except OSError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        return


class _Net(SimpleNamespace):
    """What names resolve to, in turn; which addresses were connected to."""

    names: dict[str, list[list[str]]]
    connected: list[tuple[str, int]]
    looked_up: list[str]


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Net]:
    """A local server that stands at the public address; the resolver and the wire are stubbed."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    _Server.seen.clear()
    state = _Net(names={"media.example": [[PUBLIC]], "other.example": [[PUBLIC]]}, connected=[], looked_up=[])

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        state.looked_up.append(host)
        answers = state.names.get(host)
        if answers is None:
            raise socket.gaierror(-2, "Name or service not known")
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    def create_connection(address: tuple[str, int], timeout: float | None = None) -> socket.socket:
        state.connected.append(address)
        assert address[0] == PUBLIC
        sock = socket.socket()
        sock.settimeout(timeout)
        sock.connect(("127.0.0.1", server.server_port))
        return sock

    monkeypatch.setattr(fetching.socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(fetching.socket, "create_connection", create_connection)
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_allowed_url_is_read(net: _Net) -> None:
    blob = load("http://media.example/photo.png?token=secret", access=OPEN)
    assert blob.data == valid()["plain.png"]
    assert blob.media_type == "image/png"
    assert blob.name == "http://media.example/photo.png"
    assert _Server.seen == [("media.example", "/photo.png?token=secret")]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://evil.example/x", "is on evil.example; allowed hosts: media.example, other.example"),
        ("http://sub.media.example/x", "is on sub.media.example"),
        ("http://media.example.evil.example/x", "is on media.example.evil.example"),
        ("http://media.example:8080/x", "is on media.example:8080"),
        ("http://user@media.example/x", "has a user name in it"),
        ("http://media.example@evil.example/x", "has a user name in it"),
        ("http://media.example\\@evil.example/x", "has a user name in it"),
        ("http:///x", "has a user name in it, or no host"),
        ("http://[::1/x", "is no URL"),
        ("http://media.example:port/x", "is no URL"),
        ("http://2130706433/x", "is on 2130706433"),
        ("http://127.0.0.1/x", r"is on 127.0.0.1"),
        ("http://%6dedia.example/x", "no host"),
    ],
)
def test_what_is_not_on_the_list_is_refused_before_any_look_up(net: _Net, url: str, words: str) -> None:
    with pytest.raises(AccessError, match=words):
        load(url, access=OPEN)
    assert net.looked_up == net.connected == []


def test_schemes_and_patterns(net: _Net) -> None:
    with pytest.raises(
        AccessError, match=r"has the scheme 'http'; allowed: https. Use an allowed one, or add it to Access.schemes"
    ):
        load("http://media.example/photo.png", access=Access(hosts=("media.example",)))
    for host in ("*.example", "*", "MEDIA.example", "media.example:80"):
        assert load("http://media.example./photo.png", access=Access(hosts=(host,), schemes=("http",))).size
    with pytest.raises(AccessError, match=r"is on media.example"):
        load("http://media.example/photo.png", access=Access(hosts=("*.media.example", "media.example:81"), schemes=("http",)))


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "172.16.5.5", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"),
        *("255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1", "192.88.99.1", "::1", "::", "fe80::1", "fe80::1%eth0"),
        *("fc00::1", "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1"),
        *("64:ff9b::a00:1", "64:ff9b:1::a00:1", "2002:7f00:1::1", "2001:0:7f00:1::", "2001:db8::1", "100::1"),
    ],
)
def test_private_addresses_are_refused(net: _Net, address: str) -> None:
    assert not is_public(address)
    net.names["media.example"] = [[PUBLIC, address]]
    with pytest.raises(AccessError, match=r"whose address .* is not a public one. Download the file yourself"):
        load("http://media.example/photo.png", access=OPEN)
    assert net.connected == []


def test_public_addresses() -> None:
    for address in (PUBLIC, "8.8.8.8", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:8.8.8.8", "64:ff9b::808:808"):
        assert is_public(address)


def test_a_name_is_looked_up_once_and_its_address_kept(net: _Net) -> None:
    net.names["media.example"] = [[PUBLIC], ["127.0.0.1"]]
    assert load("http://media.example/photo.png", access=OPEN).size
    assert net.looked_up == ["media.example"]
    assert net.connected == [(PUBLIC, 80)]


def test_redirects_are_followed_and_checked_again(net: _Net) -> None:
    assert load("http://media.example/to//photo.png", access=OPEN).name == "http://media.example/photo.png"
    assert load("http://media.example/to/http://other.example/photo.png", access=OPEN).name == "http://other.example/photo.png"
    for target, words in (
        ("http://127.0.0.1/x", "is on 127.0.0.1"),
        ("http://evil.example/x", "is on evil.example"),
        ("file:///etc/passwd", "has the scheme 'file'"),
        ("http://media.example:22/", "is on media.example:22"),
    ):
        with pytest.raises(AccessError, match=words):
            load(f"http://media.example/to/{target}", access=OPEN)
    with pytest.raises(AccessError, match=r"redirects more than 3 times. Use the final URL"):
        load("http://media.example/loop", access=OPEN)


def test_a_redirect_to_a_name_that_has_become_private(net: _Net) -> None:
    net.names["media.example"] = [[PUBLIC], ["169.254.169.254"]]
    with pytest.raises(AccessError, match=r"169\.254\.169\.254 is not a public one"):
        load("http://media.example/to//photo.png", access=OPEN)
    assert len(net.connected) == 1


def test_no_way_back_from_https(net: _Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching.ssl, "create_default_context", lambda: SimpleNamespace(wrap_socket=lambda sock, **_: sock))
    with pytest.raises(AccessError, match=r"redirects from https to http"):
        load("https://media.example/to/http://media.example/photo.png", access=OPEN)


def test_tls_is_verified_against_the_name_not_the_address(net: _Net, monkeypatch: pytest.MonkeyPatch) -> None:
    context, names = ssl.create_default_context(), []
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED

    def wrap_socket(sock: socket.socket, server_hostname: str) -> socket.socket:
        names.append(server_hostname)
        return sock

    monkeypatch.setattr(fetching.ssl, "create_default_context", lambda: SimpleNamespace(wrap_socket=wrap_socket))
    assert load("https://media.example/photo.png", access=OPEN).size
    assert names == ["media.example"]
    assert net.connected == [(PUBLIC, 443)]


def test_a_server_without_tls_is_a_media_error(net: _Net) -> None:
    with pytest.raises(MediaError, match=r"cannot be fetched"):
        load("https://media.example/photo.png", access=OPEN)


@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        ("/huge", LimitError, "has 1,000,000,000,000 bytes or more, over the limit of 5,000"),
        ("/endless", LimitError, r"bytes or more, over the limit of 5,000. Raise Limits.bytes"),
        ("/nothing", MediaError, "was answered with 404 Not Found. Check the URL"),
        ("/packed", MediaError, "is sent in the encoding 'gzip'"),
        ("/lies", MediaError, "495 bytes missing|cannot be fetched"),
    ],
)
def test_servers_that_misbehave(net: _Net, path: str, kind: type[SensoriumError], words: str) -> None:
    with pytest.raises(kind, match=words):
        load(f"http://media.example{path}", Limits(bytes=5000), OPEN)


def test_the_whole_fetch_has_a_time_limit(net: _Net) -> None:
    begin = time.monotonic()
    slow = Access(hosts=("media.example",), schemes=("http",), timeout=0.5)
    with pytest.raises(LimitError, match=r"took over 0.5 s to fetch, the limit. Try again, or raise Access.timeout"):
        load("http://media.example/drip", access=slow)
    assert time.monotonic() - begin < 4


def test_a_name_without_an_address_and_one_that_never_answers(net: _Net, monkeypatch: pytest.MonkeyPatch) -> None:
    access = Access(hosts=("*",), schemes=("http",), timeout=0.3)
    with pytest.raises(MediaError, match=r"is on nobody.example, which has no address"):
        load("http://nobody.example/x", access=access)
    release = threading.Event()
    monkeypatch.setattr(fetching.socket, "getaddrinfo", lambda *_, **__: release.wait(5) and [])
    with pytest.raises(LimitError, match=r"took over 0.3 s"):
        fetch("http://media.example/x", 100, access)
    release.set()
