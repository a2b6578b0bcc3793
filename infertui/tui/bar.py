"""Calls as they are drawn, kept so small that a run may have a hundred thousand of them. Pure.

Times are seconds since the story's beginning.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from math import inf, isnan, nan
from typing import NamedTuple

STATES = ("good", "failed", "running", "alone", "warmup")
FEW = 1  # calls a cell of a lane: of so many each is drawn


class Bar(NamedTuple):
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


class Track:
    """Calls of one lane, by when they were due: some sixty bytes each, as columns."""

    def __init__(self, group: str, lane: int) -> None:
        self.group, self.lane = group, lane
        self._due, self._sent, self._first, self._end = (array("d") for _ in range(4))  # NaN: None
        self._reach = array("d")  # the latest end of this call and of all before it
        self._state = bytearray()
        self._failed = array("I")  # their places
        self._name = array("I")  # where each begins in …
        self._names = bytearray()  # … all of them, each with a zero after it

    def __len__(self) -> int:
        return len(self._due)

    def __iter__(self) -> Iterator[Bar]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, at: int) -> Bar:
        start = self._name[at]
        return Bar(
            self.lane,
            self._due[at],
            _known(self._sent[at]),
            _known(self._first[at]),
            _known(self._end[at]),
            STATES[self._state[at]],
            self.group,
            self._names[start : self._names.index(0, start)].decode("utf-8", "surrogatepass"),
        )

    def add(self, bar: Bar) -> None:
        """In a lane one call follows another, so it mostly is the last; ends may be told a little out of order."""
        at = len(self)
        if at and bar.due_s < self._due[-1]:
            at = bisect_right(self._due, bar.due_s)
            for place in range(bisect_left(self._failed, at), len(self._failed)):
                self._failed[place] += 1
        times = (bar.due_s, bar.sent_s, bar.first_s, bar.end_s)
        for column, time in zip((self._due, self._sent, self._first, self._end), times, strict=True):
            column.insert(at, nan if time is None else time)
        self._reach.append(-inf)
        for place in range(at, len(self)):
            end = self._end[place]
            self._reach[place] = max(self._reach[place - 1] if place else -inf, inf if isnan(end) else end)
        self._state.insert(at, STATES.index(bar.state))
        if bar.state == "failed":
            self._failed.insert(bisect_left(self._failed, at), at)
        self._name.insert(at, len(self._names))
        self._names += bar.name.encode("utf-8", "surrogatepass").replace(b"\0", b"") + b"\0"

    def within(self, low: float, high: float) -> range:
        """The places of its calls in that part of the time, and of what lies between them. The first is always one."""
        return range(bisect_left(self._reach, low), bisect_right(self._due, high))

    def seen(self, low: float, high: float, columns: int) -> Sequence[int]:
        """The places of those that a picture of that part of the time, so many cells wide, shows.

        While they are few these are all. Of more, it is what is under way where a cell ends; where nothing is, the
        first that was due in the cell; and the first failed one that was. So where calls follow one another each that
        is wider than a cell is among them, no cell is empty in which there was one, and none hides that one failed.
        """
        places = self.within(low, high)
        if len(places) <= FEW * columns:
            return places
        step = (high - low) / max(1, columns - 1)
        due, end, reach, failed = self._due, self._end, self._reach, self._failed
        found: set[int] = set()
        at = max(places.start, bisect_left(due, low - step / 2)) - 1
        fault = bisect_left(failed, at + 1)
        for column in range(columns):
            edge = low + (column + 0.5) * step
            before, at = at, bisect_left(due, edge, at + 1, places.stop) - 1
            if at >= 0 and reach[at] >= edge:
                # Where calls overlap, the last one due may have ended before another that is under way still.
                found.add(bisect_left(reach, reach[at]) if end[at] < edge else at)
            elif at > before:
                found.add(before + 1)
            if fault < len(failed) and failed[fault] <= at:
                found.add(failed[fault])
                fault = bisect_right(failed, at, fault)
        return sorted(found)


def _known(time: float) -> float | None:
    return None if isnan(time) else time


class Bars:
    """Calls of several lanes."""

    def __init__(self, tracks: Iterable[Track]) -> None:
        self.tracks = [track for track in tracks if len(track)]

    @classmethod
    def of(cls, bars: Bars | Iterable[Bar]) -> Bars:
        if isinstance(bars, Bars):
            return bars
        tracks: dict[tuple[str, int], Track] = {}
        for bar in bars:
            where = bar.group, bar.lane
            if where not in tracks:
                tracks[where] = Track(*where)
            tracks[where].add(bar)
        return cls(tracks.values())

    def __iter__(self) -> Iterator[Bar]:
        return (bar for track in self.tracks for bar in track)

    def __len__(self) -> int:
        return sum(map(len, self.tracks))
