"""What the live page shows of a story: its charts' lines, and the texts above them. It makes no widget."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import NamedTuple

from infertui.report.chart import ALL_GPU, CPU, GPU, MEMORY, POWER
from infertui.tui.bar import Bars
from infertui.tui.chart import Line
from infertui.tui.course import Series
from infertui.tui.story import Course, Story

MIB, GIB = 1 << 20, 1 << 30
PAIRS = ((0, 3), (1, 4), (2, 7), (5, 6))  # two colours that go together for each server, the first is its own
MACHINE = 6  # the colour of what belongs to no server
MOST_MARKS = 12  # uprights: more of them would be a fence
MOST_POINTS, LEAST_POINTS = 800, 200  # of a line: a chart has some hundred columns of dots
NOTHING = Series()
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

Points = Sequence[tuple[float, float | None]]


@dataclass(frozen=True, slots=True)
class Panel:
    """What one chart shows."""

    key: str
    title: str
    unit: str
    lines: tuple[Line, ...]


class Turn(NamedTuple):
    """Blocks of one server that follow each other, until another's come."""

    course: Course
    start_s: float
    measured_s: float | None  # when its first measured block began
    end_s: float | None  # None: it is under way


def letter(story: Story, course: Course) -> str:
    """A server's short name, where there are several: the same in the table, in legends and beside uprights."""
    place = list(story.runs).index(course.run)
    return LETTERS[place] if place < len(LETTERS) else str(place + 1)


def colours(story: Story, course: Course) -> tuple[int, int]:
    return PAIRS[list(story.runs).index(course.run) % len(PAIRS)]


def turns(story: Story) -> list[Turn]:
    """In the order in which they were taken."""
    blocks = sorted(
        ((start_s, role, end_s, course) for course in story.runs.values() for role, _, start_s, end_s in course.spans),
        key=itemgetter(0),
    )
    found: list[Turn] = []
    for start_s, role, end_s, course in blocks:
        measured_s = start_s if role == "measured" else None
        if found and found[-1].course is course:
            last = found[-1]
            begun_s = measured_s if last.measured_s is None else last.measured_s
            found[-1] = Turn(course, last.start_s, begun_s, end_s)
        else:
            found.append(Turn(course, start_s, measured_s, end_s))
    return found


@dataclass(frozen=True, slots=True)
class View:
    """A story as the live page shows it: of all servers, or of one; with the former server's course beneath, or not."""

    story: Story
    chosen: Course | None = None
    ghost: bool = True

    @property
    def shown(self) -> list[Course]:
        return list(self.story.runs.values()) if self.chosen is None else [self.chosen]

    @property
    def at_hand(self) -> Course | None:
        """Whose figures are told: the chosen one, else the one that is under way or was last."""
        if self.chosen is not None:
            return self.chosen
        if self.story.current is not None:
            return self.story.current
        last = max(turns(self.story), key=lambda turn: turn.start_s, default=None)
        return last.course if last is not None else next(reversed(self.story.runs.values()), None)

    def extent(self, now_s: float) -> tuple[float, float]:
        """The time that there is to see."""
        if self.chosen is None or not self.chosen.spans:
            return 0.0, now_s
        start_s = self.chosen.spans[0][2]
        ends = [end_s for _, _, _, end_s in self.chosen.spans]
        return start_s, now_s if ends[-1] is None else ends[-1]

    # What is drawn.

    def panels(self, low: float, high: float) -> list[Panel]:
        """The charts for which there is data in the story. What every run has comes first, and always."""
        former = self._former(low, high) if self.ghost else None
        found = [
            Panel("speed", "Tokens/s", "", tuple(self._speed(low, high, former))),
            Panel("latency", "Latency", "ms", tuple(self._latency(low, high, former))),
            self._load(low, high, former),
            self._memory(low, high, former),
            Panel("power", "Power", "W", tuple(self._of_machine(POWER, low, high, colour=0))),
        ]
        waits = not self._sampled() and not self.story.over
        usual = ("speed", "latency", "load", "memory") if waits else ("speed", "latency")
        return [panel for panel in found if panel.key in usual or self._has(panel.key)]

    def bars(self, low: float, high: float, now_s: float) -> Bars:
        """Of the lanes in which there is one in that part of the time."""
        return Bars(track for course in self.shown for track in course.bars(now_s).tracks if track.within(low, high))

    def marks(self, low: float, high: float) -> list[tuple[float, str]]:
        """Where blocks begin, by their names; only turns where these would be too many."""
        several = len(self.story.runs) > 1
        found: list[tuple[float, str, bool]] = []
        for course in self.shown:
            name = f"{letter(self.story, course)} " if several and self.chosen is None else ""
            before = ""
            for role, number, start_s, _ in course.spans:
                stage = f"round {number}" if role == "measured" else {"warmup": "warm-up"}.get(role, role)
                found.append((start_s, name + stage, role == "measured" and before != "measured"))
                before = role
        found = [mark for mark in found if low <= mark[0] <= high]
        if len(found) > MOST_MARKS:
            found = [mark for mark in found if mark[2]][-MOST_MARKS:]
        return [(start_s, name) for start_s, name, _ in sorted(found)]

    def _name(self, course: Course, kind: str) -> str:
        """In a legend: what it is, and whose where several are shown."""
        if len(self.shown) < 2:
            return kind
        return f"{letter(self.story, course)} {kind}".rstrip()

    def _two(self, course: Course) -> tuple[int, int]:
        return (0, 1) if len(self.shown) < 2 else colours(self.story, course)

    def _speed(self, low: float, high: float, former: _Former | None) -> Iterator[Line]:
        for course in self.shown:
            label = self._name(course, "") if len(self.shown) > 1 else "now"
            yield Line(label, self._few(course.speed, low, high), self._two(course)[0])
        if former is not None:
            yield former.line(self.story, former.course.speed)

    def _latency(self, low: float, high: float, former: _Former | None) -> Iterator[Line]:
        for course in self.shown:
            first, second = self._two(course)
            yield Line(self._name(course, "e2e"), self._few(course.e2e, low, high), first, dots=True)
            yield Line(self._name(course, "TTFT"), self._few(course.ttft, low, high), second, dots=True)
        if former is not None:
            yield former.line(self.story, former.course.e2e, kind=" e2e", dots=True)

    def _load(self, low: float, high: float, former: _Former | None) -> Panel:
        """A server's CPU as its share of all cores, as the machine's is: so they can stand on one axis."""
        cores = os.cpu_count() or 1
        lines = list(self._of_machine({"machine_cpu_percent": CPU["machine_cpu_percent"]}, low, high))
        lines += [
            Line(self._name(course, "server"), _scaled(points, cores), self._two(course)[0])
            for course in self.shown
            if (points := self._known_few(course, "server_cpu_percent", low, high))
        ]
        names = dict(zip(GPU, ("GPU", "server's GPU"), strict=True))
        lines += self._of_machine(names, low, high, colour=2 if len(self.shown) < 2 else 7)
        if former is not None and (series := former.course.samples.get("server_cpu_percent")):
            lines.append(former.line(self.story, series, unit=cores))
        with_gpu = any(self._known(key) for key in GPU)
        return Panel("load", "CPU and GPU" if with_gpu else "CPU", f"% of {cores} cores", tuple(lines))

    def _memory(self, low: float, high: float, former: _Former | None) -> Panel:
        keys = {key: name for key, name in MEMORY.items() if self._known(key)}
        if "server_gpu_bytes" not in keys and self._known(next(iter(ALL_GPU))):
            keys |= ALL_GPU
        if len(self.shown) > 1 and len(keys) > 2:  # two colours a server: what it holds, and what it holds of the GPU
            keys = {key: name for key, name in keys.items() if key != "server_mapped_bytes"}
        found = [
            (course, place, name, points)
            for course in self.shown
            for place, (key, name) in enumerate(keys.items())
            if (points := self._known_few(course, key, low, high))
        ]
        most = max((value for *_, points in found for _, value in points if value is not None), default=0.0)
        unit, unit_name = (GIB, "GiB") if most >= GIB else (MIB, "MiB")
        lines = [
            Line(
                self._name(course, name),
                _scaled(points, unit),
                place if len(self.shown) < 2 else self._two(course)[min(place, 1)],
            )
            for course, place, name, points in found
        ]
        if former is not None and (series := former.course.samples.get("server_private_bytes")):
            lines.append(former.line(self.story, series, unit=unit))
        return Panel("memory", "Memory", unit_name, tuple(lines))

    def _of_machine(self, keys: Mapping[str, str], low: float, high: float, colour: int = MACHINE) -> Iterator[Line]:
        """What belongs to no server: one line, whoever was measured meanwhile."""
        for place, (key, name) in enumerate(keys.items()):
            parts = [self._known_few(course, key, low, high) for course in self.shown]
            parts = [part for part in parts if part]
            points = parts[0] if len(parts) == 1 else sorted((p for part in parts for p in part), key=itemgetter(0))
            if points:
                yield Line(name, points, colour + place)

    def _few(self, series: Series, low: float, high: float) -> Points:
        """As many as are worth drawing: the more servers, the fewer of each."""
        return series.seen(low, high, max(MOST_POINTS // len(self.shown), LEAST_POINTS))

    def _known_few(self, course: Course, key: str, low: float, high: float) -> Points:
        """Of what was sampled; none where nothing was in that part of the time."""
        points = self._few(course.samples.get(key, NOTHING), low, high)
        return points if any(y is not None for _, y in points) else ()

    def _has(self, panel: str) -> bool:
        keys = {"load": (*CPU, *GPU), "memory": (*MEMORY, *ALL_GPU), "power": tuple(POWER)}[panel]
        return any(self._known(key) for key in keys)

    def _known(self, key: str) -> bool:
        return any(course.samples.get(key) for course in self.shown)

    def _sampled(self) -> bool:
        return any(course.samples for course in self.shown)

    def _former(self, low: float, high: float) -> _Former | None:
        """The turn before that of the server at hand, of another server."""
        course = self.at_hand
        taken = turns(self.story)
        at = next((place for place in reversed(range(len(taken))) if taken[place].course is course), 0)
        here = taken[at] if taken else None
        if here is None or here.measured_s is None:
            return None
        for turn in reversed(taken[:at]):
            if turn.course is not course and turn.measured_s is not None and turn.end_s is not None:
                shift_s = here.measured_s - turn.measured_s
                start_s, end_s = max(turn.start_s, low - shift_s), min(turn.end_s, high - shift_s)
                return _Former(turn.course, start_s, end_s, shift_s)
        return None


class _Former(NamedTuple):
    """What is seen of a finished turn, and by how much it is moved so that the measured parts begin together."""

    course: Course
    start_s: float
    end_s: float
    shift_s: float

    def line(self, story: Story, series: Series, *, kind: str = "", unit: float = 1.0, dots: bool = False) -> Line:
        moved = [
            (x + self.shift_s, None if y is None else y / unit)
            for x, y in series.seen(self.start_s, self.end_s, MOST_POINTS)
        ]
        return Line(f"{letter(story, self.course)} before{kind}", moved, ghost=True, dots=dots)


def _scaled(points: Points, unit: float) -> list[tuple[float, float | None]]:
    return [(x, None if y is None else y / unit) for x, y in points]
