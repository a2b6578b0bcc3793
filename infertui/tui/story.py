"""What has happened in an experiment so far, out of its events; and the same of a run that is stored. Pure.

Times are seconds since the first run began (of a stored run: since its first call or a little before). An event that
bears no stamp has the time of the newest one before it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from infertui import condition
from infertui.condition import Tolerated
from infertui.event import (
    BlockEnded,
    BlockStarted,
    CallEnded,
    Event,
    Observed,
    RunEnded,
    RunStarted,
    Sampled,
    ServerChanged,
    Ticked,
    Waited,
    Warned,
)
from infertui.metric import CallRecord
from infertui.report.figure import seconds
from infertui.sample import SERIES, Sample, Values
from infertui.span import Spans
from infertui.text import plain
from infertui.tui.course import GAP_S, Point, Span, latest_ns
from infertui.tui.course import Course as Course

if TYPE_CHECKING:
    from infertui.result import Report

    Reads = Mapping[str, tuple[array[int], array[int], array[int]]]

MOST_LINES = 2_000  # of the log
EDGE_S = 5.0  # of the time before the first call of a stored run that is shown
FINEST_S = 0.2  # over which tokens are counted, at least
MOST_STEPS = 2_000  # in which tokens are counted
ENDING = ("stopping", "stopped")  # states of a server that has done its work
STAGES = {"warmup": "warm-up", "alone": "alone, to compare with"}


class Story:
    """An experiment so far: a fold of its events."""

    def __init__(self, tolerated: Tolerated | None = None) -> None:
        self.experiment: int | None = None
        self.runs: dict[int, Course] = {}
        self.current: Course | None = None  # whose block is under way, or whose server is starting
        self.origin_ns = 0
        self.newest_s = 0.0
        self.log: list[tuple[float, str, str]] = []  # seconds; info, warn or error; a line
        self.logged = 0  # lines so far, with those that have gone
        self.waiting: Waited | None = None
        self._tolerated = tolerated or Tolerated()
        self._left: tuple[float, float] | None = None  # seconds, and when that was so
        self._left_least = False
        self._waits: set[tuple[int, str]] = set()  # that have been told

    @property
    def over(self) -> bool:
        """Every run has ended."""
        return bool(self.runs) and all(course.status for course in self.runs.values())

    def progress(self) -> tuple[int, int]:
        """Measured calls that have ended, of all that are planned."""
        courses = self.runs.values()
        return sum(course.measured for course in courses), sum(course.planned_calls for course in courses)

    def left_s(self) -> float | None:
        """As far as it can be told: not before tokens of a measured block have come, nor when it took longer."""
        if self._left is None or self.over:
            return None
        left_s, at_s = self._left
        left_s -= self.newest_s - at_s
        return left_s if left_s > 0 else None

    def left(self) -> str:
        """The same in words; empty where it cannot be told."""
        left_s = self.left_s()
        return "" if left_s is None else f"{'at least ' if self._left_least else ''}{seconds(left_s)} left"

    def at_s(self, stamp_ns: int) -> float:
        return (stamp_ns - self.origin_ns) / 1e9

    def add(self, event: Event, at_ns: int | None = None) -> None:
        """`at_ns`: when it came, on the clock of its stamps, where that is known."""
        if at_ns is not None and self.runs:
            self._now(at_ns)
        if isinstance(event, RunStarted):
            self._start(event)
        elif isinstance(event, Warned):
            self._say("warn", event.message)
        elif (course := self.runs.get(event.run)) is not None:
            self._tell(course, event)

    def _now(self, stamp_ns: int) -> None:
        self.newest_s = max(self.newest_s, self.at_s(stamp_ns))

    def _say(self, level: str, text: str) -> None:
        self.log.append((self.newest_s, level, plain(text, 400)))
        self.logged += 1
        if len(self.log) > MOST_LINES:
            del self.log[: MOST_LINES // 4]

    def _start(self, event: RunStarted) -> None:
        if not self.runs:
            self.experiment, self.origin_ns = event.experiment, event.clock_ns
        self._now(event.clock_ns)
        self.runs[event.run] = Course(
            run=event.run,
            server=event.server,
            model=event.model,
            scenario=event.scenario,
            rounds=event.rounds,
            planned_calls=event.calls,
            caveats=event.caveats,
            origin_ns=self.origin_ns,
        )
        self._say("info", f"run {event.run}: {event.scenario} on {event.server}, model {event.model}")
        for caveat in event.caveats:
            self._say("warn", f"{event.server}: {caveat}")

    def _enter(self, course: Course) -> None:
        if self.current is not course and self.current is not None:
            self.current.pause()
        self.current = course

    def _tell(self, course: Course, event: Event) -> None:
        if isinstance(event, Ticked):
            at_s = self.at_s(event.at_ns) if event.at_ns else self.newest_s
            self.newest_s, self.waiting = max(self.newest_s, at_s), None
            if course.take_tick(at_s, event) and event.role == "measured" and event.left_s is not None:
                self._left, self._left_least = (event.left_s, at_s), event.left_least
        elif isinstance(event, Sampled):
            self._now(event.at_ns)
            course.take_sample(self.at_s(event.at_ns), event.values)
        elif isinstance(event, CallEnded):
            self._call(course, event)
        elif isinstance(event, ServerChanged):
            self._server(course, event)
        elif isinstance(event, BlockStarted):
            self.waiting = None
            self._enter(course)
            course.begin(event)
            calls = f"{event.calls} call{'s' if event.calls > 1 else ''}"
            self._say("info", f"{course.server}: {STAGES.get(event.role, f'round {event.round}')}, {calls}")
        elif isinstance(event, BlockEnded):
            course.end(event)
        elif isinstance(event, Waited):
            self._enter(course)
            self.waiting = event
            if (event.run, event.cause) not in self._waits:
                self._waits.add((event.run, event.cause))
                self._say("info", f"{course.server} waits, {event.left_s:.0f} s at most: {event.reason}")
        elif isinstance(event, Observed):
            course.take_doubts(condition.before(event.conditions, self._tolerated))
        elif isinstance(event, RunEnded):
            self._end(course, event)

    def _server(self, course: Course, event: ServerChanged) -> None:
        self.waiting = None
        told = event.state != course.state
        course.state, course.state_message = event.state, plain(event.message, 400)
        if event.state not in ENDING:
            self._enter(course)
        elif self.current is course:
            course.pause()
            self.current = None
        if told:
            after = f" after {seconds(event.elapsed_s)}" if event.elapsed_s >= 0.1 else ""
            said = f": {event.message}" if event.message else ""
            self._say("error" if event.state == "error" else "info", f"{course.server}: {event.state}{after}{said}")

    def _call(self, course: Course, event: CallEnded) -> None:
        call = event.call
        if (ended_ns := call.end_ns or call.last_ns) is not None:
            self._now(ended_ns)
        course.take_call(call)
        if not call.good:
            level = "info" if call.outcome == "cancelled" else "error"
            said = f": {call.message}" if call.message else ""
            self._say(level, f"{course.server} {call.name}: {call.outcome}{said}")
        if not event.stored:
            self._say("error", f"{course.server} {call.name} could not be stored")

    def _end(self, course: Course, event: RunEnded) -> None:
        course.close(event.status, event.summary)
        if self.current is course or self.over:
            self.current = self.waiting = None
        good = event.summary.calls - sum(event.summary.errors.values())
        said = f"{course.server}: {event.status}, {good} of {event.summary.calls} calls good"
        self._say("error" if event.status == "failed" else "info", said)


# A run that is stored.


def of_run(report: Report, calls: Sequence[CallRecord], samples: Sequence[Sample], reads: Reads) -> Story:
    """All of a run as the database has it: `reads` as `Store.reads` gives them. What was sampled long before the first
    call is left out."""
    story = Story()
    first_ns = min((call.sched_ns for call in calls), default=None)
    samples = sorted(samples, key=lambda sample: sample.at_ns)
    if first_ns is not None:
        samples = [sample for sample in samples if sample.at_ns >= first_ns - EDGE_S * 1e9]
    stamps = [sample.at_ns for sample in samples[:1]] + ([] if first_ns is None else [first_ns])
    story.origin_ns = min(stamps, default=0)
    course = Course(
        run=report.id,
        server=report.server,
        model=report.model,
        scenario=report.scenario,
        rounds=int(report.setup.get("rounds", 1)),
        planned_calls=report.summary.calls,
        caveats=report.caveats,
        origin_ns=story.origin_ns,
    )
    story.runs[report.id] = course
    for call in calls:
        story._call(course, CallEnded(run=report.id, call=call))
    course.spans = _blocks(course, calls)
    for at_s, speed in _speed(course, calls, reads):
        if speed is None:
            course.speed.cut()
        else:
            course.speed.put(at_s, speed)
    _take_samples(course, samples)
    if samples:
        story._now(samples[-1].at_ns)
    for warning in report.summary.warnings:
        story._say("warn", warning)
    if report.message:
        story._say("error", report.message)
    own = report.summary.generator
    lags = [lag for lag in (own.lag_max_ms, own.loop_lag_max_ms) if lag is not None]
    course.lag_ms = max(lags, default=None)
    course.close(report.status, report.summary)
    return story


def _blocks(course: Course, calls: Sequence[CallRecord]) -> list[Span]:
    """From the first call that was due to the last end."""
    found: dict[tuple[str, int], tuple[int, int]] = {}
    for call in calls:
        start_ns, end_ns = found.get((call.role, call.round), (call.sched_ns, latest_ns(call)))
        found[call.role, call.round] = (min(start_ns, call.sched_ns), max(end_ns, latest_ns(call)))
    spans = [
        Span(role, round, course.at_s(start_ns), course.at_s(end_ns))
        for (role, round), (start_ns, end_ns) in found.items()
    ]
    return sorted(spans, key=lambda span: span.start_s)


def _take_samples(course: Course, samples: Sequence[Sample]) -> None:
    """Of several sources that tell a series, the one that tells most of it. A rate stands in the middle of its span."""
    told: dict[str, Counter[str]] = {}
    for sample in samples:
        for key, value in sample.values.items():
            if value is not None:
                told.setdefault(key, Counter())[sample.source] += 1
    fullest = {key: sources.most_common(1)[0][0] for key, sources in told.items()}
    for sample in samples:
        by_time: dict[float, Values] = {}
        for key, value in sample.values.items():
            if fullest.get(key) == sample.source:
                rate = key in SERIES and SERIES[key].kind == "rate" and sample.since_ns is not None
                length_s = (sample.at_ns - (sample.since_ns or 0)) / 1e9 if rate else 0.0
                by_time.setdefault(course.at_s(sample.at_ns) - min(length_s, GAP_S) / 2, {})[key] = value
        for at_s, values in by_time.items():
            course.take_sample(at_s, values)


def _speed(course: Course, calls: Sequence[CallRecord], reads: Reads) -> list[Point]:
    """Tokens/s of all calls together, while any is under way: where none is, there is no speed to speak of.

    Each stretch of calls is cut into equal steps, so that neither its end looks slow nor a late token like thousands.
    """
    told = {name for name, (at_us, _, _) in reads.items() if at_us}
    shown = [call for call in calls if call.send_ns is not None and (call.name in told or not call.n_output)]
    if not any(call.name in told for call in shown):
        return []
    flights = [(call.send_ns or 0, _last_ns(call, reads)) for call in shown]
    busy = Spans(flights)
    step_ns = max(FINEST_S * 1e9, busy.total_ns / MOST_STEPS)
    starts: list[int] = []  # of the steps …
    ends: list[int] = []  # … and their ends: the next one's start, but for pauses
    for start_ns, end_ns in _bridged(busy.spans, step_ns / 2):
        steps = max(1, round((end_ns - start_ns) / step_ns))
        edges = [start_ns + (end_ns - start_ns) * step // steps for step in range(steps + 1)]
        starts += edges[:-1]
        ends += edges[1:]
    amounts = [0.0] * len(starts)
    for call, (send_ns, last_ns) in zip(shown, flights, strict=True):
        if call.name not in told:
            continue
        at_us, pieces, _ = reads[call.name]
        came = [0, *accumulate(pieces)] if pieces else range(len(at_us) + 1)  # mostly one a read, and not kept then
        tokens = came[-1] if call.n_output is None else max(0, call.n_output - call.n_hidden)
        each = tokens / came[-1] if came[-1] else 0.0
        first, last = bisect_right(starts, send_ns) - 1, bisect_left(starts, last_ns)
        before = 0
        for at in range(max(0, first), min(last + 1, len(starts))):
            # The last of its steps has all that is left, whatever rounding has done.
            until = len(at_us) if ends[at] >= last_ns else bisect_left(at_us, (ends[at] - send_ns) / 1e3)
            amounts[at] += (came[until] - came[before]) * each
            before = max(before, until)
    found: list[Point] = []
    for at, (start_ns, end_ns) in enumerate(zip(starts, ends, strict=True)):
        if found and start_ns != ends[at - 1]:
            found.append((found[-1][0], None))
        if (taken_ns := busy.within(start_ns, end_ns)) > 0:
            found.append((course.at_s(round((start_ns + end_ns) / 2)), amounts[at] * 1e9 / taken_ns))
    return found


def _last_ns(call: CallRecord, reads: Reads) -> int:
    send_ns = call.send_ns or 0
    at_us = reads[call.name][0] if call.name in reads else array("q")
    known = (send_ns, call.last_ns, call.end_ns, send_ns + at_us[-1] * 1000 if at_us else None)
    return max(stamp for stamp in known if stamp is not None)


def _bridged(spans: Sequence[tuple[int, int]], pause_ns: float) -> list[tuple[int, int]]:
    """Pauses up to that length are no pauses."""
    found: list[tuple[int, int]] = []
    for start_ns, end_ns in spans:
        if found and start_ns - found[-1][1] <= pause_ns:
            found[-1] = (found[-1][0], end_ns)
        else:
            found.append((start_ns, end_ns))
    return found
