"""What macOS tells of itself and of a process: by calls into libSystem, without a tool, without root."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from infertui.sample import Absent, Values
from infertui.telemetry.source import Used

if TYPE_CHECKING:
    from infertui.telemetry.iokit import Accelerator
    from infertui.telemetry.libsystem import System

V6, V4 = 6, 4  # flavours of struct rusage_info; the older one says nothing of energy
SWAP_BYTES = 32  # struct xsw_usage


# Parsers.


def usage_of(data: bytes, numer: int, denom: int) -> tuple[int, Used] | None:
    """When a process started, in ticks, and what it has used, out of a struct rusage_info_v4 or v6.

    `numer` and `denom` make nanoseconds of ticks. What has ended holds no memory any more, but keeps its CPU time until
    its parent has waited for it: only then does it stand in the parent's account. None: the structure is cut short.
    """
    if len(data) < 296:
        return None

    def at(offset: int) -> int:
        return int(struct.unpack_from("<Q", data, offset)[0])

    started, ended = at(80), at(88) != 0
    energy_nj = at(336) if len(data) >= 464 else 0
    return started, Used(
        cpu_ns=(at(16) + at(24)) * numer // denom,
        reaped_ns=(at(96) + at(104)) * numer // denom,
        private_bytes=0 if ended else at(72),  # the footprint, as Activity Monitor shows it
        resident_bytes=0 if ended else at(64),
        peak_bytes=at(240) or None,
        pageins=at(48),
        energy_nj=energy_nj or None,
    )


def memory_of(data: bytes, page: int) -> tuple[int, int] | None:
    """RAM in use, in bytes, and pages written to swap since boot, out of a struct vm_statistics64.

    In use is what Activity Monitor means by it: files that could be read again are not.
    """
    if len(data) < 140:
        return None
    active, inactive, wired = struct.unpack_from("<3I", data, 4)
    purgeable, speculative = struct.unpack_from("<2I", data, 88)
    (swapouts,) = struct.unpack_from("<Q", data, 120)
    compressor, _, external = struct.unpack_from("<3I", data, 128)
    return (active + inactive + wired + speculative + compressor - purgeable - external) * page, swapouts


def swap_of(data: bytes) -> int | None:
    """Swap in use, in bytes, out of a struct xsw_usage."""
    return int(struct.unpack_from("<Q", data, 16)[0]) if len(data) >= 24 else None


def power_of(text: str) -> tuple[bool, str] | None:
    """Whether the machine spares power on purpose, and the words of `pmset -g` for it."""
    for name in ("powermode", "lowpowermode"):  # a Mac that has the first may list the second, too
        if found := re.search(rf"^\s*{name}\s+(\d+)\b", text, re.MULTILINE):
            return found[1] == "1", f"{name} {found[1][:3]}"
    return None


# The machine.


class MacOS:
    """Memory of mapped files is told of no process here: who knows a server's weights adds them."""

    name = "libSystem"

    def __init__(self, system: System | None = None) -> None:
        if system is None:
            from infertui.telemetry.libsystem import System

            system = System()
        self._system = system
        self._timebase = system.timebase()
        self._page = system.number("vm.pagesize")  # hw.pagesize is that of this process: another one under Rosetta
        self._translated = _flag(system.number("sysctl.proc_translated"))
        self._virtual = _flag(system.number("kern.hv_vmm_present"))
        self._asleep_ns = 0

    def close(self) -> None:
        """Nothing is held that does not end with the process."""

    def cpu(self) -> tuple[int, int]:
        busy = idle = 0.0
        for user, nice, system, unused in self._system.cores():
            busy += user + nice + system
            idle += unused
        return round(busy * 1e9), round((busy + idle) * 1e9)

    def fast(self, at_ns: int) -> Values:
        return {"thermal_level": self._thermal()}

    def slow(self, at_ns: int) -> Values:
        used, swapouts = self._memory()
        plugged, _ = self._system.battery() or (None, None)
        return {
            "ram_total_bytes": self._system.number("hw.memsize"),
            "ram_used_bytes": used,
            "swapouts": swapouts,
            "swap_used_bytes": self._swap(),
            "memory_pressure": self._pressure(),
            "on_battery": None if plugged is None else float(not plugged),
            "asleep_ns": self._asleep(),
        }

    def look(self) -> dict[str, Any]:
        plugged, percent = self._system.battery() or (None, None)
        low, mode = power_of((self._system.run("/usr/bin/pmset", "-g") or b"").decode("utf-8", "replace")) or (None, "")
        told = {
            "thermal_level": self._thermal(),
            "on_battery": None if plugged is None else not plugged,
            "battery_percent": percent,
            "low_power": low,
            "power_mode": mode or None,
            "swap_used_bytes": self._swap(),
            "swapouts": self._memory()[1],
            "memory_pressure": self._pressure(),
            "gpu_limit_mb": self._system.number("iogpu.wired_limit_mb"),
            "translated": self._translated,
            "virtual": self._virtual,
            "asleep_ns": self._asleep(),
        }
        return {key: value for key, value in told.items() if value is not None}

    def _thermal(self) -> int | None:
        """Nothing warms a virtual machine, and its level stays at 0."""
        return None if self._virtual else self._system.thermal()

    def _memory(self) -> tuple[int | None, int | None]:
        data = self._system.vm_statistics()
        told = memory_of(data, self._page or 0) if data is not None else None
        if told is None:
            return None, None
        return (told[0] if self._page else None), told[1]

    def _swap(self) -> int | None:
        data = self._system.sysctl("vm.swapusage", SWAP_BYTES)
        return swap_of(data) if data is not None else None

    def _pressure(self) -> int | None:
        return self._system.number("kern.memorystatus_vm_pressure_level") or None

    def _asleep(self) -> int | None:
        """Two clocks are read one after the other; by that little it must not seem to fall."""
        try:
            awake, steady = self._system.clocks()
        except OSError:
            return None
        self._asleep_ns = max(self._asleep_ns, steady - awake)
        return self._asleep_ns

    def absent(self) -> list[Absent]:
        found = []
        if self._translated:
            reason = "this Python runs under Rosetta, where the clock of CPU times is wrong: no process is looked into"
            found.append(Absent(name="processes", reason=reason, mend="use a Python that is built for arm64"))
        elif (own := self.used(os.getpid(), V6) or self.used(os.getpid(), V4)) is None:
            found.append(Absent(name="processes", reason="the system does not tell what a process uses"))
        elif own[1].energy_nj is None:
            found.append(Absent(name="CPU power of the server", reason="this Mac does not count a process's energy"))
        if self._virtual:
            found.append(Absent(name="thermal level", reason="a virtual machine is not told how hot its host is"))
        elif self._system.thermal() is None:
            found.append(Absent(name="thermal level", reason="the system does not say"))
        if self._memory()[0] is None:
            found.append(Absent(name="RAM in use", reason="the system does not say"))
        return found

    # Processes.

    def descendants(self, roots: Iterable[int]) -> set[int]:
        roots = set(roots)
        found: set[int] = set()
        left = list(roots)
        while left:
            new = [pid for pid in self._system.children(left.pop()) if pid not in found and pid not in roots]
            found.update(new)
            left += new
        return found

    def handle(self, pid: int) -> Process | None:
        if self._translated:
            return None
        for flavour in (V6, V4):
            if (told := self.used(pid, flavour)) is not None:
                return Process(self, pid, flavour, told[0])
        return None

    def used(self, pid: int, flavour: int) -> tuple[int, Used] | None:
        """When it started and what it has used; None: it is gone, its parent has waited for it, or it is not told."""
        data = self._system.rusage(pid, flavour)
        return None if data is None else usage_of(data, *self._timebase)


class Process:
    """Known by its pid and its start: another process that gets the pid has another start."""

    def __init__(self, macos: MacOS, pid: int, flavour: int, started: int) -> None:
        self.pid = pid
        self._macos, self._flavour, self._started = macos, flavour, started

    def read(self) -> Used | None:
        told = self._macos.used(self.pid, self._flavour)
        return None if told is None or told[0] != self._started else told[1]

    def close(self) -> None:
        """Nothing is held."""


def _flag(number: int | None) -> bool | None:
    return None if number is None else number != 0


# The GPU.


def accelerator(pids: Callable[[], frozenset[int]]) -> Accelerator | Absent:
    """The server's share of the GPU, and the GPU's memory, five times a second. `pids`: the server's processes now.

    Where only a tool tells of them, once a second, and what `everyone` tells with it.
    """
    from infertui.telemetry import iokit

    return iokit.of_server(pids)


def everyone(pids: Callable[[], frozenset[int]]) -> Accelerator | Absent:
    """The GPU's share of all processes and of those that are not the server's: a longer walk, once a second."""
    from infertui.telemetry import iokit

    return iokit.of_all(pids)
