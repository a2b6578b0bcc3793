"""What the live view is told of a block."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from infertui import stats
from infertui.client.driver import Live
from infertui.client.record import Flight
from infertui.event import Event, Ticked, UnderWay
from infertui.metric import CallRecord
from infertui.scenario.plan import Block


class Seen:
    """Its ticks: how far, how fast, and how long it will take."""

    def __init__(self, run: int, block: Block, later: int, emit: Callable[[Event], None]) -> None:
        self.run = run
        self.block = block
        self.later = later
        self.emit = emit
        self.ttft: deque[float] = deque(maxlen=200)
        self.e2e: deque[float] = deque(maxlen=200)
        self.wanted = sum(call.max_tokens for call in block.plan.calls)
        self.before = (0, 0)
        self.failed = False

    def call(self, record: CallRecord) -> None:
        self.failed = self.failed or not (record.good or record.outcome == "cancelled")
        if record.ttft_ms is not None:
            self.ttft.append(record.ttft_ms)
        if record.e2e_ms is not None:
            self.e2e.append(record.e2e_ms)

    def tick(self, live: Live) -> None:
        tokens, since = live.tokens - self.before[0], (live.elapsed_ns - self.before[1]) / 1e9
        self.before = (live.tokens, live.elapsed_ns)
        elapsed = live.elapsed_ns / 1e9
        # By tokens: most of the calls that are under way may be waiting. By calls where answers end early.
        part = max(live.ended / live.total, min(1.0, live.tokens / self.wanted))
        left = elapsed * (1 - part) / part if part else None
        if left is not None and self.block.role == "measured":
            left += self.later * (elapsed + left)
        self.emit(
            Ticked(
                run=self.run,
                role=self.block.role,
                round=self.block.round,
                total=live.total,
                sent=live.sent,
                ended=live.ended,
                active=live.active,
                failed=live.failed,
                tokens=live.tokens,
                tokens_per_s=tokens / since if since > 0 else 0.0,
                elapsed_s=elapsed,
                left_s=left,
                ttft_ms=stats.percentile(sorted(self.ttft), 50) if self.ttft else None,
                e2e_ms=stats.percentile(sorted(self.e2e), 50) if self.e2e else None,
                at_ns=live.at_ns,
                lag_ms=live.lag_ns / 1e6,
                under_way=[_under_way(flight) for flight in live.flights],
            )
        )


def _under_way(flight: Flight) -> UnderWay:
    assert flight.exchange is not None
    return UnderWay(
        name=flight.call.name,
        lane=flight.lane,
        sched_ns=flight.due_ns,
        send_ns=flight.exchange.send_ns,
        first_ns=flight.reads.first_ns or None,
        pieces=len(flight.reply.token_end),
    )
