"""The sampler: a process of its own that reads what the machine and the server do, each source at its own pace.

    python -m infertui.telemetry.sampler        orders on stdin, a JSON line each; readings on stdout; ends with stdin

Slots are absolute: one that cannot be kept is missed and counted, never made up for. Each source has a thread, so that
one that hangs holds up no other; here that costs nothing, because this process has nothing else to do.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from infertui.condition import Busy, Conditions
from infertui.sample import SERIES, Absent, Count, Sample, Tally, Values
from infertui.telemetry.load import Load, Moment, share
from infertui.telemetry.source import Gone, Platform, Rates, Source
from infertui.telemetry.tree import Tree
from infertui.text import plain

FAST_S, SLOW_S = 0.2, 1.0
LEAST_NS = 200_000_000  # between two readings that are no slots: a rate over less says little
SILENT_S = 3.0  # a source that says nothing for so long hangs
HOPELESS = 10  # readings in a row that fail
OPENING_S = 4.0  # until every source has said whether it is there
HELD = 1 << 16  # bytes that wait for a reader, beside those in the pipe


class Watch(msgspec.Struct, frozen=True, kw_only=True, tag="watch"):
    """Whose processes are the server's, and whose ours."""

    roots: tuple[int, ...] = ()
    adopters: tuple[int, ...] = ()
    own: tuple[int, ...] = ()
    elsewhere: bool = False  # the server is on another machine


class Look(msgspec.Struct, frozen=True, kw_only=True, tag="look"):
    """Say what the conditions are. `timed`: from now on nothing is looked at that costs more than a reading."""

    timed: bool


class Looked(msgspec.Struct, frozen=True, kw_only=True, tag="looked"):
    conditions: Conditions
    tally: Tally


class Watching(msgspec.Struct, frozen=True, kw_only=True, tag="watching"):
    """Readings from here on are of whom it was told to watch."""

    at_ns: int


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """Every source has said whether it is there."""

    sources: tuple[str, ...]


Order = Watch | Look
Said = Sample | Absent | Looked | Ready | Watching


def platform() -> Platform:
    if sys.platform == "darwin":
        from infertui.telemetry.macos import MacOS

        return MacOS()
    from infertui.telemetry.linux import Linux

    return Linux()


def openings(pids: Callable[[], frozenset[int]]) -> Iterator[Callable[[], Source | Absent]]:
    """The ways to each source beyond the platform's own."""
    if sys.platform == "darwin":
        from infertui.telemetry import macmon, macos

        yield macmon.found
        yield lambda: macos.accelerator(pids)
        yield lambda: macos.everyone(pids)
        return
    from infertui.telemetry import drm, nvidia, rapl

    yield nvidia.found
    yield lambda: nvidia.processes(pids)
    yield drm.found
    yield lambda: drm.clients(pids)
    yield rapl.found


class Processes(Source):
    """The server's processes and the machine's CPU: what changes quickly."""

    period_s = FAST_S

    def __init__(self, platform: Platform, tree: Tree) -> None:
        self.name = f"processes ({platform.name})"
        self._platform, self._tree = platform, tree
        self._rates, self._watched = Rates(), 0

    def read(self, at_ns: int) -> Values:
        if self._watched != self._tree.watched:
            self._watched, self._rates = self._tree.watched, Rates()
        found = {**self._platform.fast(at_ns), **self._tree.read()}
        busy, every = self._platform.cpu()
        rate = self._rates.of
        found["machine_cpu_percent"] = share(rate("busy", busy, at_ns), rate("every", every, at_ns))
        used = rate("server", found.get("server_cpu_ns"), at_ns)
        if "server_cpu_ns" in found:
            found["server_cpu_percent"] = None if used is None or not found["server_processes"] else used / 1e7
            energy = rate("energy", found.pop("server_cpu_energy_nj"), at_ns)
            found["server_cpu_power_w"] = energy / 1e9 if energy else None
        return found


class Machine(Source):
    """RAM, swap and limits; who else uses the CPUs, and what InferTUI itself takes of them."""

    period_s = SLOW_S

    def __init__(self, platform: Platform, load: Load) -> None:
        self.name = f"machine ({platform.name})"
        self._platform, self._load = platform, load
        self._before: Moment | None = None
        self._rates = Rates()
        self._step_ns: int | None = None

    def read(self, at_ns: int) -> Values:
        found = self._platform.slow(at_ns)
        now = self._load.moment()
        before, self._before = self._before, now
        if before is not None:
            found["foreign_cpu_percent"] = now.foreign_percent(before)
            found["own_cpu_percent"] = now.own_percent(before)
        own_s = self._rates.of("own", time.process_time_ns(), at_ns)
        found["sampler_cpu_percent"] = None if own_s is None else own_s / 1e7
        awake = time.time_ns() - time.perf_counter_ns() - int(found.get("asleep_ns") or 0)
        self._step_ns = awake if self._step_ns is None else self._step_ns
        found["clock_step_ns"] = awake - self._step_ns
        self._load.keep_up()
        return found


class Sampler:
    """All sources and their threads."""

    def __init__(self, platform: Platform, say: Callable[[Said], bool]) -> None:
        self._platform, self._say = platform, say
        self._tree = Tree(platform)
        self._load = Load(platform, self._tree)
        self._stopped = False
        self._wakes: dict[str, threading.Event] = {}  # of the sources that are read: once more, or to end
        self._tally = Tally()
        self._latest: dict[str, tuple[int, float | None]] = {}
        self._heard: dict[str, float] = {}  # when a source last came back, until it is gone
        self._silent: set[str] = set()
        self._lacking: set[tuple[str, str]] = set()  # series of a source that are missing, and were said to be
        self._programs: list[Source] = []

    def start(self, extra: Iterator[Callable[[], Source | Absent]]) -> None:
        ready: list[str] = []
        threads = [
            threading.Thread(target=self._open, args=(opening, ready), daemon=True)
            for opening in (
                lambda: Processes(self._platform, self._tree),
                lambda: Machine(self._platform, self._load),
                *extra,
            )
        ]
        self._opened = threading.Semaphore(0)
        for thread in threads:
            thread.start()
        until = time.monotonic() + OPENING_S
        for _ in threads:
            self._opened.acquire(timeout=max(0.0, until - time.monotonic()))
        for absent in self._platform.absent():
            self._say(absent)
        self._say(Ready(sources=tuple(ready)))

    def _open(self, opening: Callable[[], Source | Absent], ready: list[str]) -> None:
        try:
            source = opening()
        except Exception as error:  # a driver may fail in its own ways
            source = Absent(name="a source", reason=plain(f"{type(error).__name__}: {error}", 200))
        if isinstance(source, Absent):
            self._say(source)
            self._opened.release()
            return
        ready.append(source.name)
        self._opened.release()
        try:
            self._follow(source)
        except Gone as gone:
            self._say(Absent(name=source.name, reason=plain(str(gone), 300)))
        finally:
            self._heard.pop(source.name, None)
            self._wakes.pop(source.name, None)
            with contextlib.suppress(Exception):
                source.close()

    def _follow(self, source: Source) -> None:
        """Read a source in its slots until it is gone or we are."""
        count = self._tally.sources[source.name] = Count(period_s=source.period_s)
        wake = threading.Event()
        if not source.streams:
            self._wakes[source.name] = wake
        self._programs.append(source)
        period_ns = int(source.period_s * 1e9)
        due = time.perf_counter_ns()
        before: int | None = None
        failed = 0
        while not self._stopped:
            self._heard[source.name] = time.monotonic()
            early = wake.wait(max(0, due - time.perf_counter_ns()) / 1e9)
            wake.clear()
            at_ns = time.perf_counter_ns()
            if self._stopped:
                return
            if before is not None and at_ns - before < min(period_ns // 2, LEAST_NS) and not source.streams:
                due += 0 if early else period_ns  # a rate over so short a time would say little
                continue
            values: Values | None = None
            try:
                values = source.read(at_ns)
            except Gone:
                raise
            except Exception as error:  # one reading, not the source
                count.errors += 1
                failed += 1
                if failed >= HOPELESS:
                    raise Gone(f"{failed} readings failed in a row: {type(error).__name__}: {error}") from None
            now = time.perf_counter_ns()
            if values is not None:
                failed = 0
                took_ns = now - at_ns
                if source.streams:
                    at_ns, took_ns = now, 0
                count.taken += 1
                count.overruns += took_ns > period_ns
                self._told(source, values, at_ns, before, took_ns)
                before = at_ns
            if early:
                continue
            due = max(now, due) if source.streams else due + period_ns
            late = 0 if source.streams else max(0, now - due) // period_ns
            count.missed += late
            due += late * period_ns

    def _told(self, source: Source, values: Values, at_ns: int, before: int | None, took_ns: int) -> None:
        period_ns = int(source.period_s * 1e9)
        since = before
        if before is not None and not source.counted and at_ns - before > 1.5 * period_ns:
            since = at_ns - period_ns  # what was between is not known
        for key, reason in source.missing.items():
            if (source.name, key) not in self._lacking:
                self._lacking.add((source.name, key))
                self._say(Absent(name=SERIES[key].label, reason=plain(reason, 300)))
        self._latest.update((key, (at_ns, value)) for key, value in values.items())
        sample = Sample(source=source.name, at_ns=at_ns, since_ns=since, took_ns=took_ns, values=values)
        self._tally.dropped += not self._say(sample)

    # Orders.

    def obey(self, order: Order) -> None:
        if isinstance(order, Watch):
            self._load.elsewhere = order.elsewhere
            self._tree.watch(order.roots, order.adopters, order.own)
            self._load.own.watch(order.own, without=self._tree.pids)
            self._load.begin()
            self._say(Watching(at_ns=time.perf_counter_ns()))
            return
        for wake in list(self._wakes.values()):  # what is timed begins and ends with a reading
            wake.set()
        before = self.tally()
        foreign: float | None = None
        busiest: tuple[Busy, ...] = ()
        with contextlib.suppress(Exception):
            foreign, busiest = self._load.look(order.timed)
        told: dict[str, Any] = {}
        with contextlib.suppress(Exception):  # of the system's own; what else is known is said
            told = self._platform.look()
        told |= {"foreign_cpu_percent": foreign, "foreign": busiest, "at_ns": time.perf_counter_ns()}
        told |= {key: self._now(key) for key in ("foreign_gpu_percent", "clock_step_ns")}
        bits = self._now("gpu_throttle")
        told["gpu_throttle"] = None if bits is None else int(bits)
        conditions = msgspec.convert(told, Conditions, strict=False)
        # what a look costs is no part of what sampling a block did
        self._say(Looked(conditions=conditions, tally=self.tally() if order.timed else before))

    def _now(self, key: str) -> float | None:
        at_ns, value = self._latest.get(key, (0, None))
        return value if time.perf_counter_ns() - at_ns < SILENT_S * 1e9 else None

    @property
    def pids(self) -> frozenset[int]:
        """The server's processes."""
        return self._tree.pids

    def tally(self) -> Tally:
        """As it is now: counts go on."""
        return Tally(
            sources={name: msgspec.structs.replace(count) for name, count in self._tally.sources.items()},
            cpu_s=time.process_time(),
            children_cpu_s=sum(each.cpu_s() or 0.0 for each in self._programs),
            dropped=self._tally.dropped,
        )

    def listen_for_silence(self) -> None:
        """Say once that a source hangs. What it says later is taken again."""
        now = time.monotonic()
        for name, heard in list(self._heard.items()):
            hangs = now - heard > SILENT_S
            if hangs and name not in self._silent:
                self._silent.add(name)
                self._say(Absent(name=name, reason=f"it hangs: nothing came for {SILENT_S:g} s"))
            elif not hangs:
                self._silent.discard(name)

    def stop(self) -> None:
        self._stopped = True
        for wake in list(self._wakes.values()):
            wake.set()
        for source in self._programs:
            with contextlib.suppress(Exception):
                source.close()
        self._platform.close()


class Out:
    """Lines to a pipe that is never waited for: what nobody takes is dropped, whole lines at a time."""

    def __init__(self, fileno: int) -> None:
        os.set_blocking(fileno, False)
        self._fileno = fileno
        self._lock = threading.Lock()
        self._rest = b""

    def say(self, said: Said) -> bool:
        with self._lock:
            kept = len(self._rest) < HELD or not isinstance(said, Sample)
            if kept:
                self._rest += msgspec.json.encode(said) + b"\n"
            with contextlib.suppress(OSError):  # full, or nobody there: the end of stdin will say so
                self._rest = self._rest[os.write(self._fileno, self._rest) :]
            return kept


def main() -> None:
    out = Out(sys.stdout.fileno())
    sampler = Sampler(platform(), out.say)
    starting = threading.Thread(target=sampler.start, args=(openings(lambda: sampler.pids),), daemon=True)
    starting.start()
    orders = msgspec.json.Decoder(Order)
    heard = b""
    while True:
        if select.select([0], [], [], 1.0)[0]:
            if not (said := os.read(0, 65536)):
                break
            *lines, heard = (heard + said).split(b"\n")
            for line in lines:
                sampler.obey(orders.decode(line))
        sampler.listen_for_silence()
    sampler.stop()
    os._exit(0)  # a source that hangs would hold us up


if __name__ == "__main__":
    main()
