"""macmon: power, clocks and temperatures of an Apple chip, a JSON line twice a second from a child of ours."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

from infertui.sample import Absent, Values
from infertui.telemetry.source import Gone, Source
from infertui.text import plain

PERIOD_S = 0.5  # measuring more often costs a visible part of a core
SILENT_S = 3 * PERIOD_S
FIRST_S = 2.5  # to start, and to look at the chip
GRACE_S = 1.0
SPAN_NS = 5_000_000_000  # of a value that cannot be, until it is believed to be broken
BUSY = 0.05
MOST = 1 << 20  # bytes without an end of line
FOLDERS = ("/opt/homebrew/bin", "/usr/local/bin", "/opt/local/bin")

# What it is called in each version, the best first: the newest tells the share of time apart from the clock.
GPU_RATIOS = ("gpu_active_ratio", "gpu_scaled_ratio", "gpu_usage_ratio")
CPU_RATIOS = ("cpu_active_ratio", "cpu_scaled_ratio", "cpu_usage_ratio", "cpu_usage_pct")
POWERS = {
    "cpu_power": "cpu_power_w",
    "gpu_power": "gpu_power_w",
    "all_power": "soc_power_w",
    "sys_power": "system_power_w",
}


class Channels:
    """Readings out of macmon's lines. A power of 0 W is unknown; one that is 0 while there is work is dead for good.

    Some systems give programs without root no power of the CPU. The sum over the chip then lacks it, and is as
    unknown. `missing` says why a series has no values, by its key; `gpu_field` which field stands for the GPU's share.
    """

    def __init__(self) -> None:
        self.missing: dict[str, str] = {}
        self.gpu_field = ""
        self._zero_since: dict[str, int] = {}
        self._same_since: dict[str, tuple[float, int]] = {}
        self._dead: set[str] = set()
        self._stale: set[str] = set()

    def values(self, line: Mapping[str, Any], at_ns: int) -> Values:
        watts = {name: _number(line.get(name)) for name in POWERS}
        share, clock_mhz = self._gpu(line)
        busy = {"cpu_power": _first(line, CPU_RATIOS)[1], "gpu_power": share}
        for name, watt in watts.items():
            self._judge(name, watt, busy.get(name), at_ns)
        cpu, gpu, chip, system = (self._live(name, watts[name]) for name in POWERS)
        idle_gpu = "gpu_power" not in self._dead and watts["gpu_power"] == 0 and share is not None and share <= BUSY
        self._explain()
        heat = line.get("temp")
        heat = heat if isinstance(heat, Mapping) else {}
        return {
            "cpu_power_w": cpu,
            "gpu_power_w": gpu,
            "soc_power_w": chip if cpu is not None and (gpu is not None or idle_gpu) else None,
            # Where the whole machine's meter says 0, macmon gives the chip's sum in its place.
            "system_power_w": system if system != watts["all_power"] else None,
            "gpu_percent": None if share is None else 100 * share,
            "gpu_clock_mhz": clock_mhz or None,
            "cpu_temperature_c": _number(heat.get("cpu_temp_avg")) or None,
            "gpu_temperature_c": _number(heat.get("gpu_temp_avg")) or None,
        }

    def _gpu(self, line: Mapping[str, Any]) -> tuple[float | None, float | None]:
        """The share of the GPU in use, 0 to 1, and its clock."""
        field, share = _first(line, GPU_RATIOS)
        clock = _number(line.get("gpu_freq_mhz"))
        pair = line.get("gpu_usage")
        if isinstance(pair, list) and len(pair) == 2:
            clock = _number(pair[0]) if clock is None else clock
            if share is None and (share := _number(pair[1])) is not None:
                field = "gpu_usage"
        self.gpu_field = field or self.gpu_field
        return share, clock

    def _judge(self, name: str, watt: float | None, busy: float | None, at_ns: int) -> None:
        if watt == 0 and busy is not None and busy > BUSY:
            if at_ns - self._zero_since.setdefault(name, at_ns) >= SPAN_NS:
                self._dead.add(name)
        else:
            self._zero_since.pop(name, None)
        same, since = self._same_since.get(name, (None, at_ns))
        self._stale.discard(name)
        if not watt or watt != same:
            self._same_since[name] = (watt or 0.0, at_ns)
        elif at_ns - since >= SPAN_NS:
            self._stale.add(name)

    def _live(self, name: str, watt: float | None) -> float | None:
        return None if name in self._dead or name in self._stale or not watt else watt

    def _explain(self) -> None:
        parts = {"cpu_power": "the CPU", "gpu_power": "the GPU", "all_power": "the chip", "sys_power": "the machine"}
        said = {POWERS[name]: f"the power of {parts[name]} does not change any more" for name in self._stale}
        said |= {POWERS[name]: f"this system gives 0 W for {parts[name]} while it works" for name in self._dead}
        broken = [parts[name] for name in ("cpu_power", "gpu_power") if name in self._dead | self._stale]
        if broken:
            said["soc_power_w"] = f"what it adds up lacks {' and '.join(broken)}"
        self.missing = said


def _number(value: object) -> float | None:
    """A finite number that is not negative; macmon writes null for what is not one."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
        return None
    return float(value)


def _first(line: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, float | None]:
    for name in names:
        if (value := _number(line.get(name))) is not None:
            return name, value
    return "", None


def metrics_of(line: bytes) -> dict[str, Any] | None:
    """What a line of macmon holds; None for any other."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) and "gpu_power" in told and isinstance(told.get("memory"), dict) else None


class Child:
    """A program that we read from, in a session of its own: no key and no terminal reaches it, nor it the terminal.

    It is always ended before its pipe is closed: macmon aborts, with a crash report, when its reader goes away. Where
    we are killed, it does so at its next line.
    """

    def __init__(self, *command: str) -> None:
        self.over = False  # nothing more will come
        self._rest = b""
        self._lock = threading.Lock()
        self._spent_s: float | None = None
        self._exit: int | None = None
        # A pipe that nobody empties would stop it.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env={**os.environ, "LC_ALL": "C"},
                start_new_session=True,
            )
        except OSError:
            self._errors.close()
            raise
        assert self._process.stdout is not None
        self._out = self._process.stdout

    def lines(self, seconds: float) -> list[bytes]:
        """The whole lines that have come, after waiting for one; none: it was silent so long, or has ended."""
        until = time.monotonic() + seconds
        while b"\n" not in self._rest:
            left = max(0.0, until - time.monotonic())
            if not select.select([self._out], [], [], left)[0]:
                return []
            data = os.read(self._out.fileno(), 65536)
            if not data:
                self.over = True
                return []
            self._rest = self._rest[-MOST:] + data
        *lines, self._rest = self._rest.split(b"\n")
        return lines

    def metrics(self, seconds: float) -> list[dict[str, Any]]:
        """The readings that have come, the oldest first, after waiting for one."""
        until = time.monotonic() + seconds
        while lines := self.lines(until - time.monotonic()):
            if found := [told for line in lines if (told := metrics_of(line)) is not None]:
                return found
        return []

    def stop(self) -> None:
        """End it, and wait for that. Another thread may be reading: it sees the end."""
        with self._lock:
            if self._exit is not None or (self.over and self._reaped(0.5)):  # it is about to exit by itself
                return
            self._signal(signal.SIGTERM)
            if not self._reaped(GRACE_S):
                self._signal(signal.SIGKILL)
                self._reaped(None)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS refuses to signal who has ended
            os.killpg(self._process.pid, number)

    def _reaped(self, seconds: float | None) -> bool:
        """Wait for its end so long, None: however long it takes, and take its account."""
        until = time.monotonic() + (seconds or 0)
        while True:
            pid, status, usage = os.wait4(self._process.pid, 0 if seconds is None else os.WNOHANG)
            if pid:
                self._spent_s = usage.ru_utime + usage.ru_stime
                self._exit = self._process.returncode = os.waitstatus_to_exitcode(status)
                return True
            if time.monotonic() >= until:
                return False
            time.sleep(0.005)

    def close(self) -> None:
        """Let go of its pipes. It has been stopped, and nobody reads."""
        self._out.close()
        self._errors.close()

    def last_words(self) -> str:
        """What it wrote to stderr, at the end."""
        if self._errors.closed:
            return ""
        end = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, end - 4096))
        said = self._errors.read().decode("utf-8", "replace").splitlines()
        return plain(" ".join([line for line in said if line.strip() and not line.startswith("note:")][-4:]), 200)

    @property
    def failed(self) -> bool:
        """It ended by itself, as a Rust program does on an error: by a signal, or with these words."""
        words = self.last_words()
        crashed = self._exit is not None and self._exit < 0
        return crashed or "panicked at" in words or words.startswith("Error: ")

    def end(self) -> str:
        """How it ended, for a person."""
        if self._exit is None:
            return "it runs"
        how = f"exit code {self._exit}"
        if self._exit < 0:
            with contextlib.suppress(ValueError):
                how = signal.Signals(-self._exit).name
        words = self.last_words()
        return f"it ended ({how}){': ' if words else ''}{words}"

    def cpu_s(self) -> float | None:
        if self._spent_s is not None:
            return self._spent_s
        import psutil

        try:
            times = psutil.Process(self._process.pid).cpu_times()
        except psutil.Error:
            return None
        return float(times.user + times.system)


class Macmon(Source):
    """Its lines cover half a second each; what falls between them when it had to be started again is lost."""

    period_s = PERIOD_S
    counted = False
    streams = True

    def __init__(self, path: str, version: str = "") -> None:
        self.name = f"macmon {version}".strip()
        self.channels = Channels()
        self.restarts = 0
        self._path = path
        self._children: list[Child] = []
        self._closed = False
        self._reading = threading.Lock()
        self._starting = threading.Lock()

    @property
    def missing(self) -> dict[str, str]:
        """Why a series has no values, by its key."""
        return self.channels.missing

    def read(self, at_ns: int) -> Values:
        """The next line, waited for. A child that falls silent or ends is replaced once, and costs this reading."""
        with self._reading:
            child, waiting_s = self._child()
            lines = child.metrics(waiting_s)
            now_ns = time.perf_counter_ns()
            if lines:
                return [self.channels.values(line, now_ns) for line in lines][-1]
            if self._closed:
                raise Gone("it was closed")
            silent = not child.over
            child.stop()
            reason = f"it said nothing for {waiting_s:g} s" if silent else child.end()
            child.close()
            if self.restarts:
                raise Gone(f"{reason}; it had been started again once")
            self.restarts += 1
            raise ChildProcessError(reason)

    def _child(self) -> tuple[Child, float]:
        """The one that is read from, started if there is none, and how long to wait for its line."""
        with self._starting:
            if self._closed:
                raise Gone("it was closed")
            if len(self._children) > self.restarts:
                return self._children[-1], SILENT_S
            command = (self._path, "pipe", "-s", "0", "-i", str(round(1000 * PERIOD_S)))
            try:
                self._children.append(Child(*command))
            except OSError as error:
                raise Gone(f"it cannot be started: {plain(str(error), 200)}") from None
            return self._children[-1], FIRST_S

    def cpu_s(self) -> float | None:
        spent = [child.cpu_s() for child in list(self._children)]
        known = [each for each in spent if each is not None]
        return sum(known) if spent and len(known) == len(spent) else None

    def close(self) -> None:
        with self._starting:
            self._closed = True
        for child in self._children:
            child.stop()
        with self._reading:
            for child in self._children:
                child.close()


# Where it is.


def found() -> Macmon | Absent:
    """The first macmon that is the one: another program of that name comes from PyPI."""
    if sys.platform == "darwin" and _intel():
        return Absent(name="macmon", reason="it knows Apple chips only: no power, clocks or temperatures")
    refused: list[Absent] = []
    for path in _candidates():
        refusal = _refusal(path)
        if refusal is None:
            return Macmon(path, _version(path))
        refused.append(refusal)
    reason = "it is not installed: no power, clocks or temperatures"
    return refused[0] if refused else Absent(name="macmon", reason=reason, mend="brew install macmon")


def _refusal(path: str) -> Absent | None:
    """Why this program is not to be read from; None: it is macmon, and gives readings."""
    shown = plain(path, 200)
    try:
        probe = Child(path, "pipe", "-s", "1", "-i", "100")
    except OSError as error:
        return Absent(name="macmon", reason=f"{shown}: {plain(str(error), 200)}", mend="brew upgrade macmon")
    try:
        told = probe.metrics(FIRST_S)
        probe.stop()
        if told:
            return None
        if not probe.over:
            reason, mend = f"{shown} said nothing for {FIRST_S:g} s", "brew upgrade macmon"
        elif probe.failed:
            reason, mend = f"{shown} fails: {probe.end()}", "brew upgrade macmon"
        else:
            reason, mend = f"{shown} is another program of that name", "brew install macmon"
        return Absent(name="macmon", reason=reason, mend=mend)
    finally:
        probe.close()


def _candidates() -> Iterator[str]:
    """Every macmon on PATH and where the package managers put it, each once."""
    seen = set()
    for folder in (*os.environ.get("PATH", "").split(os.pathsep), *FOLDERS):
        path = shutil.which("macmon", path=folder) if folder else None
        if path is not None and (real := os.path.realpath(path)) not in seen:
            seen.add(real)
            yield path


def _version(path: str) -> str:
    child = Child(path, "--version")
    said = b" ".join(child.lines(1.0))[:200].decode("utf-8", "replace")
    child.stop()
    child.close()
    number = re.search(r"\b\d+(\.\d+)+", said)
    return number[0] if number else ""


def _intel() -> bool:
    from infertui.telemetry.libsystem import System

    system = System()
    return system.arch == "x86_64" and system.number("sysctl.proc_translated") != 1
