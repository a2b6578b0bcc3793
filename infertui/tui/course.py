"""One server's run, as far as it has come: its calls, its blocks, what was sampled. Pure.

Times are seconds since the story's beginning. Of a call that has ended its bar and its share of the figures stay: a run
may have a hundred thousand.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from collections import Counter, OrderedDict
from collections.abc import Sequence
from math import inf, isfinite
from typing import NamedTuple

from infertui import condition
from infertui.condition import Doubt
from infertui.event import BlockEnded, BlockStarted, Ticked, UnderWay
from infertui.metric import NS_PER_MS, CallRecord, Summary
from infertui.sample import SERIES, Values
from infertui.stats import percentile
from infertui.tui.bar import Bar, Bars, Track
from infertui.usage import rounds

GAP_S = 2.5  # readings that are further apart are not joined
MOST_POINTS = 20_000  # of a series; beyond, half of them go
LEVELS = 10  # of a series, each with half of the points of the one above it
MOST_ENDED = 4_096  # names: a tick that was made before so many calls have ended comes before they have
RESORTED = 16  # new values that are more than such a part of the old ones are sorted together with them

Point = tuple[float, float | None]


class Span(NamedTuple):
    """A block. `end_s` None: it is under way."""

    role: str
    round: int
    start_s: float
    end_s: float | None


class Series(list[Point]):
    """Points by ascending x. A y of None: what follows is not joined.

    Of each four points in a row the lowest and the highest are in a coarser series beneath it, and so on: so a picture
    of any part of the time can be made of a few.
    """

    def __init__(self, level: int = 0) -> None:
        super().__init__()
        self._level = level
        self._coarser: Series | None = None
        self._fresh: list[tuple[float, float]] = []  # what the coarser one does not have yet

    def put(self, x: float, y: float) -> None:
        if self and x < self[-1][0]:
            insort(self, (x, y), key=_x)
        else:
            self.append((x, y))
        self._fresh.append((x, y))
        if len(self._fresh) == 4:
            self._pass_on()
        if len(self) > MOST_POINTS:
            self._thin()

    def _thin(self) -> None:
        fewer = halved(self)
        # Where nearly all stand alone there is little to leave out: then the oldest go.
        self[:] = fewer if len(fewer) < 0.75 * MOST_POINTS else fewer[len(fewer) // 2 :]

    def cut(self) -> None:
        """What comes next is not joined to what is there."""
        if self and self[-1][1] is not None:
            self.append((self[-1][0], None))
            self._pass_on()
            if self._coarser is not None:
                self._coarser.cut()

    def _pass_on(self) -> None:
        if self._fresh and self._level < LEVELS:
            if self._coarser is None:
                self._coarser = Series(self._level + 1)
            for x, y in _ends(self._fresh):
                self._coarser.put(x, y)
        self._fresh.clear()

    def seen(self, low: float, high: float, most: int) -> Sequence[Point]:
        """Those in that part of the time, and next to it on both sides: so that a line enters and leaves.

        Where they are more than `most`, those of the finest series that has fewer, and the newest of all.
        """
        series: Series = self
        first, last = series._places(low, high)
        newest = [point for point in self[last - 1 : last] if point[1] is not None and last - first > most]
        while last - first > most and series._coarser is not None:
            newest += series._fresh
            series = series._coarser
            first, last = series._places(low, high)
        found = series[max(0, first - 1) : last + 1]
        return sorted(found + newest, key=_x) if newest else found

    def _places(self, low: float, high: float) -> tuple[int, int]:
        first = bisect_left(self, low, key=_x)
        return first, bisect_right(self, high, lo=first, key=_x)


class Dots(Series):
    """Points that are not joined. Of many there are some that stand for all, and the lowest and highest: these alone
    would be a cloud without a middle."""

    def _thin(self) -> None:
        del self[1::2]

    def seen(self, low: float, high: float, most: int) -> Sequence[Point]:
        first, last = self._places(low, high)
        extremes = super().seen(low, high, most if last - first <= most else most // 2)
        if last - first <= most:
            return extremes
        step = 1 << (2 * (last - first) // most).bit_length()
        return sorted({*self[first + -first % step : last : step], *extremes}, key=_x)


def _x(point: Point) -> float:
    return point[0]


def _ends(part: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The lowest and the highest, in their order."""
    return sorted({min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])})


def halved(points: Sequence[Point]) -> list[Point]:
    """Of each four points in a row the lowest and the highest, in their order; gaps stay."""
    found: list[Point] = []
    part: list[tuple[float, float]] = []
    for x, y in points:
        if y is not None:
            part.append((x, y))
        if len(part) == 4 or (y is None and part):
            found += _ends(part)
            part = []
        if y is None:
            found.append((x, None))
    return [*found, *part]


class Median:
    """Of many values, exactly. They are sorted when somebody asks."""

    def __init__(self) -> None:
        self._sorted, self._fresh = array("d"), array("d")

    def add(self, value: float) -> None:
        self._fresh.append(value)

    @property
    def value(self) -> float | None:
        if RESORTED * len(self._fresh) > len(self._sorted):
            self._sorted = array("d", sorted(self._sorted + self._fresh))
        else:
            for each in self._fresh:
                insort(self._sorted, each)
        del self._fresh[:]
        return percentile(self._sorted, 50) if self._sorted else None


class SoFar:
    """The figures of the measured calls so far, to the last digit as `metric.summarise` makes them of all."""

    def __init__(self) -> None:
        self.calls = self.good = self.tokens = 0
        self.ttft_ms, self.e2e_ms = Median(), Median()
        self._rounds: dict[int, tuple[int, int]] = {}  # from the first due time to the last end

    def add(self, call: CallRecord) -> None:
        self.calls += 1
        for low, high in rounds([call]):
            first, last = self._rounds.get(call.round, (low, high))
            self._rounds[call.round] = (min(first, low), max(last, high))
        if call.good:
            self.good += 1
            self.tokens += call.n_output or 0
            for median, value in ((self.ttft_ms, call.ttft_ms), (self.e2e_ms, call.e2e_ms)):
                if value is not None:
                    median.add(value)

    @property
    def success_rate(self) -> float | None:
        return self.good / self.calls if self.calls else None

    @property
    def output_tps(self) -> float | None:
        wall_ms = sum(high - low for low, high in self._rounds.values()) / NS_PER_MS
        return self.tokens * 1e3 / wall_ms if self.tokens > 0 and wall_ms > 0 else None


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
        self.ended = 0  # calls of all roles
        self.so_far = SoFar()
        self.speed, self.ttft, self.e2e = Series(), Dots(), Dots()
        self.samples: dict[str, Series] = {}
        self.latest: Values = {}  # the newest reading of each
        self.spans: list[Span] = []
        self.errors: Counter[str] = Counter()  # of measured calls, with those that were cancelled
        self.early: Counter[str] = Counter()  # of calls before the rounds, which do not count
        self.lag_ms: float | None = None  # of our own client, the worst so far
        self.summary: Summary | None = None
        self.status = ""  # while it is under way
        self._origin_ns = origin_ns
        self.doubts: list[Doubt] = []  # the worst of each cause
        self._tracks: dict[int, Track] = {}  # by lane
        self._last_s = -inf  # end of a call
        self._ended: OrderedDict[str, None] = OrderedDict()  # the newest calls of the block at hand
        self._flying: dict[str, tuple[UnderWay, float | None]] = {}  # and when it was seen no more

    @property
    def measured(self) -> int:
        """Calls that have ended; those that were cancelled do not count."""
        return self.so_far.calls

    @property
    def suspicious(self) -> bool:
        return any(doubt.level == "suspicious" for doubt in self.doubts)

    def bars(self, now: float) -> Bars:
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
        return Bars([*self._tracks.values(), *Bars.of(flying).tracks])

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
        self.ended += 1
        self._ended[call.name] = None
        if len(self._ended) > MOST_ENDED:
            self._ended.popitem(last=False)
        self._flying.pop(call.name, None)
        last_s = self.at_s(latest_ns(call))
        self._last_s = max(self._last_s, last_s)
        self._track(call.lane).add(self._bar(call, last_s))
        self._span(call.role, call.round, self.at_s(call.sched_ns))
        if call.role != "measured":
            if not call.good:
                self.early[call.outcome] += 1
            return
        if call.outcome != "cancelled":
            self.so_far.add(call)
        if not call.good:
            self.errors[call.outcome] += 1
        elif (ended_ns := call.last_ns or call.end_ns) is not None:
            for series, value in ((self.ttft, call.ttft_ms), (self.e2e, call.e2e_ms)):
                if value is not None:
                    series.put(self.at_s(ended_ns), value)

    def _track(self, lane: int) -> Track:
        if lane not in self._tracks:
            self._tracks[lane] = Track(self.server, lane)
        return self._tracks[lane]

    def _bar(self, call: CallRecord, last_s: float) -> Bar:
        state = _state(call.role, "good") if call.good else "failed"
        sent, first = (None if stamp is None else self.at_s(stamp) for stamp in (call.send_ns, call.first_ns))
        return Bar(call.lane, self.at_s(call.sched_ns), sent, first, last_s, state, self.server, call.name)

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
            self.spans[-1] = self.spans[-1]._replace(end_s=max(self.spans[-1].start_s, self._last_s))


def _state(role: str, state: str) -> str:
    return role if role in ("alone", "warmup") else state


def latest_ns(call: CallRecord) -> int:
    """Of a call that has ended the last that is known."""
    return call.last_ns or call.end_ns or call.first_ns or call.send_ns or call.sched_ns
