"""What Linux tells of itself and of a process, out of /proc and /sys: without a tool, and across users."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from infertui.sample import Absent, Values
from infertui.telemetry.source import Rates, Used
from infertui.telemetry.sysfs import text
from infertui.text import plain

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
NOTHING = {"private_bytes": 0, "mapped_bytes": 0, "resident_bytes": 0, "swapped_bytes": 0}
LARGEST = 1 << 18  # bytes of a file of /proc
LOOK_S = 1.0  # in some containers the system's last pid stands still
NO_LIMIT = 1 << 60  # cgroup v1 says "none" by a number near the largest
CPU_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")


class Linux:
    """`root` is where /proc and /sys are."""

    name = "/proc"

    def __init__(self, root: Path = Path("/")) -> None:
        self._proc, self._sys = root / "proc", root / "sys"
        self._rates = Rates()
        self._lock = threading.Lock()
        self._parents: dict[int, int] = {}
        self._looked_at = 0.0
        self._newest: int | None = None  # pid that had been given out last when processes were looked for
        self._stat, self._memory = _Kept(self._proc / "stat"), _Kept(self._proc / "meminfo")
        self._paging, self._load = _Kept(self._proc / "vmstat"), _Kept(self._proc / "loadavg")
        stalls = {kind: _Kept(self._proc / "pressure" / kind) for kind in ("cpu", "memory", "io")}
        self._stalls = {kind: kept for kind, kept in stalls.items() if kept.read()}
        self._limits = _Limits(self._proc, self._sys)
        self._throttles = sorted(self._sys.glob("devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count"))
        self._supplies = sorted(self._sys.glob("class/power_supply/*"))
        sensors = sorted(self._sys.glob("class/hwmon/hwmon*"))
        self._heat = [each / "temp1_input" for each in sensors if text(each / "name") in CPU_SENSORS]

    def close(self) -> None:
        for kept in (self._stat, self._memory, self._paging, self._load, *self._stalls.values()):
            kept.close()

    # The machine.

    def cpu(self) -> tuple[int, int]:
        """What other virtual machines have stolen counts as busy: it was not to be had."""
        first = self._stat.read().partition(b"\n")[0]
        user, nice, system, idle, iowait, *rest = map(int, first.split()[1:9])
        busy = user + nice + system + sum(rest)
        return busy * TICK_NS, (busy + idle + iowait) * TICK_NS

    def fast(self, at_ns: int) -> Values:
        return {}  # of the processes alone: all else may wait for a second

    def slow(self, at_ns: int) -> Values:
        found: Values = {**self._stalled(at_ns), **self._swap(), **self._limits.read()}
        memory = self._memory.read()
        total, free = (_kilobytes_of(memory, name) for name in (b"MemTotal:", b"MemAvailable:"))
        if total is not None and free is not None:
            found["ram_total_bytes"], found["ram_used_bytes"] = total, total - free
        found["on_battery"], _ = self._battery()
        found["thermal_throttles"] = self._throttled()
        found["asleep_ns"] = asleep_ns()
        heat = [int(said) / 1000 for path in self._heat if (said := text(path)) and int(said) > 0]
        found["cpu_temperature_c"] = max(heat, default=None)
        return found

    def _stalled(self, at_ns: int) -> Values:
        """Shares of the time since the last reading, in which some task waited for a CPU, all for memory or a disk."""
        found: Values = {}
        for kind, kept in self._stalls.items():
            some, _, full = kept.read().partition(b"\n")
            stalled_us = (some if kind == "cpu" else full).rstrip().rpartition(b"total=")[2]
            rate = self._rates.of(kind, int(stalled_us) if stalled_us.isdigit() else None, at_ns)
            found[f"{kind}_stall_percent"] = None if rate is None else rate / 1e4
        return found

    def _swap(self) -> dict[str, int | None]:
        memory = self._memory.read()
        total, free = (_kilobytes_of(memory, name) for name in (b"SwapTotal:", b"SwapFree:"))
        used = total - free if total is not None and free is not None else None
        return {"swap_used_bytes": used, "swapouts": _number_of(self._paging.read(), b"pswpout")}

    def _throttled(self) -> int | None:
        counts = [int(said) for path in self._throttles if (said := text(path))]
        return sum(counts) if counts else None

    def _battery(self) -> tuple[float | None, float | None]:
        """Whether the machine runs from its battery (None: it has none, or it is not told), and how full that is."""
        discharging, percent = None, None
        for supply in self._supplies:
            if text(supply / "type") != "Battery" or text(supply / "scope") == "Device":  # a mouse has one, too
                continue
            discharging = max(discharging or 0.0, float(text(supply / "status") == "Discharging"))
            with contextlib.suppress(ValueError):
                percent = float(text(supply / "capacity"))
        return discharging, percent

    def look(self) -> dict[str, Any]:
        battery, percent = self._battery()
        frequency = "devices/system/cpu/cpu[0-9]*/cpufreq"
        profile = text(self._sys / "firmware/acpi/platform_profile")
        told: dict[str, Any] = {
            **self._swap(),
            "thermal_throttles": self._throttled(),
            "on_battery": None if battery is None else bool(battery),
            "battery_percent": percent,
            "low_power": profile == "low-power" if profile else None,
            "power_mode": plain(profile, 40),
            "governor": self._each(f"{frequency}/scaling_governor"),
            "energy_preference": self._each(f"{frequency}/energy_performance_preference"),
            "virtual": " hypervisor" in text(self._proc / "cpuinfo"),
            "cpu_limit": self._limits.cores(),
            "asleep_ns": asleep_ns(),
        }
        return {key: value for key, value in told.items() if value is not None}

    def _each(self, pattern: str) -> str:
        """What all CPUs say, in one word where they agree."""
        return ", ".join(sorted({plain(said, 40) for path in self._sys.glob(pattern) if (said := text(path))}))

    def absent(self) -> list[Absent]:
        found = []
        if not self._stalls:
            found.append(Absent(name="pressure", reason="this kernel has no /proc/pressure", mend="boot it with psi=1"))
        if not self._heat:
            found.append(Absent(name="CPU temperature", reason="no sensor that we know in /sys/class/hwmon"))
        if not list(self._sys.glob("devices/system/cpu/cpu0/cpufreq/scaling_governor")):
            found.append(Absent(name="governor", reason="no cpufreq in /sys: usual in virtual machines"))
        return found

    # Processes.

    def descendants(self, roots: Iterable[int]) -> set[int]:
        """Only who is new is looked into: an ancestor once known stays one, also when it has died."""
        with self._lock:
            self._look_for_new()
            children: dict[int, list[int]] = {}
            for pid, parent in self._parents.items():
                children.setdefault(parent, []).append(pid)
        found: set[int] = set()
        left = list(roots)
        while left:
            new = [pid for pid in children.get(left.pop(), ()) if pid not in found]
            found.update(new)
            left += new
        return found - set(roots)

    def _look_for_new(self) -> None:
        """Pids are given out upwards, and begin anew at their limit: those given out since may be used again."""
        said = self._load.read().rpartition(b" ")[2].strip()
        newest = int(said) or None if said.isdigit() else None  # 0 is what says nothing
        before, self._newest = self._newest, newest
        if newest is not None and newest == before and time.monotonic() - self._looked_at < LOOK_S:
            return
        self._looked_at = time.monotonic()
        there = {int(name) for name in os.listdir(self._proc) if name.isdecimal()}
        for pid in self._parents.keys() - there:
            del self._parents[pid]
        for pid in there:
            if pid not in self._parents or _since(pid, before, newest):
                with contextlib.suppress(OSError, ValueError, IndexError):
                    fields = (self._proc / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
                    self._parents[pid] = int(fields[1])

    def handle(self, pid: int) -> Process | None:
        try:
            return Process(self._proc, pid)
        except OSError:
            return None


class _Kept:
    """A file that is read again and again: opened once. One that is not there says nothing."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._file = -1

    def read(self) -> bytes:
        if self._file < 0:
            return b""
        try:
            return os.pread(self._file, LARGEST, 0)
        except OSError:
            return b""

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class Process:
    """Held by open files: they belong to this process, whoever gets its pid."""

    def __init__(self, proc: Path, pid: int) -> None:
        self.pid = pid
        self._ended: Used | None = None  # what is left of it when it has ended, as far as was seen
        self._clock = (~pid << 3) | 2 if proc == Path("/proc") else None  # the kernel's own clock of its CPU time
        self._stat = os.open(proc / str(pid) / "stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._status = os.open(proc / str(pid) / "status", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            os.close(self._stat)
            raise

    def read(self) -> Used | None:
        try:
            fields = os.pread(self._stat, 4096, 0).rpartition(b")")[2].split()  # a name may hold blanks and brackets
            status = os.pread(self._status, 8192, 0)
            ticks = (int(fields[11]) + int(fields[12])) * TICK_NS
            if fields[0] in (b"Z", b"X"):  # until somebody has waited for it, its time stands in no other account
                return self._ended and replace(self._ended, cpu_ns=max(ticks, self._ended.cpu_ns))
            cpu_ns = ticks if self._clock is None else time.clock_gettime_ns(self._clock)
        except (OSError, IndexError):
            return None
        lines = dict(_kilobytes(status))
        private = [lines[key] for key in ("RssAnon", "RssShmem", "VmSwap") if key in lines]
        reaped_ns = (int(fields[13]) + int(fields[14])) * TICK_NS
        kept = {"pageins": int(fields[9]), "peak_bytes": lines.get("VmHWM")}
        self._ended = Used(cpu_ns=cpu_ns, reaped_ns=reaped_ns, **kept, **NOTHING)
        return Used(
            cpu_ns=cpu_ns,
            reaped_ns=reaped_ns,
            private_bytes=sum(private) if len(private) == 3 else None,
            mapped_bytes=lines.get("RssFile"),
            resident_bytes=lines.get("VmRSS"),
            swapped_bytes=lines.get("VmSwap"),
            peak_bytes=lines.get("VmHWM"),
            pageins=int(fields[9]),
        )

    def close(self) -> None:
        os.close(self._stat)
        os.close(self._status)


class _Limits:
    """What cgroups allow this process: of each limit the tightest on the way up."""

    def __init__(self, proc: Path, sys: Path) -> None:
        self._stat: Path | None = None
        self._memory: tuple[Path, Path] | None = None
        self._cores: float | None = None
        limits: list[tuple[int, Path, Path]] = []
        for group in text(proc / "self/cgroup").splitlines():
            controllers, _, path = group.partition(":")[2].partition(":")
            names = controllers.split(",")
            if not controllers:
                for folder in _upward(sys / "fs/cgroup", path):
                    self._cores_of(folder, *text(folder / "cpu.max").split())
                    limits += _limits(folder / "memory.max", folder / "memory.current")
            if "memory" in names:
                for folder in _upward(sys / "fs/cgroup/memory", path):
                    limits += _limits(folder / "memory.limit_in_bytes", folder / "memory.usage_in_bytes")
            if "cpu" in names:
                for folder in _upward(sys / "fs/cgroup/cpu", path):
                    told = (text(folder / f"cpu.cfs_{which}_us") for which in ("quota", "period"))
                    self._cores_of(folder, *told)
        if limits:
            self._memory = min(limits)[1:]

    def _cores_of(self, folder: Path, quota: str = "", period: str = "") -> None:
        if not (quota.isdecimal() and period.isdecimal() and int(period)):
            return
        cores = int(quota) / int(period)
        if self._cores is None or cores < self._cores:
            self._cores, self._stat = cores, folder / "cpu.stat"

    def cores(self) -> float | None:
        return self._cores

    def read(self) -> Values:
        found: Values = {}
        if self._memory is not None:
            limit, used = self._memory
            found["cgroup_limit_bytes"], found["cgroup_memory_bytes"] = _limit(limit), _held(used)
        if self._stat is not None:
            told = _numbers(self._stat)
            throttled_us = told.get("throttled_usec")
            found["cgroup_throttled_ns"] = told.get("throttled_time") if throttled_us is None else throttled_us * 1000
        return found


def asleep_ns() -> int | None:
    """Time that the machine was suspended since boot."""
    try:
        awake = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - awake
    except (AttributeError, OSError):
        return None


def _since(pid: int, before: int | None, newest: int | None) -> bool:
    """Whether a pid may have been given out after one and up to another."""
    if before is None or newest is None or before == newest:
        return False
    return before < pid <= newest if before < newest else pid > before or pid <= newest


def _upward(mount: Path, path: str) -> Iterator[Path]:
    """The folders of a group and of those around it. In a container the path may be the host's, and not there."""
    folder = mount / path.lstrip("/")
    while mount in (folder, *folder.parents):
        yield folder
        folder = folder.parent


def _limits(most: Path, used: Path) -> list[tuple[int, Path, Path]]:
    limit = _limit(most)
    return [] if limit is None else [(limit, most, used)]


def _held(path: Path) -> int | None:
    """Without files that were read once and can be dropped: a server's weights come through here."""
    used, told = _limit(path), _numbers(path.with_name("memory.stat"))
    dropped = told.get("total_inactive_file", told.get("inactive_file", 0))
    return None if used is None else max(0, used - dropped)


def _limit(path: Path) -> int | None:
    said = text(path)
    return int(said) if said.isdecimal() and int(said) < NO_LIMIT else None


def _numbers(path: Path) -> dict[str, int]:
    """Lines of a name and a whole number."""
    found = {}
    for line in text(path).splitlines():
        name, _, rest = line.partition(" ")
        with contextlib.suppress(ValueError, IndexError):
            found[name] = int(rest.split()[0])
    return found


def _number_of(lines: bytes, name: bytes) -> int | None:
    """The number behind a name at the start of a line."""
    at = 0 if lines.startswith(name + b" ") else lines.find(b"\n" + name + b" ") + 1
    if not at and not lines.startswith(name + b" "):
        return None
    found = lines[at + len(name) :].partition(b"\n")[0].split()
    return int(found[0]) if found and found[0].isdigit() else None


def _kilobytes_of(lines: bytes, name: bytes) -> int | None:
    number = _number_of(lines, name)
    return None if number is None else number * 1024


def _kilobytes(status: bytes) -> Iterator[tuple[str, int]]:
    for line in status.splitlines():
        if line.endswith(b" kB"):
            name, _, rest = line.partition(b":")
            yield name.decode(), int(rest[:-3]) * 1024
