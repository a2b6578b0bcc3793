"""One client's connection: requests in, framed bytes out, none of it ever waiting for the client."""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Sequence
from http import HTTPStatus
from selectors import EVENT_READ, EVENT_WRITE
from time import perf_counter_ns
from typing import TYPE_CHECKING

import httptools

if TYPE_CHECKING:
    from infertui.mock.script import Call
    from infertui.mock.server import Server

BODY_LIMIT = 16 << 20
_AHEAD_LIMIT = 1 << 20
_READ_SIZE = 256 << 10
_FLUSH_SIZE = 256 << 10  # a visit; then other connections get their turn
_LINGER_S = 2.0


class Connection:
    def __init__(self, server: Server, sock: socket.socket) -> None:
        self.server = server
        self.sock: socket.socket | None = sock
        self.call: Call | None = None
        self.read_ns = 0  # when the latest bytes were read
        self.keepalive_s = server.dials.keepalive_s
        self.idle_since = perf_counter_ns()  # 0: a request has begun
        self.handshake = server.tls is not None
        self.body = b""
        self.complete = False
        self._mask = EVENT_READ
        self._out: deque[bytes | memoryview] = deque()
        self._ahead = b""  # what came while a reply was still going out
        self._chunked = False
        self._closing = False  # the reply is over, the rest is to be flushed
        self._draining = False  # what still comes is thrown away: closing on unread bytes would reset the reply
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._begin()

    # -- in ------------------------------------------------------------------------------------------------------------

    def ready(self, mask: int) -> None:
        if self.handshake:
            self._shake()
            return
        if mask & EVENT_WRITE:
            self._flush()
        if mask & EVENT_READ and self.sock is not None:
            self._read()

    def _shake(self) -> None:
        import ssl

        sock = self.sock
        assert isinstance(sock, ssl.SSLSocket)
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            self._watch(EVENT_READ)
        except ssl.SSLWantWriteError:
            self._watch(EVENT_READ | EVENT_WRITE)
        except OSError:
            self.lose()
        else:
            self.handshake = False
            self._watch(EVENT_READ)
            self._read()

    def _read(self) -> None:
        assert self.sock is not None
        try:
            data = self.sock.recv(_READ_SIZE)
            while self.server.tls and data and (more := self.sock.pending()):  # type: ignore[attr-defined]
                data += self.sock.recv(more)  # what TLS holds already, no selector tells of
        except self.server.again:
            return
        except OSError:
            self.lose()
            return
        self.read_ns = perf_counter_ns()
        if not data:
            self.lose()
        elif self._draining or self._closing:
            pass
        elif self.call is not None:
            self._ahead += data
            if len(self._ahead) > _AHEAD_LIMIT:
                self.lose()
        else:
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        if self._parser is None:
            return
        self.idle_since = 0
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.server.turn_away(self, 400, "no upgrade is offered")
        except httptools.HttpParserError:
            if self.sock is not None and not self._draining:
                self.server.turn_away(self, 400, "this is not HTTP")
        else:
            if self.complete and self.call is None and not self._closing and not self._draining:
                self.server.requested(self)

    def _begin(self) -> None:
        self.url = b""
        self.method = b""
        self.fields: dict[bytes, bytes] = {}
        self.http10 = False
        self.keep = True
        self._parts: list[bytes] = []
        self._size = 0

    def on_message_begin(self) -> None:
        if self.complete:
            self.keep = False  # a second request in the same breath goes unanswered, which the close tells
        else:
            self._begin()

    def on_url(self, url: bytes) -> None:
        if not self.complete:
            self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.complete:
            self.fields[name.lower()] = value

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        length = self.fields.get(b"content-length", b"0")
        if length.isdigit() and int(length) > BODY_LIMIT:
            self._too_large()
        elif self.fields.get(b"expect", b"").lower() == b"100-continue" and not self.complete:
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        if self.complete or self._draining:
            return
        self._size += len(body)
        if self._size > BODY_LIMIT:
            self._too_large()
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        if self._draining or self.complete:
            return
        assert self._parser is not None
        self.method = self._parser.get_method()
        self.http10 = self._parser.get_http_version() == "1.0"
        self.keep = self._parser.should_keep_alive()
        self.body = b"".join(self._parts)
        self._parts = []
        self.complete = True

    def _too_large(self) -> None:
        if not self._draining:
            self._parts = []
            self.server.turn_away(self, 413, f"a request of more than {BODY_LIMIT >> 20} MiB is not read")

    # -- out -----------------------------------------------------------------------------------------------------------

    def begin(
        self,
        status: int,
        kind: str,
        *,
        length: int | None,
        http10: bool,
        keepalive_s: float,
        headers: Sequence[str] = (),
    ) -> bytes:
        """The reply's headers, and from here on its framing. `length` None: chunked, or until the connection's end."""
        http10 = http10 or self.http10
        self.keepalive_s = keepalive_s
        self.keep = self.keep and keepalive_s > 0 and not http10
        self._chunked = length is None and not http10
        lines = [f"HTTP/1.{0 if http10 else 1} {status} {HTTPStatus(status).phrase}", "Server: infertui-mock"]
        lines += [f"Content-Type: {kind}", "Cache-Control: no-cache", *headers]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        elif self._chunked:
            lines.append("Transfer-Encoding: chunked")
        lines.append(f"Keep-Alive: timeout={int(keepalive_s)}" if self.keep else "Connection: close")
        return "\r\n".join([*lines, "\r\n"]).encode()

    @property
    def chunked(self) -> bool:
        return self._chunked

    def framed(self, body: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(body), body) if self._chunked and body else body

    def send(self, data: bytes) -> None:
        """Now if the client takes it, else as soon as it does."""
        sock = self.sock
        if sock is None:
            return
        if self._out:
            self._out.append(data)
            return
        try:
            sent = sock.send(data)
        except self.server.again:
            sent = 0
        except OSError:
            self.lose()
            return
        if sent < len(data):
            self.queue(memoryview(data)[sent:])

    def queue(self, data: bytes | memoryview) -> None:
        """For after what waits already, in shares, so that much of it holds up nobody."""
        self._out.append(data)
        self._watch(EVENT_READ | EVENT_WRITE)

    def _flush(self) -> None:
        room = _FLUSH_SIZE
        out = self._out
        while out and room > 0 and self.sock is not None:
            data = out[0]
            try:
                sent = self.sock.send(data)
            except self.server.again:
                return
            except OSError:
                self.lose()
                return
            room -= sent
            if sent == len(data):
                out.popleft()
            else:
                out[0] = memoryview(data)[sent:]
        if not out:
            self._watch(EVENT_READ)
            if self._closing:
                self.close()

    def finish(self, rest: bytes = b"") -> None:
        """The reply ends with `rest`, framed already."""
        if self._chunked:
            rest += b"0\r\n\r\n"
        if rest:
            self.send(rest)
        self.over()

    def over(self) -> None:
        """The next request, or the end."""
        self.call = None
        self.complete = False
        self.body = b""
        if self.sock is None:
            return
        if not self.keep:
            self.shut()
            return
        self.idle_since = perf_counter_ns()
        self.server.idle(self)
        if self._ahead:
            ahead, self._ahead = self._ahead, b""
            self.read_ns = perf_counter_ns()
            self._feed(ahead)

    def shut(self) -> None:
        """Close, after what still waits to be sent."""
        if self._out:
            self._closing = True
        else:
            self.close()

    def linger(self) -> None:
        """Send the end and read on for a while: the client may still be sending, and should see the reply."""
        self._draining = True
        self.call = None
        self.server.later(perf_counter_ns() + int(_LINGER_S * 1e9), self.close)
        if self.sock is not None:
            try:
                self.sock.shutdown(socket.SHUT_WR)
            except OSError:
                self.close()

    def reset(self) -> None:
        if self.sock is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close()

    def lose(self) -> None:
        """The client has left."""
        call, self.call = self.call, None
        self.close()
        if call is not None:
            self.server.left(call)

    def close(self) -> None:
        sock, self.sock = self.sock, None
        self.call = None
        if sock is not None:
            self.server.forget(self, sock)
            sock.close()
            self._parser = None  # it holds the connection: together they would outlive their use
            self._out.clear()

    def _watch(self, mask: int) -> None:
        if mask != self._mask and self.sock is not None:
            self._mask = mask
            self.server.watch(self, self.sock, mask)
