"""A plan under way: each call sent when it is due, under a concurrency limit, and turned into a record when it ends.

The loop does as little as possible between two reads. What a reply says is decoded by one task, in slices, at 5 Hz
while it grows and to its end once it has ended; a place freed by a call is taken by the next one before that.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from array import array
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from infertui import metric
from infertui.client.api import Api, Ask, take_whole
from infertui.client.stream import BadStream, Decoder, Reads, Reply, error_text, reads_of
from infertui.client.wire import Connection, Exchange, Failure, Limits, Target
from infertui.metric import CallRecord
from infertui.scenario.plan import Block, Call, Message, Plan, digest, order_of
from infertui.text import plain

TICK_S = 0.2
SLICE_NS = 400_000
AHEAD_NS = 1_000_000_000  # a connection waits idle no longer than this for its call
PROBE_S = 0.05
GRACE_S = 5.0  # what calls under way get to finish when the user stops a run


class Done(msgspec.Struct):
    """A call that has ended: its record, the reads that brought its tokens, and what it said."""

    record: CallRecord
    reads: Reads
    text: str
    thought: str
    sent_ns: array[int]
    fingerprint: str = ""
    server: str = ""


class Live(msgspec.Struct):
    """What can be seen of a block while it runs."""

    total: int
    sent: int
    ended: int
    active: int
    failed: int
    tokens: int
    elapsed_ns: int


class Stop:
    """The user's wish to end: `soon` lets calls under way finish, `now` cuts them."""

    def __init__(self) -> None:
        self.soon = False
        self.now = False
        self._watchers: list[Callable[[], None]] = []

    def ask(self) -> None:
        self.now = self.soon
        self.soon = True
        for watcher in list(self._watchers):
            watcher()

    def watch(self, watcher: Callable[[], None]) -> None:
        self._watchers.append(watcher)

    def unwatch(self, watcher: Callable[[], None]) -> None:
        self._watchers.remove(watcher)


class Sender(msgspec.Struct, kw_only=True):
    """To whom and in which words calls are sent: the same for every block of a run.

    `without` are body fields that this server refused. `nonce` gives the words that begin a call's prompt.
    """

    target: Target
    api: Api
    model: str
    limits: Limits = Limits()
    stream: bool = True
    temperature: float | None = 0.0
    seed: int | None = None
    cold: bool = True
    without: set[str] = msgspec.field(default_factory=set)
    nonce: Callable[[str], str] = lambda salt: ""

    def request(self, call: Call) -> bytes:
        messages = call.prompt.messages
        if words := self.nonce(call.salt or call.name):
            first = messages[0]
            messages = (Message(first.role, f"{words}\n{first.content}"), *messages[1:])
        ask = Ask(
            self.model, call.max_tokens, self.stream, self.temperature, self.seed, "cold" if self.cold else "warm"
        )
        body = msgspec.json.encode(self.api.body(ask, messages, self.without))
        return self.target.request(self.api.path, body)


class _Flight:
    """A call under way."""

    __slots__ = (
        "call",
        "connect_ns",
        "decoder",
        "due_ns",
        "exchange",
        "index",
        "lane",
        "reopened",
        "reply",
        "use",
        "wait_ns",
    )

    def __init__(self, index: int, call: Call, lane: int, due_ns: int) -> None:
        self.index = index
        self.call = call
        self.lane = lane
        self.due_ns = due_ns
        self.connect_ns = self.wait_ns = 0
        self.use = self.reopened = 0
        self.exchange: Exchange | None = None
        self.reply = Reply()
        self.decoder: Decoder | None = None


class Drive:
    """One block, once. `run` returns when every call has ended and is decoded, or when it was stopped."""

    def __init__(
        self,
        sender: Sender,
        block: Block,
        on_done: Callable[[Done], None],
        on_tick: Callable[[Live], None] = lambda live: None,
        stop: Stop | None = None,
    ) -> None:
        self.sender = sender
        self.block = block
        self.plan: Plan = block.plan
        self.on_done = on_done
        self.on_tick = on_tick
        self.stop = stop or Stop()
        self.loop_lag_ns = array("q")
        order_of(self.plan.calls)
        calls = self.plan.calls
        self._missing = [len(call.after) for call in calls]
        self._followers: list[list[int]] = [[] for _ in calls]
        for index, call in enumerate(calls):
            for before in call.after:
                self._followers[before].append(index)
        self._ready: deque[tuple[int, int]] = deque()  # (since when, call): to be sent as soon as there is a place
        self._timed: list[tuple[int, int]] = []  # (when, call), a heap
        self._waiting: deque[asyncio.Future[int]] = deque()  # timed calls that are due and have no place
        self._places = list(range(self.plan.concurrency or len(calls)))
        self._idle: list[Connection] = []
        self._requests: dict[int, bytes] = {}
        self._tasks: dict[asyncio.Task[None], int] = {}
        self._broken: BaseException | None = None
        self._active: dict[int, tuple[_Flight, Connection]] = {}
        self._landed: deque[tuple[_Flight, Failure | None, int]] = deque()
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._left = len(calls)
        self._sent = self._ended = self._failed = self._tokens = 0
        self._over = False

    async def run(self) -> None:
        loop = self._loop = asyncio.get_running_loop()
        firsts = [index for index, call in enumerate(self.plan.calls) if not call.after]
        soon = [index for index in firsts if (self.plan.calls[index].at_ms or 0) * 1e6 < AHEAD_NS]
        await self._open_ahead(soon[: len(self._places)])
        self.stop.watch(self._stopped)
        probe = loop.call_later(PROBE_S, self._probe, time.perf_counter_ns())
        self._probe_handle = probe
        self._start_ns = time.perf_counter_ns()
        for index in firsts:
            self._enqueue(index, self._start_ns)
        self._pump(self._start_ns)
        try:
            await self._decode()
        finally:
            self._over = True
            self.stop.unwatch(self._stopped)
            self._probe_handle.cancel()
            if self._timer is not None:
                self._timer.cancel()
            for task in self._tasks:
                task.cancel()
            for _, connection in self._active.values():
                connection.close()
            for connection in self._idle:
                connection.close()

    # When a call is due.

    def _enqueue(self, index: int, now: int) -> None:
        """A call whose predecessors have ended."""
        call = self.plan.calls[index]
        due = now + int(call.think_ms * 1e6)
        if call.at_ms is not None:
            due = max(due, self._start_ns + int(call.at_ms * 1e6))
        if call.at_ms is None and not call.think_ms:
            self._ready.append((now, index))
        else:
            heapq.heappush(self._timed, (due, index))

    def _pump(self, now: int) -> None:
        """Give every free place to a call that is due, and prepare for those that soon will be."""
        if self.stop.soon:
            return
        while self._places and self._ready:
            since, index = self._ready.popleft()
            self._begin(index, self._send(index, max(since, now), heapq.heappop(self._places)))
        self._loop.call_soon(self._prepare)
        while self._timed and self._timed[0][0] - AHEAD_NS <= time.perf_counter_ns():
            due, index = heapq.heappop(self._timed)
            self._begin(index, self._send_at(index, due))
        if self._timed:
            if self._timer is not None:
                self._timer.cancel()
            ahead = (self._timed[0][0] - AHEAD_NS - time.perf_counter_ns()) / 1e9
            self._timer = self._loop.call_later(max(0.0, ahead), lambda: self._pump(time.perf_counter_ns()))

    def _begin(self, index: int, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks[task] = index
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        if not task.cancelled() and task.exception() is not None:
            self._broken = task.exception()
        self._wake.set()

    def _prepare(self) -> None:
        """The next call's bytes are made before its place is free, not while it waits."""
        if self._ready and not self._over:
            index = self._ready[0][1]
            if index not in self._requests:
                self._requests[index] = self.sender.request(self.plan.calls[index])

    async def _send_at(self, index: int, due: int) -> None:
        if not any(connection.reusable for connection in self._idle):
            await self._open_ahead([index])
        await _until(due)
        if self._places and not self._waiting:
            place = heapq.heappop(self._places)
        else:
            waiter: asyncio.Future[int] = self._loop.create_future()
            self._waiting.append(waiter)
            place = await waiter
        await self._send(index, due, place)

    def _free(self, place: int, now: int) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(place)
                return
        heapq.heappush(self._places, place)
        self._pump(now)

    # How a call is sent.

    async def _open_ahead(self, indices: list[int]) -> None:
        async def one(index: int) -> None:
            self._requests[index] = self.sender.request(self.plan.calls[index])
            try:
                connection = await self.sender.target.open(self.sender.limits)
            except Failure:
                return  # the call will meet it again, and keep it
            connection.opened_ns = time.perf_counter_ns() - started
            self._idle.append(connection)

        started = time.perf_counter_ns()
        await asyncio.gather(*(one(index) for index in indices))

    def _connection(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable:
                return connection
            connection.close()
        return None

    async def _send(self, index: int, due: int, place: int) -> None:
        call = self.plan.calls[index]
        flight = _Flight(index, call, place if call.lane is None else call.lane, due)
        request = self._requests.pop(index, None) or self.sender.request(call)
        failure: Failure | None = None
        ended = 0
        for attempt in (0, 1):
            connection = self._connection()
            if connection is None:
                asked = time.perf_counter_ns()
                try:
                    connection = await self.sender.target.open(self.sender.limits)
                except Failure as error:
                    failure, ended = error, time.perf_counter_ns()
                    break
                connection.opened_ns = time.perf_counter_ns() - asked
                flight.wait_ns += connection.opened_ns
            if self.stop.now:
                connection.close()
                return
            flight.exchange = exchange = connection.start(request)
            if not flight.use:
                self._sent += 1
            flight.use = connection.used
            flight.connect_ns = connection.opened_ns
            self._active[index] = (flight, connection)
            await exchange.done
            del self._active[index]
            failure, ended = exchange.failure, exchange.end_ns
            lost = failure is not None and failure.kind == "reset" and not exchange.first_byte_ns
            if not (lost and connection.used > 1 and attempt == 0 and not self.stop.now):
                break
            flight.reopened = 1  # the server closed it while it was idle: no fault of this call
            flight.wait_ns += ended - exchange.send_ns
        if failure is None and connection is not None and connection.reusable:
            self._idle.append(connection)
        self._landed.append((flight, failure, ended))
        self._wake.set()
        for follower in self._followers[index]:
            self._missing[follower] -= 1
            if not self._missing[follower]:
                self._enqueue(follower, ended)
        self._free(place, ended)

    # What a call said.

    async def _decode(self) -> None:
        """Every reply, to its end: ended ones first, growing ones at each tick."""
        tick = time.perf_counter_ns()
        while self._left:
            if self._broken is not None:
                raise self._broken
            if self.stop.soon and not self._active and not self._landed and not self._tasks:
                break
            while self._landed:
                flight, failure, ended = self._landed.popleft()
                await self._decoded(flight, final=True)
                self._left -= 1
                self._ended += 1
                done = self._record(flight, failure, ended)
                self._failed += not done.record.good
                self._tokens += done.record.n_pieces
                self.on_done(done)
            now = time.perf_counter_ns()
            if now >= tick:
                tick = now + int(TICK_S * 1e9)
                await self._look()
                continue
            self._wake.clear()
            try:
                async with asyncio.timeout((tick - now) / 1e9):
                    await self._wake.wait()
            except TimeoutError:
                pass
            # one turn of the loop between an end and its decoding: the next call is sent first
            await asyncio.sleep(0)

    async def _look(self) -> None:
        limit = int(self.sender.limits.first_token_s * 1e9)
        growing = 0
        for flight, connection in list(self._active.values()):
            exchange = flight.exchange
            assert exchange is not None
            if exchange.head_ns and self.sender.stream:
                await self._decoded(flight, final=False)
            if not flight.reply.token_end and time.perf_counter_ns() - exchange.send_ns > limit and self.sender.stream:
                connection.fail(
                    exchange, "timeout-first-token", f"no token came within {self.sender.limits.first_token_s:g} s"
                )
            elif flight.reply.bad:
                connection.fail(exchange, "bad-stream", flight.reply.bad)
            growing += len(flight.reply.token_end)
        self.on_tick(
            Live(
                total=len(self.plan.calls),
                sent=self._sent,
                ended=self._ended,
                active=len(self._active),
                failed=self._failed,
                tokens=self._tokens + growing,
                elapsed_ns=time.perf_counter_ns() - self._start_ns,
            )
        )

    async def _decoded(self, flight: _Flight, final: bool) -> None:
        exchange, reply = flight.exchange, flight.reply
        if exchange is None or not exchange.head_ns or exchange.status != 200 or not self._streamed(exchange):
            return
        if flight.decoder is None:
            flight.decoder = Decoder(self.sender.api.framing, self.sender.api, reply)
        while not flight.decoder.feed(exchange.body, SLICE_NS):
            await asyncio.sleep(0)
        if final:
            flight.decoder.feed(exchange.body, final=True)

    def _streamed(self, exchange: Exchange) -> bool:
        if not self.sender.stream:
            return False
        kind = exchange.content_type
        return self.sender.api.framing == "ndjson" or kind not in ("application/json", "text/html")

    def _record(self, flight: _Flight, failure: Failure | None, ended: int) -> Done:
        call, exchange, reply = flight.call, flight.exchange, flight.reply
        record = CallRecord(
            name=call.name,
            role=self.block.role,
            round=self.block.round,
            lane=flight.lane,
            kind=call.prompt.kind,
            prompt_id=call.prompt.id,
            prompt_hash=call.prompt.hash,
            max_tokens=call.max_tokens,
            sched_ns=flight.due_ns,
            connect_ns=flight.connect_ns,
            connect_wait_ns=flight.wait_ns,
            connection_use=flight.use,
            reopened=flight.reopened,
            end_ns=ended,
        )
        reads = Reads(array("q"), array("l"))
        if exchange is not None:
            record.send_ns = exchange.send_ns
            record.headers_ns = exchange.head_ns or None
            record.status = exchange.status or None
            server = exchange.headers.get(b"server", b"").decode("latin-1")
            record.headers_mean_slot = self.sender.stream and server.startswith("llama.cpp")
            if failure is None:
                failure = self._understood(flight, exchange, record)
            streamed = self._streamed(exchange)
            if streamed and reply.token_end:
                reads, owner = reads_of(reply.token_end, exchange.read_end, exchange.read_ns)
                record.first_ns, record.last_ns = reads.at_ns[0], reads.at_ns[-1]
                if reply.answer_from >= 0:
                    record.first_answer_ns = reads.at_ns[owner[reply.answer_from]]
            elif not streamed and failure is None:
                record.last_ns = ended
            failure = self._complete(flight, failure, record, streamed)
            counts = metric.count(
                reply.output,
                reply.server.get("output_n"),
                reply.token_size if streamed else (),
                reads.pieces[0] if reads.pieces else 0,
            )
            record.n_output, record.n_source, record.n_first = counts.output, counts.source, counts.first
            record.n_pieces = len(reply.token_end)
            record.n_prompt, record.n_reasoning = reply.prompt, reply.reasoned
            told = reply.server
            record.n_cached = reply.cached if reply.cached is not None else _whole(told.get("cached_n"))
            if record.n_prompt is None and "prompt_n" in told:
                record.n_prompt = int(told["prompt_n"] + told.get("cached_n", 0))
            record.server_prompt_n, record.server_prompt_ms = told.get("prompt_n"), told.get("prompt_ms")
            record.server_decode_ms, record.server_queue_ms = told.get("decode_ms"), told.get("queue_ms")
            record.finish = plain(reply.finish or "", 40)
            record.response_id = plain(reply.response_id, 80)
        if failure is not None:
            record.outcome, record.message = failure.kind, plain(failure.message)
        text, thought = reply.text, reply.thought
        if text or thought:
            record.reply_hash = digest(f"{thought}\0{text}".encode("utf-8", "replace"))
        metric.figure(record, alone=self.plan.concurrency == 1)
        if exchange is None:
            return Done(record, reads, text, thought, reply.sent_ns)
        return Done(record, reads, text, thought, reply.sent_ns, plain(reply.fingerprint, 80), plain(server, 80))

    def _understood(self, flight: _Flight, exchange: Exchange, record: CallRecord) -> Failure | None:
        """What is wrong with a reply that HTTP calls whole."""
        if exchange.status != 200:
            message = error_text(bytes(exchange.body[:100_000])) or "no message"
            return Failure(f"http-{exchange.status}", message)
        if self._streamed(exchange):
            return None
        if exchange.content_type == "text/html":
            return Failure("bad-stream", f"status 200 with {error_text(bytes(exchange.body[:100_000]))}")
        try:
            take_whole(self.sender.api, exchange.body, flight.reply)
        except BadStream as error:
            return Failure("bad-stream", str(error))
        if self.sender.stream:
            record.note = "the server did not stream its reply"
        return None

    def _complete(self, flight: _Flight, failure: Failure | None, record: CallRecord, streamed: bool) -> Failure | None:
        """Whether the reply itself is whole: no error in it, and a reason for its end."""
        reply = flight.reply
        if reply.error:
            return Failure("bad-stream", f"the server reported inside its stream: {reply.error}")
        if reply.bad:
            return Failure("bad-stream", reply.bad)
        if failure is not None:
            if failure.kind in ("truncated", "reset") and reply.done and reply.finish:
                record.note = "the connection broke after the reply's last word"
                return None
            return failure
        if not reply.finish:
            word = "[DONE] came" if reply.done and streamed else "the reply ended"
            return Failure("truncated", f"{word} without a finish reason")
        if not reply.done:
            record.note = "the stream ended without its last word ([DONE])"
        return None

    # The rest.

    def _stopped(self) -> None:
        if self.stop.now:
            self._cut()
        else:
            self._loop.call_later(GRACE_S, self._cut)
            for task, index in self._tasks.items():
                if index not in self._active:  # not sent yet
                    task.cancel()
            self._wake.set()

    def _cut(self) -> None:
        if self._over:
            return
        for flight, connection in list(self._active.values()):
            if flight.exchange is not None:
                connection.fail(flight.exchange, "cancelled", "stopped by the user")
        self._wake.set()

    def _probe(self, armed: int) -> None:
        """How late the loop itself is: what a timer of 50 ms takes beyond them."""
        now = time.perf_counter_ns()
        self.loop_lag_ns.append(max(0, now - armed - int(PROBE_S * 1e9)))
        if not self._over:
            self._probe_handle = self._loop.call_later(PROBE_S, self._probe, now)


async def _until(due: int) -> None:
    """Sleep to a stamp. Timers of the loop are a millisecond coarse, so the last of them is spent turning it."""
    while (left := due - time.perf_counter_ns()) > 0:
        await asyncio.sleep(left / 1e9 - 0.0015 if left > 2_500_000 else 0)


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
