"""The timed path: one HTTP/1.1 exchange at a time on a connection, each socket read stamped before anything else.

A read is stamped, its HTTP framing is taken off, and its bytes are kept; what they say is decoded elsewhere and later.
`Exchange` is what came back: stamps, headers and body as they grow. Failures end an exchange with a kind and a
sentence; nothing here raises into the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import socket
import time
from array import array
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httptools
import msgspec

from infertui import __version__
from infertui.errors import UsageError

if TYPE_CHECKING:
    import ssl

MIB = 1 << 20
_HOST = re.compile(r"[\w.-]+|[0-9A-Fa-f:.]+(%\w+)?")  # a name, or an address of version 6


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait, in seconds, and how much to take, in bytes.

    The first token is watched by the driver, which knows what a token is; the rest here. `total_s` counts from the
    first byte sent; `idle_s` is the longest silence between two reads.
    """

    connect_s: float = 10.0
    first_byte_s: float = 600.0
    first_token_s: float = 600.0
    idle_s: float = 120.0
    total_s: float = 3600.0
    head_bytes: int = MIB // 4
    ahead_bytes: int = 8 * MIB  # a reply that is this far ahead of its decoding is not read on until that has caught up
    body_bytes: int = 64 * MIB


class Failure(Exception):
    """Why a call failed: a kind that can be counted, and one sentence for whoever reads it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message


class Target:
    """An address that calls are sent to: parsed and resolved once, so that neither is part of a measurement."""

    def __init__(self, url: str, api_key: str = "") -> None:
        text = url if "://" in url else f"http://{url}"
        if "@" in text:
            host = text.rpartition("@")[2]
            hint = "put the key in a variable: --api-key-env NAME"
            raise UsageError(f"the address of {host!r} holds a name or a password", hint)
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise UsageError(f"{url!r} is not an address: {error}", "write http://HOST:PORT") from None
        if port == 0:
            raise UsageError(f"{url!r} has the port 0", "write http://HOST:PORT")
        if parts.scheme not in ("http", "https") or not _HOST.fullmatch(parts.hostname or ""):
            raise UsageError(f"{url!r} is not an address of a server", "write http://HOST:PORT or https://HOST/PATH")
        if parts.query or parts.fragment or not re.fullmatch("[!-~]*", parts.path):
            hint = "give the address up to the path, without spaces, query or fragment"
            raise UsageError(f"{url!r} is not an address that calls can be sent to", hint)
        try:
            self.host = (parts.hostname or "").encode("idna").decode("ascii")
        except UnicodeError:
            raise UsageError(f"{url!r} has no name that a host can have", "write http://HOST:PORT") from None
        self.port = port or (443 if parts.scheme == "https" else 80)
        self.tls = parts.scheme == "https"
        path = parts.path.rstrip("/")
        for ending in ("/completions", "/chat", "/models", "/v1"):  # a full address of one call will do as well
            path = path.removesuffix(ending)
        self.prefix = path
        name = f"[{self.host}]" if ":" in self.host else self.host
        self.netloc = name if self.port == (443 if self.tls else 80) else f"{name}:{self.port}"
        self.url = f"{parts.scheme}://{self.netloc}{self.prefix}"
        self._head = f"Host: {self.netloc}\r\nUser-Agent: infertui/{__version__}\r\n"
        if api_key:
            if not api_key.isascii() or not api_key.isprintable():
                raise UsageError(
                    "the API key holds characters that no HTTP header can carry", "look for a line end in it"
                )
            self._head += f"Authorization: Bearer {api_key}\r\n"
        # Whether a connection may serve a second call: some servers promise that and close (xllamacpp after a stream).
        self.keeps = True
        self._places: list[tuple[Any, ...]] = []
        self._context: ssl.SSLContext | None = None

    def request(self, path: str, body: bytes) -> bytes:
        head = f"POST {self.prefix}{path} HTTP/1.1\r\n{self._head}Content-Type: application/json\r\n"
        return f"{head}Accept: */*\r\nContent-Length: {len(body)}\r\n\r\n".encode("ascii") + body

    async def open(self, limits: Limits) -> Connection:
        """A connection ready for its first request, or a Failure."""
        asked = time.perf_counter_ns()
        try:
            async with asyncio.timeout(limits.connect_s):
                connection = await self._open(limits)
        except TimeoutError:
            raise Failure("timeout-connect", f"no connection to {self.netloc} within {limits.connect_s:g} s") from None
        connection.opened_ns = time.perf_counter_ns() - asked
        return connection

    async def _open(self, limits: Limits) -> Connection:
        loop = asyncio.get_running_loop()
        if self.tls and self._context is None:
            import ssl

            self._context = ssl.create_default_context()
        if not self._places:
            try:
                found = await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
            except OSError as error:
                raise Failure("unreachable", f"{self.host}: {error.strerror or error}") from None
            self._places = [place[4] for place in found]
        failure = Failure("unreachable", f"{self.host} has no address")
        for place in list(self._places):
            try:
                _, connection = await loop.create_connection(
                    lambda: Connection(loop, limits),
                    place[0],
                    place[1],
                    ssl=self._context,
                    server_hostname=self.host if self.tls else None,
                )
            except OSError as error:
                failure = _unopened(error, self.netloc)
            else:
                self._places.sort(key=lambda other: other != place)  # the one that answered is tried first from now on
                return connection
        raise failure


def _unopened(error: OSError, netloc: str) -> Failure:
    if isinstance(error, ConnectionRefusedError):
        return Failure("refused", f"{netloc} refused the connection")
    if isinstance(error, ConnectionError):
        return Failure("reset", f"{netloc} dropped the connection while it was opened")
    if "SSL" in type(error).__name__:
        return Failure("tls", f"{netloc}: {error.strerror or error}")
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return Failure("unreachable", "out of file descriptors: raise `ulimit -n` or lower --concurrency")
    return Failure("unreachable", f"{netloc}: {error.strerror or error}")


class Exchange:
    """One request and what came back. Stamps are perf_counter_ns; 0 means that it did not happen."""

    __slots__ = (
        "announced",
        "body",
        "bounded",
        "close_after",
        "complete",
        "done",
        "end_ns",
        "failure",
        "first_byte_ns",
        "head_ns",
        "headers",
        "on_body",
        "parser",
        "raw_bytes",
        "read_end",
        "read_ns",
        "send_ns",
        "status",
        "taken",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.send_ns = self.first_byte_ns = self.head_ns = self.end_ns = 0
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = bytearray()
        self.read_ns = array("q")  # when each read came …
        self.read_end = array("q")  # … and how long the body was after it
        self.raw_bytes = 0
        self.taken = 0  # how much of the body is decoded; only a reply that is decoded as it grows can be ahead of it
        self.bounded = False  # the body's end is known from a length or from chunks, not from the connection's end
        self.close_after = False
        self.announced = -1.0  # seconds that the server promised to keep the connection, -1: not said
        self.complete = False
        self.failure: Failure | None = None
        self.done: asyncio.Future[None] = loop.create_future()
        self.on_body = self.body.extend  # the parser calls it: a C function, no Python frame a token
        self.parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)

    # What httptools calls.

    def on_message_begin(self) -> None:
        if self.complete:  # more than was asked for: what came is kept as it is, and the connection is not used again
            raise ValueError("a second reply")

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self.headers[name] = self.headers[name] + b", " + value if name in self.headers else value

    def on_headers_complete(self) -> None:
        assert self.parser is not None
        self.status = self.parser.get_status_code()
        if self.status < 200:
            return
        headers = self.headers
        connection = headers.get(b"connection", b"").lower()
        chunked = b"chunked" in headers.get(b"transfer-encoding", b"").lower()
        self.bounded = chunked or b"content-length" in headers or self.status in (204, 304)
        old = self.parser.get_http_version() == "1.0" and b"keep-alive" not in connection
        self.close_after = old or b"close" in connection or not self.bounded
        for item in headers.get(b"keep-alive", b"").split(b","):
            key, _, value = item.strip().partition(b"=")
            if key.lower() == b"timeout":
                with contextlib.suppress(ValueError):
                    self.announced = float(value)

    def on_message_complete(self) -> None:
        if self.status < 200:  # 100 Continue and the like: the reply is still to come
            self.status = 0
            self.headers.clear()
        else:
            self.complete = True

    @property
    def content_type(self) -> str:
        return self.headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")


class Connection(asyncio.Protocol):
    """An open connection: `start` sends a request on it and gives the exchange, whose `done` ends when it has ended."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits) -> None:
        self.loop = loop
        self.limits = limits
        self.exchange: Exchange | None = None
        self.used = 0
        self.opened_ns = 0  # what opening it took
        self.lost = False
        self.idle_since_ns = time.perf_counter_ns()
        self.keep_s = -1.0
        self.paused = False
        self.pauses = 0
        self._timer: asyncio.TimerHandle | None = None

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.encrypted = transport.get_extra_info("sslcontext") is not None
        self.fileno: int = transport.get_extra_info("socket").fileno()

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter_ns()  # the stamp comes first
        exchange = self.exchange
        if exchange is None:  # nobody asked: whatever it is, it must not be taken for the next reply
            self.close()
            return
        try:
            exchange.parser.feed_data(data)  # type: ignore[union-attr]  # it is there until the exchange has ended
        except (httptools.HttpParserError, ValueError) as error:
            if not exchange.complete:
                self._fail("bad-stream", f"the server broke HTTP: {error}", now)
                return
            exchange.close_after = True
        exchange.read_ns.append(now)
        size = len(exchange.body)
        exchange.read_end.append(size)
        if not exchange.head_ns:
            self._headers_grew(exchange, len(data), now)
        if exchange.end_ns:
            return
        if exchange.complete:
            self._finish(exchange, now)
        elif size > self.limits.body_bytes:
            self._fail("bad-stream", f"the reply is larger than {self.limits.body_bytes // MIB} MiB", now)
        elif exchange.taken and size - exchange.taken > self.limits.ahead_bytes and not self.paused:
            self.paused = True
            self.transport.pause_reading()

    def eof_received(self) -> None:
        now = time.perf_counter_ns()
        exchange = self.exchange
        if exchange is None:
            return
        if exchange.status and not exchange.bounded:
            exchange.complete = True
            self._finish(exchange, now)
        elif not exchange.first_byte_ns:
            self._fail("reset", "the server closed the connection before the first byte", now)
        else:
            self._fail("truncated", "the server closed the connection before the reply's end", now)

    def connection_lost(self, error: Exception | None) -> None:
        now = time.perf_counter_ns()
        self.lost = True
        if self.exchange is None:
            return
        if error is None:
            self.eof_received()
        else:
            self._fail("reset", f"the connection broke: {getattr(error, 'strerror', None) or error}", now)

    # What the driver calls.

    def start(self, request: bytes) -> Exchange:
        """Send `request`. The stamp is taken as its first byte is handed over."""
        exchange = Exchange(self.loop)
        self.exchange = exchange
        self.used += 1
        exchange.send_ns = time.perf_counter_ns()
        sent = self._send_now(request)
        if sent < len(request):
            self.transport.write(request[sent:] if sent else request)
        self._watch()
        return exchange

    def _send_now(self, request: bytes) -> int:
        """Hand over what the socket takes at once: uvloop's transports write only at the end of the loop's turn."""
        if self.encrypted:
            return 0
        try:
            return os.write(self.fileno, request)
        except OSError:  # full, or broken: the transport finds out which
            return 0

    def fail(self, exchange: Exchange, kind: str, message: str) -> None:
        """End an exchange from outside (a stop, a first token that did not come); the socket is closed with it."""
        if self.exchange is exchange:
            self._fail(kind, message, time.perf_counter_ns())

    def caught_up(self) -> None:
        """What had come is decoded: read on, if that was waited for."""
        exchange = self.exchange
        if self.paused and exchange is not None and len(exchange.body) - exchange.taken < self.limits.ahead_bytes // 2:
            self.paused = False
            self.pauses += 1
            self.transport.resume_reading()

    @property
    def reusable(self) -> bool:
        """Whether another request may go over it: open, and not idle for as long as the server keeps it."""
        if self.lost or self.exchange is not None or self.transport.is_closing():
            return False
        # short of its end: a request that crosses the server's close is lost
        return self.keep_s < 0 or self.idle_ns < self.keep_s * 0.8e9

    @property
    def idle_ns(self) -> int:
        return time.perf_counter_ns() - self.idle_since_ns

    def close(self) -> None:
        if not self.lost:
            self.transport.abort()

    # Ends.

    def _headers_grew(self, exchange: Exchange, size: int, now: int) -> None:
        if not exchange.first_byte_ns:
            exchange.first_byte_ns = now
        exchange.raw_bytes += size
        if exchange.status >= 200:
            exchange.head_ns = now
        elif exchange.raw_bytes > self.limits.head_bytes:
            self._fail("bad-stream", f"the reply's headers are larger than {self.limits.head_bytes // 1024} KiB", now)

    def _finish(self, exchange: Exchange, now: int) -> None:
        exchange.end_ns = now
        exchange.parser = (
            None  # it holds the exchange's methods: a circle that would keep every body until a collection
        )
        self.exchange = None
        self.idle_since_ns = now
        self.keep_s = exchange.announced
        if self._timer is not None:
            self._timer.cancel()
        if exchange.close_after:
            self.close()
        if not exchange.done.done():
            exchange.done.set_result(None)

    def _fail(self, kind: str, message: str, now: int) -> None:
        exchange = self.exchange
        if exchange is None:
            return
        exchange.failure = Failure(kind, message)
        exchange.close_after = True
        self._finish(exchange, now)

    def _watch(self) -> None:
        """One lazy timer: nothing is re-armed on a read, it looks at the last one when it fires."""
        exchange = self.exchange
        if exchange is None:
            return
        limits, now = self.limits, time.perf_counter_ns()
        total = exchange.send_ns + int(limits.total_s * 1e9)
        if exchange.read_ns:
            silent, kind = exchange.read_ns[-1] + int(limits.idle_s * 1e9), "timeout-idle"
            message = f"nothing came for {limits.idle_s:g} s"
        else:
            silent, kind = exchange.send_ns + int(limits.first_byte_s * 1e9), "timeout-first-byte"
            message = f"no byte came within {limits.first_byte_s:g} s"
        if now >= total:
            self._fail("timeout-total", f"the reply was not whole after {limits.total_s:g} s", now)
        elif now >= silent and not self.paused:
            self._fail(kind, message, now)
        else:
            # no later than the idle time from now: the first read may have come meanwhile
            next_ns = min(total, silent, now + int(limits.idle_s * 1e9))
            self._timer = self.loop.call_later(max(0, next_ns - now) / 1e9 + 0.001, self._watch)
