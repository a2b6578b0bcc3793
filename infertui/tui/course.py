"""One server's run, as far as it has come: its calls, its blocks, what was sampled. Pure.

Times are seconds since the story's beginning.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple

from infertui import condition
from infertui.condition import Doubt
from infertui.event import BlockEnded, BlockStarted, Ticked, UnderWay
from infertui.metric import CallRecord, Summary
from infertui.sample import SERIES, Values

GAP_S = 2.5  # readings that are further apart are not joined
MOST_POINTS = 20_000  # of a series; beyond, half of them go

Point = tuple[float, float | None]


@dataclass(frozen=True, slots=True)
class Bar:
    """A call as it is drawn. None: it has not come so far, or never did.

    `state`: "good", "failed", "running"; "alone" and "warmup" for those that are not measured, unless they failed.
    """

    lane: int
    due_s: float
    sent_s: float | None
    first_s: float | None
    end_s: float | None
    state: str
    group: str = ""
    name: str = ""


class Span(NamedTuple):
    """A block. `end_s` None: it is under way."""

    role: str
    round: int
    start_s: float
    end_s: float | None


class Series(list[Point]):
    """Points by ascending x, never many more than a screen can show. A y of None: what follows is not joined."""

    def put(self, x: float, y: float) -> None:
        if self and x < self[-1][0]:
            insort(self, (x, y), key=_x)
        else:
            self.append((x, y))
        if len(self) > MOST_POINTS:
            fewer = halved(self)
            # Where nearly all stand alone there is little to leave out: then the oldest go.
            self[:] = fewer if len(fewer) < 0.75 * MOST_POINTS else fewer[len(fewer) // 2 :]

    def cut(self) -> None:
        """What comes next is not joined to what is there."""
        if self and self[-1][1] is not None:
            self.append((self[-1][0], None))


def _x(point: Point) -> float:
    return point[0]


def halved(points: Sequence[Point]) -> list[Point]:
    """Of each four points in a row the lowest and the highest, in their order; gaps stay."""
    found: list[Point] = []
    part: list[tuple[float, float]] = []
    for x, y in points:
        if y is not None:
            part.append((x, y))
        if len(part) == 4 or (y is None and part):
            found += sorted({min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])})
            part = []
        if y is None:
            found.append((x, None))
    return [*found, *part]


class Course:
    """One server's run."""

    def __init__(
        self,
        run: int,
        server: str,
        model: str,
        scenario: str,
        rounds: int,
        planned_calls: int,
        caveats: Sequence[str],
        origin_ns: int,
    ) -> None:
        self.run, self.server, self.model, self.scenario = run, server, model, scenario
        self.rounds, self.planned_calls, self.caveats = rounds, planned_calls, list(caveats)
        self.state = self.state_message = ""
        self.block: BlockStarted | None = None  # while it is under way
        self.tick: Ticked | None = None  # the newest of the last block
        self.calls: list[CallRecord] = []  # that have ended, of all roles
        self.speed, self.ttft, self.e2e = Series(), Series(), Series()
        self.samples: dict[str, Series] = {}
        self.latest: Values = {}  # the newest reading of each
        self.spans: list[Span] = []
        self.errors: Counter[str] = Counter()  # of measured calls, with those that were cancelled
        self.lag_ms: float | None = None  # of our own client, the worst so far
        self.measured = 0  # calls that have ended; those that were cancelled do not count
        self.summary: Summary | None = None
        self.status = ""  # while it is under way
        self._origin_ns = origin_ns
        self.doubts: list[Doubt] = []  # the worst of each cause
        self._bars: list[Bar] = []
        self._ended: set[str] = set()  # calls of the block at hand
        self._flying: dict[str, tuple[UnderWay, float | None]] = {}  # and when it was seen no more

    @property
    def suspicious(self) -> bool:
        return any(doubt.level == "suspicious" for doubt in self.doubts)

    def bars(self, now: float) -> list[Bar]:
        """All calls so far; those under way as the newest tick has them, and none ends after `now`."""
        role = self.block.role if self.block is not None else ""
        flying = [
            Bar(
                lane=call.lane,
                due_s=self.at_s(call.sched_ns),
                sent_s=self.at_s(call.send_ns),
                first_s=None if call.first_ns is None else self.at_s(call.first_ns),
                end_s=None if gone_s is None else min(gone_s, now),
                state=_state(role, "running"),
                group=self.server,
                name=call.name,
            )
            for call, gone_s in self._flying.values()
        ]
        return self._bars + flying

    def first_s(self) -> float | None:
        """When its first measured block began."""
        return next((span.start_s for span in self.spans if span.role == "measured"), None)

    def at_s(self, stamp_ns: int) -> float:
        return (stamp_ns - self._origin_ns) / 1e9

    # What happens to it.

    def begin(self, block: BlockStarted) -> None:
        self.block, self.tick = block, None
        self._ended.clear()
        self._flying.clear()
        self.speed.cut()

    def end(self, block: BlockEnded) -> None:
        if self.block is not None and self.spans and self.spans[-1].end_s is None:
            self.spans[-1] = self.spans[-1]._replace(end_s=self.spans[-1].start_s + block.elapsed_s)
        self.block = None
        self._flying.clear()  # by now every end has been told
        self.speed.cut()

    def pause(self) -> None:
        """Another server is measured."""
        for series in (self.speed, *self.samples.values()):
            series.cut()

    def take_tick(self, at_s: float, tick: Ticked) -> bool:
        """One that comes after the end of its block tells nothing new. Whether it was taken."""
        if self.block is None or (self.block.role, self.block.round) != (tick.role, tick.round):
            return False
        self.tick = tick
        self._span(tick.role, tick.round, at_s - tick.elapsed_s)
        self.speed.put(at_s, tick.tokens_per_s)
        if tick.lag_ms is not None:
            self.lag_ms = max(tick.lag_ms, self.lag_ms or 0.0)
        seen = {call.name: call for call in tick.under_way if call.name not in self._ended}
        # A call that is gone has ended; that is told a little later, when it is stored. Until then it stays.
        gone = {name: (call, at_s if was is None else was) for name, (call, was) in self._flying.items()}
        self._flying = {name: told for name, told in gone.items() if name not in seen}
        self._flying |= {name: (call, None) for name, call in seen.items()}
        return True

    def take_call(self, call: CallRecord) -> None:
        self.calls.append(call)
        self._ended.add(call.name)
        self._flying.pop(call.name, None)
        self._bars.append(self._bar(call))
        self._span(call.role, call.round, self.at_s(call.sched_ns))
        if call.role != "measured":
            return
        self.measured += call.outcome != "cancelled"
        if not call.good:
            self.errors[call.outcome] += 1
        elif (ended_ns := call.last_ns or call.end_ns) is not None:
            for series, value in ((self.ttft, call.ttft_ms), (self.e2e, call.e2e_ms)):
                if value is not None:
                    series.put(self.at_s(ended_ns), value)

    def _bar(self, call: CallRecord) -> Bar:
        last_ns = call.last_ns or call.end_ns or call.first_ns or call.send_ns or call.sched_ns
        state = _state(call.role, "good") if call.good else "failed"
        sent, first = (None if stamp is None else self.at_s(stamp) for stamp in (call.send_ns, call.first_ns))
        return Bar(call.lane, self.at_s(call.sched_ns), sent, first, self.at_s(last_ns), state, self.server, call.name)

    def _span(self, role: str, round: int, start_s: float) -> None:
        """The block that something was heard of first, or that began before that."""
        last = self.spans[-1] if self.spans else None
        if last is None or last.end_s is not None or (last.role, last.round) != (role, round):
            if self.block is not None and (self.block.role, self.block.round) == (role, round):
                self.spans.append(Span(role, round, start_s, None))
        elif start_s < last.start_s:
            self.spans[-1] = last._replace(start_s=start_s)

    def take_sample(self, at_s: float, values: Values) -> None:
        for key, value in values.items():
            if (
                key in SERIES
                and value is not None
                and isfinite(value)
                and not (SERIES[key].of == "power" and value <= 0)
            ):
                series = self.samples.setdefault(key, Series())
                if series and at_s - series[-1][0] > GAP_S:
                    series.cut()
                series.put(at_s, value)
                self.latest[key] = value

    def take_doubts(self, doubts: Sequence[Doubt]) -> None:
        self.doubts = condition.worst([*self.doubts, *doubts])

    def close(self, status: str, summary: Summary) -> None:
        self.status, self.summary, self.block = status, summary, None
        self.doubts = list(summary.doubts)  # judged by all that is known, and by what the user tolerates
        self._flying.clear()
        if self.spans and self.spans[-1].end_s is None:
            ends = [bar.end_s for bar in self._bars if bar.end_s is not None]
            start_s = self.spans[-1].start_s
            self.spans[-1] = self.spans[-1]._replace(end_s=max([start_s, *ends]))


def _state(role: str, state: str) -> str:
    return role if role in ("alone", "warmup") else state
