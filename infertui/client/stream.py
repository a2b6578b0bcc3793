"""Bytes of a reply to tokens: lines of SSE or NDJSON, decoded in slices so that no stamp waits for a parser.

A token belongs to the read that completed its line; `Reply.token_end` holds where in the body that line ended, and
`Reads` turns it into times. The decoder takes whatever part of the body is there, so that the same code serves the live
view and the final result, and any split of the bytes gives the same tokens.
"""

from __future__ import annotations

import re
import time
from array import array
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import msgspec

Channel = Literal["answer", "reasoning", "tool"]

LINE_BYTES = 4 << 20
LATEST_US = 0xFFFF_FFFF  # of what is kept in 32 bits
HELD_LINES = 64  # of one event's data
_FIELD = re.compile(rb"[A-Za-z][\w-]*(:|$)")
SLICE_LINES = 32  # lines between two looks at the clock


class BadStream(Exception):
    """What came is not what the protocol promises."""


class Reply:
    """What one reply has said so far."""

    __slots__ = (
        "answer",
        "answer_from",
        "bad",
        "cached",
        "comments",
        "done",
        "error",
        "fingerprint",
        "finish",
        "output",
        "prompt",
        "reasoned",
        "reasoning",
        "response_id",
        "sent_ns",
        "server",
        "token_end",
        "token_size",
        "tool",
    )

    def __init__(self) -> None:
        self.answer: list[str] = []
        self.reasoning: list[str] = []
        self.tool: list[str] = []
        self.token_end = array("q")  # where in the body the line of each piece of text ended
        self.token_size = array("l")  # tokens in the piece where the server says so, else 0
        self.sent_ns = array("q")  # when a server that stamps its pieces (our mock does) handed each to its socket
        self.answer_from = -1  # the first piece that is the answer's
        self.prompt: int | None = None
        self.cached: int | None = None
        self.output: int | None = None  # from `usage`
        self.reasoned: int | None = None
        self.server: dict[str, float] = {}  # the server's own counters and clocks, in our words
        self.finish: str | None = None
        self.done = False  # the protocol's last word came
        self.comments = 0
        self.error = ""  # what the server reported inside a reply that began well
        self.bad = ""
        self.response_id = ""
        self.fingerprint = ""

    def token(self, channel: Channel, text: str, end: int, size: int = 0, sent_ns: int | None = None) -> None:
        """A piece of text on a channel. Empty ones are no tokens: role chunks and keep-alives have them."""
        if not text:
            return
        if channel == "answer":
            self.answer.append(text)
        elif channel == "reasoning":
            self.reasoning.append(text)
        else:
            self.tool.append(text)
        if self.answer_from < 0 and channel != "reasoning":
            self.answer_from = len(self.token_end)
        self.token_end.append(end)
        self.token_size.append(size)
        if sent_ns is not None and 0 <= sent_ns < 1 << 63:
            self.sent_ns.append(sent_ns)

    @property
    def text(self) -> str:
        """The answer, and the tool calls after it."""
        return "\n".join(part for part in (_joined(self.answer), _joined(self.tool)) if part)

    @property
    def thought(self) -> str:
        return _joined(self.reasoning)


def _joined(parts: list[str]) -> str:
    """Pieces together. Halves of a character that a server sent in two pieces find each other again here."""
    text = "".join(parts)
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


class Shape(Protocol):
    """What a decoder needs to know of an API: the type of one line's payload, and how it changes the reply."""

    type: type[Any]

    def take(self, chunk: Any, end: int, reply: Reply) -> None: ...


class Decoder:
    """Lines of a growing body into a reply. `framing` is sse or ndjson."""

    def __init__(self, framing: Literal["sse", "ndjson"], shape: Shape, reply: Reply) -> None:
        self.sse = framing == "sse"
        self.shape = shape
        self._decode = msgspec.json.Decoder(shape.type).decode
        self.reply = reply
        self._at = 0  # where the next line begins
        self._seen = 0  # how far it was searched for its end
        self._held = bytearray()  # data lines of an event that make sense only together
        self._held_lines = 0
        self._event = b""

    @property
    def taken(self) -> int:
        """How much of the body is decoded."""
        return self._at

    def feed(self, body: bytearray, stop_ns: int = 0, final: bool = False) -> bool:
        """Decode what is there, until about `stop_ns` (0: all of it). True when nothing whole is left."""
        # This loop is most of what a token costs after its read, hence the local names and the straight way for the
        # common line: an event of one `data:` line that is an object.
        reply, sse, find, starts = self.reply, self.sse, body.find, body.startswith
        decode, take = self._decode, self.shape.take
        at, seen, left = self._at, self._seen, SLICE_LINES
        if sse and not at and starts(b"\xef\xbb\xbf"):
            at = seen = 3  # a byte order mark is no part of the first line
        try:
            while not reply.bad:
                end = find(b"\n", seen)
                if sse:
                    carriage = find(b"\r", seen, end if end >= 0 else len(body))
                    # one at the very end of what has come may be the first half of \r\n
                    if carriage >= 0 and (carriage + 1 < len(body) or final):
                        end = carriage
                if end - at > LINE_BYTES or (end < 0 and len(body) - at > LINE_BYTES):
                    raise BadStream(f"a line is longer than {LINE_BYTES >> 20} MiB")
                if sse and starts(b"data: {", at) and end >= 0 and not self._held and not self._event:
                    data = body[at + 6 : end]
                    at = seen = end + 2 if starts(b"\r\n", end) else end + 1
                    try:
                        take(decode(data), at, reply)
                    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                        self._payload(data, at, joinable=True)
                    if not self._held and starts(b"\n", at):  # the empty line that ends the event
                        at = seen = at + 1
                elif end >= 0 or (final and at < len(body)):
                    line = body[at : end if end >= 0 else len(body)]
                    at = seen = len(body) if end < 0 else end + 2 if starts(b"\r\n", end) else end + 1
                    self._line(line, at)
                else:
                    seen = max(at, len(body) - 1)
                    return True
                left -= 1
                if not left:
                    left = SLICE_LINES
                    if stop_ns and time.perf_counter_ns() >= stop_ns:
                        return False
        except BadStream as error:
            reply.bad = str(error)
        finally:
            self._at, self._seen = at, seen
        return True

    def _line(self, line: bytearray, end: int) -> None:
        if not self.sse:
            if line.strip():
                self._payload(line, end, joinable=False)
        elif line.startswith(b"data:"):
            del line[: 6 if line.startswith(b"data: ") else 5]
            if line.strip() == b"[DONE]":
                self.reply.done = True
            elif line:
                self._payload(line, end, joinable=True)
        elif not line:
            held, failed = self._held, self._event == b"error"
            self._held, self._held_lines, self._event = bytearray(), 0, b""
            if failed:
                self.reply.error = error_text(bytes(held)) or "an error without words"
            elif held:
                raise BadStream(f"not JSON: {_excerpt(held)}")
        elif line.startswith(b":"):
            self.reply.comments += 1
        elif line.startswith(b"event:"):
            self._event = bytes(line[6:].strip())
        elif line.startswith(b"error:"):  # older llama.cpp servers
            self.reply.error = error_text(bytes(line[6:]))
        elif not _FIELD.match(line):  # fields that nobody knows are to be ignored
            raise BadStream(f"not a line of an event stream: {_excerpt(line)}")

    def _payload(self, data: bytearray, end: int, joinable: bool) -> None:
        if self._held:
            data = self._held + b"\n" + data
            self._held = bytearray()
        if self._event == b"error":
            self._hold(data)
            return
        try:
            self.shape.take(self._decode(data), end, self.reply)
        except msgspec.ValidationError as error:
            raise BadStream(f"not a chunk of this API ({error}): {_excerpt(data)}") from None
        except UnicodeDecodeError:
            self.shape.take(self._decode_halves(data), end, self.reply)
        except RecursionError:
            raise BadStream(f"nested too deep: {_excerpt(data)}") from None
        except msgspec.DecodeError:
            if not joinable:
                raise BadStream(f"not JSON: {_excerpt(data)}") from None
            self._hold(data)

    def _hold(self, data: bytearray) -> None:
        """An event's data may be spread over several lines; it is looked at again with each."""
        self._held_lines += 1
        if self._held_lines > HELD_LINES or len(data) > LINE_BYTES:
            raise BadStream(f"not JSON: {_excerpt(data)}")
        self._held = data

    def _decode_halves(self, data: bytearray) -> Any:
        """A line with bytes that are no UTF-8: half a character, perhaps, whose other half the next line brings."""
        import json

        try:
            value = json.loads(data.decode("utf-8", "surrogateescape"))
            return msgspec.convert(value, self.shape.type)
        except (ValueError, msgspec.ValidationError):
            raise BadStream(f"not JSON: {_excerpt(data)}") from None


def _excerpt(data: bytes | bytearray) -> str:
    return repr(bytes(data[:80]))[1:]


def error_text(data: bytes) -> str:
    """What a server says went wrong, out of whatever form it chose: OpenAI's, Ollama's, FastAPI's, a page, a line."""
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = data[:20_000].decode("utf-8", "replace")
        if "<html" in text[:2000].lower() or "<!doctype" in text[:2000].lower():
            title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
            text = title.group(1) if title else re.sub(r"<[^>]*>", " ", text)
            text = f"an HTML page: {' '.join(text.split())}"
        return text.strip()[:2000]
    return _error_value(value)[:2000]


def _error_value(value: object) -> str:
    """The words of an error object, with the name of the field that it is about (`param`, or FastAPI's `loc`)."""
    if isinstance(value, dict):
        about = value.get("param") or value.get("loc")
        for key in ("error", "message", "detail", "msg", "title"):
            if value.get(key):
                said = _error_value(value[key])
                where = ".".join(map(str, about)) if isinstance(about, list) else about
                return f"{said} ({where})" if isinstance(where, str) and where not in said else said
    if isinstance(value, list) and value:
        return "; ".join(_error_value(item) for item in value[:3])
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


class Reads:
    """The reads that brought tokens, built up as the reply is decoded.

    `at_us` is when each of them came, in µs from the sending, and `pieces` how many pieces of text it completed;
    `first_ns`, `last_ns` and `answer_ns` are stamps. `sent_us` is when a server that says so sent each piece.
    """

    __slots__ = ("_low", "_seen", "_sent", "answer_ns", "at_us", "first_ns", "last_ns", "pieces", "send_ns", "sent_us")

    def __init__(self, send_ns: int) -> None:
        self.send_ns = send_ns
        self.at_us = array("I")
        self.pieces = array("I")
        self.sent_us = array("I")
        self.first_ns = self.last_ns = self.answer_ns = 0
        self._seen = 0  # pieces that have their read
        self._low = 0  # the read that completed the last of them
        self._sent = True

    def extend(self, reply: Reply, read_end: Sequence[int], read_ns: Sequence[int]) -> None:
        """Give each new piece of text the read that completed its line."""
        token_end, low, last = reply.token_end, self._low, len(read_end) - 1
        at_us, pieces, send_ns, sent_ns = self.at_us, self.pieces, self.send_ns, reply.sent_ns
        for index in range(self._seen, len(token_end)):
            end = token_end[index]
            while low < last and read_end[low] < end:
                low += 1
            at_ns = read_ns[low]
            if at_ns == self.last_ns:
                pieces[-1] += 1
            else:
                self.first_ns = self.first_ns or at_ns
                self.last_ns = at_ns
                at_us.append(min((at_ns - send_ns) // 1000, LATEST_US))
                pieces.append(1)
            if index == reply.answer_from:
                self.answer_ns = at_ns
            if self._sent and index < len(sent_ns):
                # a stamp of another clock (another machine's, or no clock at all) says nothing
                if send_ns <= sent_ns[index] <= at_ns:
                    self.sent_us.append((sent_ns[index] - send_ns) // 1000)
                else:
                    self._sent = False
                    del self.sent_us[:]
        self._seen, self._low = len(token_end), low
