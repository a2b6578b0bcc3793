"""A Mac's GPU, as the I/O registry tells of it: its memory, and the GPU time of each process, without root."""

from __future__ import annotations

import plistlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from infertui.sample import Absent, Values
from infertui.telemetry.source import Gone, Source
from infertui.text import plain

FAST_S = 0.2
TOOL_PERIOD_S = 1.0  # a start of ioreg costs tens of milliseconds
CLIENT = "AGXDeviceUserClient"
CHILDREN = "IORegistryEntryChildren"
SERVICES = b"IOService"  # the plane in which a client is the child of its GPU
UTF8 = 0x08000100
BINARY = 200  # kCFPropertyListBinaryFormat_v1_0
Device = dict[str, Any]
Found = TypeVar("Found")


# Parsers.


class Snapshot(msgspec.Struct, frozen=True):
    """`clients`: GPU time so far in ns, by pid."""

    clients: dict[int, int]
    used_bytes: int | None


def clients_of(entries: Iterable[Any]) -> dict[int, int]:
    """GPU time in ns by pid: a process may have several clients, and a client several APIs."""
    found: dict[int, int] = {}
    for entry in entries:
        if not isinstance(entry, Mapping) or entry.get("IOObjectClass") != CLIENT:
            continue
        creator = re.match(r"pid (\d{1,9})\b", str(entry.get("IOUserClientCreator", "")))  # its name is cut short
        if creator is None:
            continue
        usage = entry.get("AppUsage")
        times = [each.get("accumulatedGPUTime") for each in usage or () if isinstance(each, Mapping)]
        pid = int(creator[1])
        found[pid] = found.get(pid, 0) + sum(_number(time) or 0 for time in times)
    return found


def snapshot_of(devices: Iterable[Device]) -> Snapshot:
    """Of all GPUs together."""
    clients: dict[int, int] = {}
    used: list[int] = []
    for device in devices:
        for pid, ns in clients_of(device.get(CHILDREN) or ()).items():
            clients[pid] = clients.get(pid, 0) + ns
        statistics = device.get("PerformanceStatistics")
        # Beside it there may be "In use system memory (driver)", which is something else.
        if isinstance(statistics, Mapping) and (told := _number(statistics.get("In use system memory"))) is not None:
            used.append(told)
    return Snapshot(clients, sum(used) if used else None)


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


# The source.


class Accelerator(Source):
    """Shares of the GPU by the growth of each process's GPU time, which may pass 100 %: work overlaps.

    `whole`: the sum of all processes stands for the GPU's own share, for want of a better measure of it.
    """

    counted = True

    def __init__(
        self,
        devices: Callable[[], list[Device]],
        pids: Callable[[], frozenset[int]],
        name: str,
        period_s: float = FAST_S,
        whole: bool = True,
    ) -> None:
        self.name, self.period_s = name, period_s
        self._devices, self._pids, self._whole = devices, pids, whole
        self._before: tuple[int, dict[int, int]] | None = None

    def read(self, at_ns: int) -> Values:
        devices = self._devices()
        if not devices:
            raise Gone("no GPU is listed any more")
        now = snapshot_of(devices)
        before, self._before = self._before, (at_ns, now.clients)
        shares = dict.fromkeys(("server_gpu_percent", "foreign_gpu_percent", "gpu_percent"))
        found: Values = {**shares, "gpu_used_bytes": now.used_bytes}
        if not self._whole:
            del found["gpu_percent"]
        if before is None or at_ns <= before[0] or not now.clients:
            return found
        # Of a process that comes or is back it is not known what belongs to this span; who closed a client fell.
        grown = {pid: max(0, ns - before[1][pid]) for pid, ns in now.clients.items() if pid in before[1]}
        percent = 100 / (at_ns - before[0])
        whole = sum(grown.values())
        if self._whole:
            found["gpu_percent"] = whole * percent
        if server := self._pids():
            ours = sum(grown.get(pid, 0) for pid in server)
            found["server_gpu_percent"] = ours * percent
            found["foreign_gpu_percent"] = (whole - ours) * percent
        return found


def found(pids: Callable[[], frozenset[int]]) -> Accelerator | Absent:
    """By calls into IOKit; where these fail, by the tool, less often."""
    ways: tuple[tuple[Callable[[], Callable[[], list[Device]]], str, float], ...] = (
        (lambda: Registry().devices, "IOKit, GPU time by process", FAST_S),
        (lambda: by_tool, "ioreg, GPU time by process", TOOL_PERIOD_S),
    )
    reason = ""
    for way, name, period_s in ways:
        try:
            devices = way()
            listed = devices()
        except Exception as error:  # an undocumented tree, read by foreign calls
            reason = plain(f"{name}: {type(error).__name__}: {error}", 200)
            continue
        first = snapshot_of(listed)
        if first.clients or first.used_bytes is not None:
            return Accelerator(devices, pids, name, period_s)
        reason = "this GPU tells neither its memory nor whose work it does" if listed else "no GPU is listed"
        break
    return Absent(name="GPU", reason=reason)


# Two ways to the same tree.


def by_tool() -> list[Device]:
    """All GPUs with their children. Without -l it would give the children no properties."""
    from infertui.telemetry import libsystem

    output = libsystem.run("/usr/sbin/ioreg", "-a", "-l", "-r", "-c", "IOAccelerator")
    if output is None:
        raise OSError("ioreg failed")
    return devices_of(output)


def devices_of(output: bytes) -> list[Device]:
    """What `ioreg -a` printed: nothing at all where nothing matches."""
    if not output.strip():
        return []
    listed = plistlib.loads(output)
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


class Registry:
    """The tree by IOKit, in the shape in which ioreg gives it.

    Whatever a call makes is let go of by who called, also when something fails on the way: five times a second, for
    hours. `iokit` and `foundation` have the functions of the two frameworks.
    """

    def __init__(self, iokit: Any = None, foundation: Any = None) -> None:
        import ctypes

        self._ctypes = ctypes
        frameworks = "/System/Library/Frameworks"
        # CDLL lets other threads run meanwhile: these calls end in a driver.
        self._iokit = iokit or ctypes.CDLL(f"{frameworks}/IOKit.framework/IOKit")
        self._cf = foundation or ctypes.CDLL(f"{frameworks}/CoreFoundation.framework/CoreFoundation")
        pointer, number, status, text = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_char_p
        for library, name, result, arguments in (
            (self._iokit, "IOServiceMatching", pointer, [text]),
            (self._iokit, "IOServiceGetMatchingServices", status, [number, pointer, pointer]),
            (self._iokit, "IOIteratorNext", number, [number]),
            (self._iokit, "IOObjectRelease", status, [number]),
            (self._iokit, "IOObjectGetClass", status, [number, pointer]),
            (self._iokit, "IORegistryEntryGetChildIterator", status, [number, text, pointer]),
            (self._iokit, "IORegistryEntryCreateCFProperty", pointer, [number, pointer, pointer, number]),
            (self._cf, "CFStringCreateWithCString", pointer, [pointer, text, number]),
            (self._cf, "CFPropertyListCreateData", pointer, [pointer, pointer, ctypes.c_long, ctypes.c_ulong, pointer]),
            (self._cf, "CFDataGetLength", ctypes.c_long, [pointer]),
            (self._cf, "CFDataGetBytePtr", pointer, [pointer]),
            (self._cf, "CFRelease", None, [pointer]),
        ):
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        # Kept as long as the process: a reading may be under way at its very end.
        self._keys = {
            name: self._cf.CFStringCreateWithCString(None, name.encode(), UTF8)
            for name in ("PerformanceStatistics", "IOUserClientCreator", "AppUsage")
        }

    def devices(self) -> list[Device]:
        """All GPUs, each with its clients as its children."""
        matching = self._iokit.IOServiceMatching(b"IOAccelerator")
        services = self._ctypes.c_uint32()
        # The call consumes `matching`.
        if not matching or self._iokit.IOServiceGetMatchingServices(0, matching, self._ctypes.byref(services)):
            raise OSError("the I/O registry cannot be searched")
        return self._each(services.value, self._device)

    def _device(self, entry: int) -> Device:
        children = self._ctypes.c_uint32()
        if self._iokit.IORegistryEntryGetChildIterator(entry, SERVICES, self._ctypes.byref(children)):
            raise OSError("a GPU went away")
        clients = self._each(children.value, self._client)
        return {"PerformanceStatistics": self._property(entry, "PerformanceStatistics"), CHILDREN: clients}

    def _client(self, entry: int) -> Device:
        name = self._ctypes.create_string_buffer(128)
        if self._iokit.IOObjectGetClass(entry, name) or name.value != CLIENT.encode():
            return {}
        told = {key: self._property(entry, key) for key in ("IOUserClientCreator", "AppUsage")}
        return {"IOObjectClass": CLIENT, **told}

    def _each(self, iterator: int, read: Callable[[int], Found]) -> list[Found]:
        """What `read` makes of each entry. The iterator goes over a copy: no entry that comes or goes disturbs it."""
        made: list[Found] = []
        try:
            while iterator and (entry := self._iokit.IOIteratorNext(iterator)):
                try:
                    made.append(read(entry))
                finally:
                    self._iokit.IOObjectRelease(entry)
        finally:
            if iterator:
                self._iokit.IOObjectRelease(iterator)
        return made

    def _property(self, entry: int, key: str) -> Any:
        """None: the entry has none of that name, or nothing that a property list can hold."""
        value = self._iokit.IORegistryEntryCreateCFProperty(entry, self._keys[key], None, 0)
        if not value:
            return None
        try:
            data = self._cf.CFPropertyListCreateData(None, value, BINARY, 0, None)
            if not data:
                return None
            try:
                length = self._cf.CFDataGetLength(data)
                return plistlib.loads(self._ctypes.string_at(self._cf.CFDataGetBytePtr(data), length))
            finally:
                self._cf.CFRelease(data)
        finally:
            self._cf.CFRelease(value)
