"""Who uses the CPUs: the server, InferTUI, and all others, of which the busiest are named."""

from __future__ import annotations

import threading
import time

import msgspec

from infertui.condition import Busy
from infertui.telemetry.source import Platform
from infertui.telemetry.tree import Tree
from infertui.text import plain

SPAN_S = 0.25  # over less, a process's CPU time is mostly rounding
TOP = 5  # of the busiest processes are named
LEAST_PERCENT = 5.0  # of a core: what takes less is not named


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """CPU time so far: of the machine, of the server, of ourselves and of each process that we may look into."""

    at_ns: int
    busy_ns: int
    all_ns: int
    server_ns: int | None  # None: somewhere on this machine, and not to be looked into
    own_ns: int
    watched: int = 0  # of the tree
    each: dict[tuple[int, float], tuple[str, float]] = {}

    def foreign_percent(self, before: Moment) -> float | None:
        """What other programs took of all cores."""
        if self.server_ns is None or before.server_ns is None or self.watched != before.watched:
            return None
        ours = self.server_ns - before.server_ns + self.own_ns - before.own_ns
        return share(max(0, self.busy_ns - before.busy_ns - ours), self.all_ns - before.all_ns)

    def own_percent(self, before: Moment) -> float | None:
        if self.watched != before.watched:
            return None
        return share(max(0, self.own_ns - before.own_ns), self.all_ns - before.all_ns)

    def busiest(self, before: Moment, known: frozenset[int]) -> tuple[Busy, ...]:
        """Of the others, those that took most of a core."""
        span_s = (self.at_ns - before.at_ns) / 1e9
        found = []
        for key, (name, cpu_s) in self.each.items():
            if key in before.each and key[0] not in known and span_s > 0:
                percent = 100 * (cpu_s - before.each[key][1]) / span_s
                if percent >= LEAST_PERCENT:
                    found.append(Busy(name=name, pid=key[0], cpu_percent=round(percent, 1)))
        return tuple(sorted(found, key=lambda each: -each.cpu_percent)[:TOP])


class Load:
    """Who uses the CPUs. While a block is timed, the processes of others are not looked at."""

    def __init__(self, platform: Platform, tree: Tree) -> None:
        self._platform, self._tree = platform, tree
        self.own = Tree(platform, with_reaped=False)
        self.elsewhere = False
        self.timed = False
        self._lock = threading.Lock()
        self._kept: list[Moment] = []  # the newest two, or the one at which a block began: the first is compared with

    def moment(self, each: bool = False) -> Moment:
        self.own.leave_out(self._tree.pids)
        busy_ns, all_ns = self._platform.cpu()
        server_ns = self._tree.cpu_ns()
        return Moment(
            at_ns=time.perf_counter_ns(),
            busy_ns=busy_ns,
            all_ns=all_ns,
            server_ns=server_ns if server_ns is not None or not self.elsewhere else 0,
            own_ns=self.own.cpu_ns() or 0,
            watched=self._tree.watched,
            each=_processes() if each else {},
        )

    def begin(self) -> None:
        """Whoever is the server from now on: what was before is not compared with."""
        with self._lock:
            self.timed, self._kept = False, [self.moment(each=True)]

    def keep_up(self) -> None:
        """A moment to compare with, once a second while nothing is timed."""
        if not self.timed and self._lock.acquire(blocking=False):
            try:
                self._kept = [*self._kept[-1:], self.moment(each=True)]  # of the last second or two
            finally:
                self._lock.release()

    def look(self, timed: bool) -> tuple[float | None, tuple[Busy, ...]]:
        """Who took how much: since the block began, or lately."""
        with self._lock:
            now = self.moment(each=True)
            before = self._kept[0] if self._kept else now
            if (short_s := SPAN_S - (now.at_ns - before.at_ns) / 1e9) > 0 and not self.timed:
                time.sleep(short_s)
                now = self.moment(each=True)
            self.timed, self._kept = timed, [now]
        if now.server_ns is None:  # it is among the others, and which it is cannot be told
            return None, ()
        return now.foreign_percent(before), now.busiest(before, self._tree.pids | self.own.pids)


def _processes() -> dict[tuple[int, float], tuple[str, float]]:
    """Name and CPU seconds of every process that we may look into, by its pid and start."""
    import psutil

    found = {}
    for process in psutil.process_iter(["name", "cpu_times", "create_time"]):
        times = process.info["cpu_times"]
        if times is not None:
            key = (process.pid, process.info["create_time"])
            found[key] = (plain(process.info["name"] or "?", 40), times.user + times.system)
    return found


def share(part: float | None, whole: float | None) -> float | None:
    """In percent; None where either is unknown, or there is no whole."""
    return None if part is None or not whole else 100 * part / whole
