"""What the live view is told of a block."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from infertui import stats
from infertui.bench.asked import Turn
from infertui.client.driver import Live
from infertui.client.record import Flight
from infertui.event import Event, Ticked, UnderWay
from infertui.metric import CallRecord
from infertui.scenario.plan import Block


class Later(NamedTuple):
    """What is to come after a block: rounds like it, and what is known of the others. `least`: of some nothing is."""

    rounds: int = 0
    others_s: float = 0.0
    least: bool = False


def later(turn: Turn, turns: Sequence[Turn]) -> Later:
    """Rounds of other servers are taken to be as their last one was."""
    others = [each for each in turns if each is not turn and each.rounds_left and not each.failed]
    known = [each.rounds_left * each.round_s for each in others if each.round_s is not None]
    return Later(turn.rounds_left, sum(known), len(known) < len(others))


class Seen:
    """Its ticks: how far, how fast, and how long it will take."""

    def __init__(self, run: int, block: Block, later: Later, emit: Callable[[Event], None]) -> None:
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
            left += self.later.rounds * (elapsed + left) + self.later.others_s
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
                left_least=self.later.least,
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
