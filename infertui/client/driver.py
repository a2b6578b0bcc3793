"""A plan under way: each call sent when it is due, under a concurrency limit, and turned into a record when it ends.

The loop does as little as possible between two reads. What a reply says is decoded by one task, in slices, at 5 Hz
while it grows and to its end once it has ended; a place freed by a call is taken by the next one before that.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import time
from array import array
from collections import deque
from collections.abc import Callable, Coroutine
from itertools import islice
from typing import Any

import msgspec

from infertui.client import record
from infertui.client.api import Api, Ask
from infertui.client.record import Done, Flight
from infertui.client.wire import Connection, Exchange, Failure, Limits, Target
from infertui.scenario.plan import Block, Call, begun, followers_of

TICK_S = 0.2
SLICE_NS = 300_000
AHEAD_NS = 1_000_000_000  # a connection waits idle no longer than this for its call
PROBE_S = 0.02
SETTLE_NS = 50_000_000  # a reply that has ended is looked into after this: others often end with it
CROSSED_NS = 100_000_000  # a connection that closes later than this after a request did not close while it was idle
SEEN = 64  # calls under way that are shown one by one
GRACE_S = 5.0  # what calls under way get to finish when the user stops a run


class Live(msgspec.Struct):
    """What can be seen of a block while it runs. `active` counts what is sent, `flights` are the first of it."""

    total: int
    sent: int
    ended: int
    active: int
    failed: int
    tokens: int
    elapsed_ns: int
    at_ns: int
    lag_ns: int
    flights: list[Flight]


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
    top_p: float | None = None
    seed: int | None = None
    cold: bool = True
    without: set[str] = msgspec.field(default_factory=set)
    quiet_ns: int | None = None  # when the last call to it ended, if any has
    nonce: Callable[[str], str] = lambda salt: ""

    def request(self, call: Call) -> bytes:
        messages = begun(call.prompt.messages, self.nonce(call.salt or call.name))
        ask = Ask(
            model=self.model,
            max_tokens=call.max_tokens,
            stream=self.stream,
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            cache="cold" if self.cold else "warm",
        )
        body = msgspec.json.encode(self.api.body(ask, messages, self.without))
        return self.target.request(self.api.path, body)


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
        self.plan = block.plan
        self.on_done = on_done
        self.on_tick = on_tick
        self.stop = stop or Stop()
        self.loop_lag_ns = array("q")
        self._lag_ns = 0  # the worst so far
        calls = self.plan.checked().calls
        self._missing = [len(call.after) for call in calls]
        self._followers = followers_of(calls)
        self._ready: deque[tuple[int, int]] = deque()  # (since when, call): to be sent as soon as there is a place
        self._timed: list[tuple[int, int]] = []  # (when, call), a heap
        self._waiting: deque[asyncio.Future[int]] = deque()  # timed calls that are due and have no place
        self._places = list(range(self.plan.concurrency or len(calls)))
        self._idle: list[Connection] = []
        self._requests: dict[int, bytes] = {}
        self._tasks: dict[asyncio.Task[None], int] = {}
        self._broken: BaseException | None = None
        self._active: dict[int, tuple[Flight, Connection]] = {}
        self._landed: deque[tuple[Flight, Failure | None, int]] = deque()
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._probe_handle: asyncio.TimerHandle | None = None
        self._left = len(calls)
        self._sent = self._ended = self._failed = self._tokens = 0
        self._over = False

    async def run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.stop.watch(self._stopped)
        firsts = [index for index, call in enumerate(self.plan.calls) if not call.after]
        soon = [index for index in firsts if (self.plan.calls[index].at_ms or 0) * 1e6 < AHEAD_NS]
        self._ahead = self._loop.create_task(self._open_ahead(soon[: len(self._places)]))
        try:
            await asyncio.wait([self._ahead])
            self._start_ns = time.perf_counter_ns()
            self._probe_handle = self._loop.call_later(PROBE_S, self._probe, self._start_ns)
            for index in firsts:
                self._enqueue(index, self._start_ns)
            self._pump(self._start_ns)
            await self._decode()
        finally:
            self._end()

    def _end(self) -> None:
        self._over = True
        self.stop.unwatch(self._stopped)
        for handle in (self._probe_handle, self._timer):
            if handle is not None:
                handle.cancel()
        for task in (self._ahead, *self._tasks):
            task.cancel()
        for connection in (*(connection for _, connection in self._active.values()), *self._idle):
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
            place = heapq.heappop(self._places)
            self._send(self._flight(index, max(since, now), place), index, place)
        while self._timed and self._timed[0][0] - AHEAD_NS <= time.perf_counter_ns():
            due, index = heapq.heappop(self._timed)
            self._begin(index, self._send_at(index, due))
        if self._timed:
            if self._timer is not None:
                self._timer.cancel()
            ahead = (self._timed[0][0] - AHEAD_NS - time.perf_counter_ns()) / 1e9
            self._timer = self._loop.call_later(max(0.0, ahead), lambda: self._pump(time.perf_counter_ns()))

    def _flight(self, index: int, due: int, place: int) -> Flight:
        call = self.plan.calls[index]
        return Flight(
            call, place if call.lane is None else call.lane, due, self.sender.api, self.sender.stream, self.sender.cold
        )

    def _begin(self, index: int, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks[task] = index
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        if not task.cancelled() and task.exception() is not None:
            self._broken = task.exception()
        self._wake.set()

    async def _prepare(self) -> None:
        """The next calls' bytes are made before their places are free, not while they wait."""
        for _, index in list(islice(self._ready, self.plan.concurrency)):
            if index not in self._requests:
                self._requests[index] = self.sender.request(self.plan.calls[index])
                await asyncio.sleep(0)

    async def _send_at(self, index: int, due: int) -> None:
        held = self._connection()
        if held is None:
            with contextlib.suppress(Failure):
                held = await self.sender.target.open(self.sender.limits)
        try:
            self._requests[index] = self.sender.request(self.plan.calls[index])
            await _until(due)
            if self._places and not self._waiting:
                place = heapq.heappop(self._places)
            else:
                waiter: asyncio.Future[int] = self._loop.create_future()
                self._waiting.append(waiter)
                place = await waiter
        except asyncio.CancelledError:
            if held is not None:
                held.close()
            raise
        self._send(self._flight(index, due, place), index, place, held)

    # How a call is sent.

    async def _open_ahead(self, indices: list[int]) -> None:
        async def one(index: int) -> None:
            self._requests[index] = self.sender.request(self.plan.calls[index])
            with contextlib.suppress(Failure):  # the call itself will meet it again, and keep it
                self._idle.append(await self.sender.target.open(self.sender.limits))

        await asyncio.gather(*(one(index) for index in indices))

    def _connection(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable and (not connection.used or self.sender.target.keeps):
                return connection
            connection.close()
        return None

    def _send(self, flight: Flight, index: int, place: int, held: Connection | None = None) -> None:
        """At once where a connection is open; otherwise as soon as one is."""
        connection = held if held is not None and held.reusable else self._connection()
        if connection is None:
            self._begin(index, self._open_and_send(flight, index, place))
        else:
            self._start(flight, index, place, connection)

    async def _open_and_send(self, flight: Flight, index: int, place: int) -> None:
        asked = time.perf_counter_ns()
        try:
            connection = await self.sender.target.open(self.sender.limits)
        except Failure as failure:
            self._land(flight, index, place, failure, time.perf_counter_ns())
            return
        flight.wait_ns += time.perf_counter_ns() - asked
        if self.stop.soon:
            connection.close()
        else:
            self._start(flight, index, place, connection)

    def _start(self, flight: Flight, index: int, place: int, connection: Connection) -> None:
        request = self._requests.pop(index, None) or self.sender.request(flight.call)
        if not self._active:
            flight.quiet_ns = self.sender.quiet_ns
        exchange = connection.start(request)
        self._sent += not flight.use
        self._lag_ns = max(self._lag_ns, exchange.send_ns - flight.due_ns - flight.wait_ns)
        flight.exchange, flight.use, flight.connect_ns = exchange, connection.used, connection.opened_ns
        self._active[index] = (flight, connection)
        exchange.done.add_done_callback(lambda _: self._ended_or_broke(flight, index, place, connection, exchange))

    def _ended_or_broke(
        self, flight: Flight, index: int, place: int, connection: Connection, exchange: Exchange
    ) -> None:
        """An error in a callback would only be logged, and the block would wait for this call for ever."""
        try:
            self._ended_one(flight, index, place, connection, exchange)
        except Exception as error:
            self._broken = error
            self._wake.set()

    def _ended_one(self, flight: Flight, index: int, place: int, connection: Connection, exchange: Exchange) -> None:
        failure = exchange.failure
        unread = failure is not None and failure.kind == "reset" and not exchange.first_byte_ns
        unread = unread and exchange.end_ns - exchange.send_ns < CROSSED_NS
        if unread and connection.used > 1 and not flight.reopened and not self.stop.soon and not self._over:
            flight.reopened = 1  # it was closed while idle, as the request was on its way: no fault of this call
            self.sender.target.keeps = False
            flight.wait_ns += exchange.end_ns - exchange.send_ns
            self._begin(index, self._open_and_send(flight, index, place))
            return
        if failure is None and connection.reusable and self.sender.target.keeps:
            self._idle.append(connection)
        else:
            connection.close()
        self._land(flight, index, place, failure, exchange.end_ns)

    def _land(self, flight: Flight, index: int, place: int, failure: Failure | None, ended: int) -> None:
        """A call has ended: its place goes to the next one first, then what it said is decoded."""
        if (found := self._active.pop(index, None)) is not None:
            flight.pauses = found[1].pauses
            self.sender.quiet_ns = ended
        self._landed.append((flight, failure, ended))
        for follower in self._followers[index]:
            self._missing[follower] -= 1
            if not self._missing[follower]:
                self._enqueue(follower, ended)
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(place)
                break
        else:
            heapq.heappush(self._places, place)
        self._pump(ended)
        self._wake.set()

    # What a call said.

    async def _decode(self) -> None:
        """Every reply, to its end: at each tick, and at once when no other call is under way.

        Calls end together, and whoever looks into the first at once would be late for the last tokens of the others.
        """
        tick = time.perf_counter_ns()
        while self._left:
            if self._broken is not None:
                raise self._broken
            if self.stop.soon and not self._active and not self._landed and not self._tasks:
                break
            now = time.perf_counter_ns()
            if now >= tick:
                tick = now + int(TICK_S * 1e9)
                await self._look()
            if self._landed and (not self._active or self._landed[0][2] < now - SETTLE_NS):
                await self._finish(*self._landed.popleft())
                continue
            self._wake.clear()
            wait_ns = tick - now
            if self._landed:
                wait_ns = min(wait_ns, SETTLE_NS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0, wait_ns) / 1e9):
                    await self._wake.wait()

    async def _finish(self, flight: Flight, failure: Failure | None, ended: int) -> None:
        """A call that has ended, decoded to its last byte and told to whoever keeps it."""
        try:
            await self._decoded(flight)
            flight.decode(final=True)
            await asyncio.sleep(0)
            done = record.done(flight, self.block, failure, ended)
        except Exception as error:
            done = record.not_understood(flight, self.block, error, ended)
        self._left -= 1
        self._ended += 1
        self._failed += not done.record.good
        self._tokens += done.record.n_pieces
        self.on_done(done)
        await asyncio.sleep(0)  # what came meanwhile is stamped before the next one is looked into

    async def _look(self) -> None:
        """What has grown since the last tick is decoded, so that the live view and the first-token timeout know it."""
        await self._prepare()
        growing = 0
        stop = time.perf_counter_ns() + SLICE_NS
        for flight, connection in list(self._active.values()):
            await self._decoded(flight, stop)
            if (now := time.perf_counter_ns()) >= stop:
                await asyncio.sleep(0)
                stop = time.perf_counter_ns() + SLICE_NS
            self._check(flight, connection, now)
            connection.caught_up()
            growing += len(flight.reply.token_end)
        growing += sum(len(flight.reply.token_end) for flight, _, _ in self._landed)  # ended, not yet looked into
        for connection in [idle for idle in self._idle if idle.idle_ns > AHEAD_NS]:
            self._idle.remove(connection)
            connection.close()
        now = time.perf_counter_ns()
        self.on_tick(
            Live(
                total=len(self.plan.calls),
                sent=self._sent,
                ended=self._ended,
                active=len(self._active),
                failed=self._failed,
                tokens=self._tokens + growing,
                elapsed_ns=now - self._start_ns,
                at_ns=now,
                lag_ns=self._lag_ns,
                flights=[flight for flight, _ in islice(self._active.values(), SEEN)],
            )
        )

    async def _decoded(self, flight: Flight, stop: int = 0) -> None:
        """All that has come of a reply, in slices. `stop` is when the slice at hand is over."""
        while not flight.decode(stop or time.perf_counter_ns() + SLICE_NS):
            await asyncio.sleep(0)
            stop = 0

    def _check(self, flight: Flight, connection: Connection, now: int) -> None:
        exchange, first_token_s = flight.exchange, self.sender.limits.first_token_s
        assert exchange is not None
        if flight.reply.bad:
            connection.fail(exchange, "bad-stream", flight.reply.bad)
        elif not flight.reply.token_end and self.sender.stream and now - exchange.send_ns > first_token_s * 1e9:
            connection.fail(exchange, "timeout-first-token", f"no token came within {first_token_s:g} s")

    # The rest.

    def _stopped(self) -> None:
        if self.stop.now:
            self._cut()
        else:
            self._ahead.cancel()
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
        """How late the loop itself is: what a timer of 20 ms takes beyond them."""
        now = time.perf_counter_ns()
        late = max(0, now - armed - int(PROBE_S * 1e9))
        self._lag_ns = max(self._lag_ns, late)
        # A long stall is as many late probes as it swallowed: one would hide in a percentile.
        self.loop_lag_ns.extend(range(late, max(0, late - 50 * 10**9) - 1, -int(PROBE_S * 1e9)))
        if not self._over:
            self._probe_handle = self._loop.call_later(PROBE_S, self._probe, now)


async def _until(due: int) -> None:
    """Sleep to a stamp. Timers of the loop are a millisecond coarse, so the last of them is spent turning it."""
    while (left := due - time.perf_counter_ns()) > 0:
        await asyncio.sleep(left / 1e9 - 0.0015 if left > 2_500_000 else 0)
