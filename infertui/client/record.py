"""From an exchange that has ended to the record of a call: what it said, whether that is whole, when it came."""

from __future__ import annotations

import msgspec

from infertui import metric
from infertui.client.api import Api, take_whole
from infertui.client.stream import BadStream, Decoder, Reads, Reply, error_text
from infertui.client.wire import Exchange, Failure
from infertui.metric import CallRecord
from infertui.scenario.plan import Block, Call, digest
from infertui.text import plain


class Done(msgspec.Struct):
    """A call that has ended: its record, the reads that brought its tokens, and what it said."""

    record: CallRecord
    reads: Reads
    text: str
    thought: str
    fingerprint: str = ""
    server: str = ""


class Flight:
    """A call under way: when it was due, how it was sent, what has come."""

    def __init__(self, call: Call, lane: int, due_ns: int, api: Api, stream: bool, cold: bool) -> None:
        self.call = call
        self.lane = lane
        self.due_ns = due_ns
        self.api = api
        self.stream = stream
        self.cold = cold
        self.connect_ns = self.wait_ns = 0
        self.use = self.reopened = self.pauses = 0
        self.quiet_ns: int | None = None  # since when nothing had been under way, when it was sent
        self.exchange: Exchange | None = None
        self.reply = Reply()
        self.reads = Reads(0)
        self._decoder: Decoder | None = None

    @property
    def streamed(self) -> bool:
        """Whether the reply comes piece by piece: asked for, and not answered by a document."""
        if not self.stream or self.exchange is None:
            return False
        return self.api.framing == "ndjson" or self.exchange.content_type not in ("application/json", "text/html")

    @property
    def idle_ms(self) -> float | None:
        """How long the server had had nothing to do when this was sent, as far as we know."""
        if self.quiet_ns is None or self.exchange is None:
            return None
        return (self.exchange.send_ns - self.quiet_ns) / metric.NS_PER_MS

    def decode(self, stop_ns: int = 0, final: bool = False) -> bool:
        """Decode what has come, until about `stop_ns` (0: all of it). True when there is nothing left to do."""
        exchange = self.exchange
        if exchange is None or exchange.status != 200 or not exchange.head_ns or not self.streamed:
            return True
        if self._decoder is None:
            self._decoder = Decoder(self.api.framing, self.api, self.reply)
            self.reads = Reads(exchange.send_ns)
        whole = self._decoder.feed(exchange.body, stop_ns, final)
        exchange.taken = self._decoder.taken
        if exchange.read_ns:
            self.reads.extend(self.reply, exchange.read_end, exchange.read_ns)
        return whole


def done(flight: Flight, block: Block, failure: Failure | None, ended_ns: int) -> Done:
    """The record of a flight that has ended and is decoded to its end."""
    call, exchange, reply = flight.call, flight.exchange, flight.reply
    record = CallRecord(
        name=call.name,
        role=block.role,
        round=block.round,
        lane=flight.lane,
        kind=call.prompt.kind,
        prompt_id=call.prompt.id,
        prompt_hash=call.prompt.hash,
        max_tokens=call.max_tokens,
        sched_ns=flight.due_ns,
        connect_ns=flight.connect_ns,
        connect_wait_ns=flight.wait_ns,
        connection_use=flight.use,
        idle_ms=flight.idle_ms,
        reopened=flight.reopened,
        end_ns=ended_ns,
    )
    server = ""
    if exchange is not None:
        server = exchange.headers.get(b"server", b"").decode("latin-1")
        record.send_ns = exchange.send_ns
        record.headers_ns = exchange.head_ns or None
        record.status = exchange.status or None
        record.headers_mean_slot = flight.stream and server.startswith("llama.cpp")
        failure = failure or _understood(flight, exchange, record)
        failure = _complete(flight, failure, record)
        _stamps(flight, exchange, record, failure)
        _counts(flight, record)
        if failure is None and not record.n_output and not reply.token_end:  # a server that says nothing is not fast
            failure = Failure("empty", "the reply ended well, without a token")
    if flight.pauses:
        record.note = "the reply came faster than it could be decoded: reading was paused, and later stamps are late"
    if failure is not None:
        record.outcome, record.message = failure.kind, plain(failure.message)
    text, thought = reply.text, reply.thought
    if text or thought:
        record.reply_hash = digest(f"{thought}\0{text}".encode("utf-8", "replace"))
    uncached = flight.cold or record.n_cached is not None
    metric.figure(record, alone=block.plan.concurrency == 1 and uncached)
    return Done(record, flight.reads, text, thought, plain(reply.fingerprint, 80), plain(server, 80))


def not_understood(flight: Flight, block: Block, error: Exception, ended_ns: int) -> Done:
    """The record of a call whose reply broke our own code: it costs this call, not the run."""
    flight.exchange, flight.reply, flight.reads = None, Reply(), Reads(0)
    failure = Failure("bad-stream", f"the reply could not be taken apart: {type(error).__name__}: {error}")
    return done(flight, block, failure, ended_ns)


def _understood(flight: Flight, exchange: Exchange, record: CallRecord) -> Failure | None:
    """What is wrong with a reply that HTTP calls whole."""
    said = bytes(exchange.body[:100_000])
    packed = exchange.headers.get(b"content-encoding", b"").decode("latin-1")
    if packed not in ("", "identity"):
        return Failure("bad-stream", f"the reply is packed ({packed}), though nothing asked for it")
    if exchange.status != 200:
        where = exchange.headers.get(b"location", b"").decode("latin-1")
        told = f"moved to {where}: give that address" if where else error_text(said) or "no message"
        return Failure(f"http-{exchange.status}", told)
    if flight.streamed:
        return None
    if exchange.content_type == "text/html":
        return Failure("bad-stream", f"status 200 with {error_text(said)}")
    try:
        take_whole(flight.api, exchange.body, flight.reply)
    except BadStream as error:
        return Failure("bad-stream", str(error))
    if flight.stream:
        record.note = "the server did not stream its reply"
    return None


def _complete(flight: Flight, failure: Failure | None, record: CallRecord) -> Failure | None:
    """Whether the reply itself is whole: no error in it, and a reason for its end."""
    reply = flight.reply
    if reply.error:
        return Failure("bad-stream", f"the server reported inside its reply: {reply.error}")
    if reply.bad:
        return Failure("bad-stream", reply.bad)
    if failure is not None:
        if failure.kind in ("truncated", "reset") and reply.done and reply.finish:
            record.note = "the connection broke after the reply's last word"
            return None
        return failure
    if not reply.finish:
        word = "[DONE] came" if reply.done and flight.streamed else "the reply ended"
        return Failure("truncated", f"{word} without a finish reason")
    if not reply.done:
        record.note = "the stream ended without its last word ([DONE])"
    return None


def _stamps(flight: Flight, exchange: Exchange, record: CallRecord, failure: Failure | None) -> None:
    if not flight.streamed:
        if failure is None:
            record.last_ns = exchange.end_ns
    elif flight.reads.pieces:
        record.first_ns, record.last_ns = flight.reads.first_ns, flight.reads.last_ns
        record.first_answer_ns = flight.reads.answer_ns or None


def _counts(flight: Flight, record: CallRecord) -> None:
    reply, told, pieces = flight.reply, flight.reply.server, flight.reads.pieces
    sizes = reply.token_size if flight.streamed else ()
    hidden = 0 if reply.reasoning else reply.reasoned or 0
    counts = metric.count(reply.output, told.get("output_n"), sizes, pieces[0] if pieces else 0, hidden)
    record.n_output, record.n_source, record.n_first = counts.output, counts.source, counts.first
    record.n_hidden = hidden
    record.n_pieces = len(reply.token_end)
    record.n_prompt, record.n_cached, record.n_reasoning = reply.prompt, reply.cached, reply.reasoned
    if record.n_cached is None and "cached_n" in told:
        record.n_cached = int(told["cached_n"])
    if record.n_prompt is None and "prompt_n" in told:
        record.n_prompt = int(told["prompt_n"] + told.get("cached_n", 0))
    record.server_prompt_n, record.server_prompt_ms = told.get("prompt_n"), told.get("prompt_ms")
    record.server_decode_n, record.server_decode_ms = told.get("decode_n"), told.get("decode_ms")
    record.server_queue_ms = told.get("queue_ms")
    record.finish = plain(reply.finish or "", 40)
    record.response_id = plain(reply.response_id, 80)
