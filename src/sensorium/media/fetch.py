"""A URL's bytes, fetched only from an allowed, public host, whose address is looked up once and kept to.

What is guarded against: reaching private services through a URL, a redirect or a name that resolves to them (SSRF), a name
that changes its address between check and use (rebinding), and bodies or servers without end.
"""

from __future__ import annotations

import http.client
import ipaddress
import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import quote, urljoin, urlsplit

from sensorium.errors import AccessError, LimitError, MediaError
from sensorium.media.source import Access

_NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
_GLOBAL6 = ipaddress.ip_network("2000::/3")
_TUNNELS = (ipaddress.ip_network("2002::/16"), ipaddress.ip_network("2001::/32"))
_RELAY4 = ipaddress.ip_network("192.88.99.0/24")
_PORTS = {"http": 80, "https": 443}
_REDIRECTS = (301, 302, 303, 307, 308)
_CHUNK = 1 << 16
_SAFE = "!#$%&'()*+,/:;=?@[]~"


class _Target(NamedTuple):
    """One URL taken apart. `name` is what messages call it: without its query, which may hold a secret."""

    scheme: str
    host: str
    port: int
    path: str
    name: str


class _Pinned(http.client.HTTPConnection):
    """A connection to one address, whatever the name resolves to now; TLS is verified against the name."""

    def __init__(self, target: _Target, address: str, timeout: float) -> None:
        super().__init__(target.host, target.port, timeout=timeout)
        self.default_port = _PORTS[target.scheme]
        self._target, self._address = target, address

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self._target.port), self.timeout)
        if self._target.scheme == "https":
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self._target.host)


def fetch(url: str, limit: int, access: Access) -> tuple[str, bytes]:
    """The bytes behind a URL.

    Args:
        limit: bytes at most; checked against the declared length first, then while reading.

    Returns:
        The final URL without its query, and the body.

    Raises:
        AccessError: scheme, host, port, address or redirect not allowed. LimitError: too many bytes, or too slow.
        MediaError: the server cannot be reached or answers with anything but 200.
    """
    end = time.monotonic() + access.timeout
    target = _target(url, access)
    for _ in range(access.redirects + 1):
        address = _address(target, access, end)
        moved, body = _get(target, address, limit, end, access)
        if moved is None:
            return target.name, body
        following = _target(urljoin(f"{target.scheme}://{_netloc(target)}{target.path}", moved), access)
        if target.scheme == "https" and following.scheme != "https":
            raise AccessError(target.name, f"redirects from https to {following.scheme}", "Use the final URL, if you trust it")
        target = following
    raise AccessError(target.name, f"redirects more than {access.redirects} times", "Use the final URL")


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet: not private, loopback, link-local, shared, reserved, multicast,
    documentation, nor a way to such an IPv4 address through IPv6 (mapped, compatible, NAT64; tunnels are refused whole).
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if any(ip in network for network in _NAT64):
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        return ip in _GLOBAL6 and ip.is_global and not any(ip in network for network in _TUNNELS)
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and ip not in _RELAY4


def _target(url: str, access: Access) -> _Target:
    shown = url.partition("?")[0].partition("#")[0][:200]
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").removesuffix(".").encode("idna").decode("ascii") if "%" not in parts.netloc else ""
    except ValueError as error:
        raise AccessError(shown, f"is no URL ({error})", "Write https://host/path") from error
    scheme = parts.scheme.lower()
    if scheme not in access.schemes or scheme not in _PORTS:
        allowed = ", ".join(access.schemes) or "none"
        raise AccessError(
            shown, f"has the scheme {scheme!r}; allowed: {allowed}", "Use an allowed one, or add it to Access.schemes"
        )
    if "@" in parts.netloc or not host:
        raise AccessError(shown.partition("//")[0] + "//...", "has a user name in it, or no host", "Write https://host/path")
    target = _Target(scheme, host, port or _PORTS[scheme], "", "")
    if not any(_allows(pattern.lower(), target) for pattern in access.hosts):
        given = f"{host}:{port}" if port and port != _PORTS[scheme] else host
        allowed = ", ".join(access.hosts) or "none"
        raise AccessError(
            shown, f"is on {given}; allowed hosts: {allowed}", "Download the file yourself, or add it to Access.hosts"
        )
    path = quote(parts.path or "/", safe=_SAFE) + (f"?{quote(parts.query, safe=_SAFE)}" if parts.query else "")
    return target._replace(path=path, name=f"{scheme}://{_netloc(target)}{parts.path[:150]}")


def _allows(pattern: str, target: _Target) -> bool:
    name, colon, port = pattern.partition(":")
    if target.port != (int(port) if colon and port.isdecimal() else _PORTS[target.scheme]):
        return False
    return name == "*" or name == target.host or (name.startswith("*.") and target.host.endswith(name[1:]))


def _netloc(target: _Target) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    return host if target.port == _PORTS[target.scheme] else f"{host}:{target.port}"


def _address(target: _Target, access: Access, end: float) -> str:
    found = _resolve(target, access, end)
    for address in found:
        if not is_public(address):
            problem = f"is on {target.host}, whose address {address} is not a public one"
            raise AccessError(target.name, problem, "Download the file yourself and give its path")
    return found[0]


def _resolve(target: _Target, access: Access, end: float) -> list[str]:
    answers: queue.Queue[list[str] | OSError] = queue.Queue()

    def look_up() -> None:
        try:
            rows = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
            answers.put([str(row[4][0]) for row in rows])
        except (OSError, UnicodeError) as error:
            answers.put(error if isinstance(error, OSError) else OSError(str(error)))

    threading.Thread(target=look_up, daemon=True, name="sensorium-resolve").start()
    try:
        answer = answers.get(timeout=max(end - time.monotonic(), 0.001))
    except queue.Empty as error:
        raise _slow(target, access) from error
    if isinstance(answer, OSError) or not answer:
        raise MediaError(target.name, f"is on {target.host}, which has no address", "Check the URL") from (
            answer if isinstance(answer, OSError) else None
        )
    return answer


def _get(target: _Target, address: str, limit: int, end: float, access: Access) -> tuple[str | None, bytes]:
    connection = _Pinned(target, address, max(end - time.monotonic(), 0.001))
    try:
        with _stopping(connection, end):
            connection.request("GET", target.path, headers={"User-Agent": "sensorium", "Accept-Encoding": "identity"})
            response = connection.getresponse()
            if response.status in _REDIRECTS and (moved := response.getheader("Location")):
                return moved, b""
            _check_answer(target, response, limit)
            body = _read(target, response, limit)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if time.monotonic() >= end:
            raise _slow(target, access) from error
        reason = str(error) or type(error).__name__
        raise MediaError(
            target.name, f"cannot be fetched ({reason})", "Check the URL, or download the file yourself"
        ) from error
    finally:
        connection.close()
    if time.monotonic() >= end:
        raise _slow(target, access)
    return None, body


@contextmanager
def _stopping(connection: _Pinned, end: float) -> Iterator[None]:
    def stop() -> None:
        try:
            connection.sock.shutdown(socket.SHUT_RDWR)
        except (AttributeError, OSError):
            return

    timer = threading.Timer(max(end - time.monotonic(), 0), stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _check_answer(target: _Target, response: http.client.HTTPResponse, limit: int) -> None:
    if response.status != 200:
        raise MediaError(target.name, f"was answered with {response.status} {response.reason}", "Check the URL")
    coding = response.getheader("Content-Encoding", "identity")
    if coding.lower() != "identity":
        raise MediaError(target.name, f"is sent in the encoding {coding!r}", "Download the file yourself and give its path")
    declared = response.getheader("Content-Length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(target, int(declared), limit)


def _read(target: _Target, response: http.client.HTTPResponse, limit: int) -> bytes:
    body = bytearray()
    while piece := response.read1(_CHUNK):
        body += piece
        if len(body) > limit:
            raise _too_large(target, len(body), limit)
    if response.length:
        raise MediaError(target.name, f"broke off with {response.length:,} bytes missing", "Try again")
    return bytes(body)


def _too_large(target: _Target, size: int, limit: int) -> LimitError:
    return LimitError(target.name, f"has {size:,} bytes or more, over the limit of {limit:,}", "Raise Limits.bytes")


def _slow(target: _Target, access: Access) -> LimitError:
    return LimitError(target.name, f"took over {access.timeout:g} s to fetch, the limit", "Try again, or raise Access.timeout")
