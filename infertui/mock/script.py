"""When each piece of an answer is sent: a generator a call, which yields when it wants to go on and is resumed then.

The schedule is absolute: chunk i is due at start + ttft + i * gap, whatever happened to the chunks before it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from time import perf_counter_ns
from typing import TYPE_CHECKING, NamedTuple

from infertui.mock.reply import Answer, inside

if TYPE_CHECKING:
    from infertui.mock.connection import Connection
    from infertui.mock.server import Server

NEVER = -1  # yielded: wait until the client leaves
_MS = 1_000_000
_BLOCK = memoryview(b"x" * (64 << 10))
_BLOCKS = 512  # 32 MiB
_MIDWAY = frozenset(["reset", "close", "stall", "giant-line", "error-in-stream", "bad-json", "bad-chunk"])


class Call:
    """One request being answered, or waiting for its slot."""

    def __init__(self, server: Server, connection: Connection, answer: Answer) -> None:
        self.server = server
        self.connection = connection
        self.answer = answer
        self.dials = answer.ask.dials
        self.fault = answer.fault
        self.read_ns = connection.read_ns  # the whole request was here
        self.start_ns = 0
        self.begun = False  # headers are out
        self.opened = False  # and the role-only chunk
        self.over = False
        self.steps: Iterator[int] = iter(())

    def begin(self, length: int | None = None) -> None:
        if not self.begun:
            self.connection.send(self.headers(length))

    def headers(self, length: int | None = None) -> bytes:
        self.begun = True
        flood = [f"X-Flood-{n}: {'x' * 1000}" for n in range(2080)] if self.fault == "header-flood" else []
        return self.connection.begin(
            200,
            self.answer.api.kind if self.answer.ask.stream else "application/json",
            length=length,
            http10=self.dials.http10,
            keepalive_s=self.dials.keepalive_s,
            headers=flood,
        )

    def open(self) -> None:
        if not self.opened:
            self.opened = True
            self.begin()
            if self.dials.role_first:
                self.say(self.answer.api.role(self.answer))

    def say(self, line: bytes) -> None:
        if line:
            self.connection.send(self.connection.framed(line))

    def stamped(self, head: bytes, due: int, tail: bytes) -> bytes:
        now = perf_counter_ns()
        self.server.late(now - due)
        return b'%b%d,"due_ns":%d%b' % (head, now, due, tail)

    def token(self, head: bytes, due: int, tail: bytes) -> None:
        self.connection.send(self.connection.framed(self.stamped(head, due, tail)))


class Plan(NamedTuple):
    """The call's schedule in nanoseconds of the clock."""

    first: int
    gap: int

    def due(self, step: int) -> int:
        return self.first + step * self.gap


def script(call: Call) -> Iterator[int]:
    plan = Plan(call.start_ns + round(call.dials.ttft_ms * _MS), round(call.dials.gap_ms * _MS))
    if call.fault == "silent":
        yield NEVER
    if call.answer.ask.stream:
        yield from _streamed(call, plan)
    else:
        yield from _whole(call, plan)


def _streamed(call: Call, plan: Plan) -> Iterator[int]:
    answer, fault = call.answer, call.fault
    if call.dials.headers != "first_token" or fault in ("stall-first", "empty"):
        call.open()
    if fault == "stall-first":
        yield NEVER
    if fault == "empty":
        yield from _ending(call, call.start_ns)
        return
    if call.opened:
        yield from _comments(call, plan)
    tail = answer.api.tail()
    midway = fault in _MIDWAY
    drip_end = sent = dripped = 0
    for step, left, text, right, tokens in answer.chunks():
        due = max(plan.due(step), drip_end)
        if fault == "half-utf8" and (cut := inside(text)):
            yield max(call.start_ns, due - _MS)
            call.open()
            call.say(left + text[:cut])
            left, text = b"", text[cut:]
        yield due
        if not call.opened:
            call.open()
        if midway and sent >= call.dials.fault_after:
            midway = False
            if fault == "giant-line":
                _giant(call, call.stamped(left + text + right, due, b',"padding":"'), b'"' + tail)
                sent += tokens
                continue
            if (yield from _strike(call)):
                return
        if fault == "slow-drip" and dripped < 2:
            dripped += 1
            drip_end = yield from _drip(call, call.connection.framed(call.stamped(left + text + right, due, tail)), due)
        else:
            call.token(left + text + right, due, tail)
        sent += tokens
    end = max(plan.due(max(0, answer.steps - 1)), drip_end)
    yield end
    call.open()
    if midway:  # the answer was shorter than fault_after
        yield end + plan.gap
        if fault == "giant-line":
            _giant(call, answer.api.opening + b'{"choices":[],"padding":"', b'"' + tail)
        elif (yield from _strike(call)):
            return
    yield from _ending(call, end)


def _comments(call: Call, plan: Plan) -> Iterator[int]:
    count = call.dials.comments if call.answer.api.comments else 0
    for n in range(1, count + 1):
        yield call.start_ns + (plan.first - call.start_ns) * n // (count + 1)
        call.say(b": keepalive %d/%d\n\n" % (n, count))


def _strike(call: Call) -> Generator[int, None, bool]:
    """A fault in mid-reply; whether it was the end."""
    connection, api = call.connection, call.answer.api
    if call.fault == "stall":
        yield NEVER
    elif call.fault == "reset":
        connection.reset()
    elif call.fault == "close":
        connection.shut()
    elif call.fault == "error-in-stream":
        connection.finish(connection.framed(api.stream_error()))
    elif call.fault == "bad-chunk" and connection.chunked:
        connection.send(b"zz\r\n")
        connection.shut()
    else:
        if call.fault == "bad-json":
            call.say(api.opening + b'{"choices":[{"index":0,"delta":{"content":' + api.closing)
        return False
    return True


def _drip(call: Call, data: bytes, due: int) -> Generator[int, None, int]:
    for at in range(len(data)):
        if at:
            yield due + at * _MS
        call.connection.send(data[at : at + 1])
    return due + len(data) * _MS


def _giant(call: Call, head: bytes, tail: bytes) -> None:
    connection = call.connection
    size = len(head) + len(_BLOCK) * _BLOCKS + len(tail)
    connection.send(b"%x\r\n%b" % (size, head) if connection.chunked else head)
    for _ in range(_BLOCKS):
        connection.queue(_BLOCK)
    connection.queue(tail + b"\r\n" if connection.chunked else tail)


def _ending(call: Call, end: int) -> Iterator[int]:
    answer, api, connection = call.answer, call.answer.api, call.connection
    counts = answer.counts()
    late = call.dials.usage == "late" and answer.ask.include_usage and bool(counts and api.done)
    if call.dials.usage == "late" and not late:
        counts.pop("usage", None)
    rest = b""
    if api.done or call.fault != "no-done":
        rest = connection.framed(api.finish(answer, {} if late else counts))
    if late:
        if call.dials.usage_delay_ms:
            connection.send(rest)
            rest = b""
            yield end + round(call.dials.usage_delay_ms * _MS)
        rest += connection.framed(api.late_usage(answer, counts))
    if call.fault != "no-done":
        rest += connection.framed(api.done)
    connection.finish(rest)


def _whole(call: Call, plan: Plan) -> Iterator[int]:
    """The reply in one piece, when its last token is due. Faults in mid-reply strike at half of the body."""
    answer, connection, fault = call.answer, call.connection, call.fault
    if fault == "stall-first":
        call.begin(length=answer.tokens + 100)
        yield NEVER
    if fault == "bad-chunk":
        call.begin()
    due = call.start_ns if fault == "empty" else plan.due(max(0, answer.steps - 1))
    whole = answer.api.whole(answer)
    yield due
    if fault == "error-in-stream":
        body = answer.api.error(500, "mock: an error under status 200, as dialled", "server_error").body
    else:
        padding = b',"padding":"' + b"x" * len(_BLOCK) * _BLOCKS + b'"' if fault == "giant-line" else b""
        body = call.stamped(whole, due, padding + b"}")
    half = len(body) // 2
    if fault == "bad-json":
        body = body[:half]
    headers = b"" if call.begun else call.headers(length=len(body))
    if fault in ("reset", "close", "stall") or (fault == "bad-chunk" and connection.chunked):
        connection.send(headers + connection.framed(body[:half]))
        yield due + plan.gap
        yield from _strike(call)
        return
    if fault == "half-utf8" and (cut := inside(body)):
        connection.send(headers + body[:cut])
        yield due + _MS
        headers, body = b"", body[cut:]
    elif fault == "slow-drip":
        connection.send(headers)
        yield from _drip(call, body[:200], due)
        headers, body = b"", body[200:]
    connection.send(headers + body)
    connection.over()
