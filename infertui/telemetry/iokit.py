"""A Mac's GPU, as the I/O registry tells of it: its memory, and the GPU time of each process, without root."""

from __future__ import annotations

import plistlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from infertui.sample import Absent, Values
from infertui.telemetry.source import Gone, Source
from infertui.text import plain

FAST_S, SLOW_S = 0.2, 1.0  # a start of ioreg costs tens of milliseconds
OF_SERVER = ("server_gpu_percent", "gpu_used_bytes")
OF_ALL = ("foreign_gpu_percent", "gpu_percent")
CLIENT = "AGXDeviceUserClient"
SERVICES = b"IOService"  # the plane in which a client is the child of its GPU
UTF8 = 0x08000100
BINARY = 200  # kCFPropertyListBinaryFormat_v1_0
Found = TypeVar("Found")


# Parsers.


class GPU(msgspec.Struct, frozen=True):
    """`clients`: GPU time so far in ns, by pid; None: it was not read, or is not told."""

    clients: dict[int, int | None]
    used_bytes: int | None


def creator_of(told: object) -> int | None:
    """The pid in a client's IOUserClientCreator. The name beside it is cut short."""
    found = re.match(r"pid (\d{1,9})\b", told) if isinstance(told, str) else None
    return int(found[1]) if found else None


def time_of(usage: object) -> int | None:
    """GPU time in ns out of a client's AppUsage, which has an entry for each API; none that is empty has used none."""
    if not isinstance(usage, list):
        return None
    return _total([_number(each.get("accumulatedGPUTime")) for each in usage if isinstance(each, Mapping)], len(usage))


def used_of(statistics: object) -> int | None:
    """GPU memory in use, in bytes, out of a GPU's PerformanceStatistics."""
    # Beside it there may be "In use system memory (driver)", which is something else.
    return _number(statistics.get("In use system memory")) if isinstance(statistics, Mapping) else None


def by_pid(clients: Iterable[tuple[int, int | None]]) -> dict[int, int | None]:
    """A process may have several clients."""
    found: dict[int, int | None] = {}
    for pid, ns in clients:
        before = found.get(pid)
        found[pid] = before if ns is None else ns + (before or 0)
    return found


def together(gpus: Collection[GPU]) -> GPU:
    clients = by_pid(each for gpu in gpus for each in gpu.clients.items())
    return GPU(clients, _total([gpu.used_bytes for gpu in gpus], len(gpus)))


def gpus_of(output: bytes) -> list[GPU]:
    """What `ioreg -a` printed: nothing at all where nothing matches."""
    if not output.strip():
        return []
    listed = plistlib.loads(output)
    return [_gpu_of(each) for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def _gpu_of(device: dict[str, Any]) -> GPU:
    clients = [
        (pid, time_of(entry.get("AppUsage")))
        for entry in device.get("IORegistryEntryChildren") or ()
        if isinstance(entry, Mapping) and entry.get("IOObjectClass") == CLIENT
        if (pid := creator_of(entry.get("IOUserClientCreator"))) is not None
    ]
    return GPU(by_pid(clients), used_of(device.get("PerformanceStatistics")))


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _total(values: Iterable[int | None], of: int) -> int | None:
    """The sum of those that are known; None: there are some, and none of them is known."""
    known = [value for value in values if value is not None]
    return sum(known) if known or not of else None


# The sources.


Gpus = Callable[[frozenset[int] | None], list[GPU]]


class Accelerator(Source):
    """Shares of the GPU by the growth of each process's GPU time, which may pass 100 %: work overlaps.

    `keys`: the series that it tells. Where only the server is asked about, `gpus` is asked for its processes alone. The
    sum of all processes stands for the GPU's own share, for want of a better measure of it.
    """

    counted = True

    def __init__(
        self, gpus: Gpus, pids: Callable[[], frozenset[int]], name: str, period_s: float, keys: tuple[str, ...]
    ) -> None:
        self.name, self.period_s = name, period_s
        self._gpus, self._pids, self._keys = gpus, pids, keys
        self._whole = any(key in keys for key in OF_ALL)
        self._before: tuple[int, dict[int, int | None]] | None = None

    def read(self, at_ns: int) -> Values:
        server = self._pids()
        gpus = self._gpus(None if self._whole else server)
        if not gpus:
            raise Gone("no GPU is listed any more")
        now = together(gpus)
        before, self._before = self._before, (at_ns, now.clients)
        told: Values = {"gpu_used_bytes": now.used_bytes}
        if before is not None and at_ns > before[0] and now.clients:
            told |= _shares(_grown(before[1], now.clients), at_ns - before[0], server)
        return {key: told.get(key) for key in self._keys}


def _grown(before: dict[int, int | None], now: dict[int, int | None]) -> dict[int, int | None]:
    """By how many ns, by pid; None: it is not known of one of the two readings."""
    grown: dict[int, int | None] = {}
    for pid, ns in now.items():
        # Of a process that comes or is back it is not known what belongs to this span; who closed a client fell.
        was = before.get(pid, ns)
        grown[pid] = None if ns is None or was is None else max(0, ns - was)
    return grown


def _shares(grown: dict[int, int | None], span_ns: int, server: frozenset[int]) -> Values:
    def percent(pids: Collection[int]) -> float | None:
        total = _total([grown[pid] for pid in pids], len(pids))
        return None if total is None else total * 100 / span_ns

    found = {"gpu_percent": percent(grown.keys())}
    if server:
        found["server_gpu_percent"] = percent(grown.keys() & server)
        found["foreign_gpu_percent"] = percent(grown.keys() - server)
    return found


def of_server(pids: Callable[[], frozenset[int]]) -> Accelerator | Absent:
    """By calls into IOKit; where these fail, by the tool, less often and all at once."""
    ways: tuple[tuple[Callable[[], Gpus], str, float, tuple[str, ...]], ...] = (
        (lambda: Registry().devices, "IOKit, GPU time of the server", FAST_S, OF_SERVER),
        (lambda: lambda only: by_tool(), "ioreg, GPU time by process", SLOW_S, OF_SERVER + OF_ALL),
    )
    reason = ""
    for way, name, period_s, keys in ways:
        try:
            gpus = way()
            reason = _silence(gpus(None))
        except Exception as error:  # an undocumented tree, read by foreign calls
            reason = plain(f"{name}: {type(error).__name__}: {error}", 200)
            continue
        if not reason:
            return Accelerator(gpus, pids, name, period_s, keys)
        break
    return Absent(name="GPU", reason=reason)


def of_all(pids: Callable[[], frozenset[int]]) -> Accelerator | Absent:
    """By calls into IOKit; where these fail, the tool tells it with the server's."""
    try:
        gpus = Registry().devices
        reason = _silence(gpus(None))
    except Exception as error:
        reason = plain(f"left to ioreg, because IOKit fails: {type(error).__name__}: {error}", 200)
    if reason:
        return Absent(name="GPU of other programs", reason=reason)
    return Accelerator(gpus, pids, "IOKit, GPU time of all", SLOW_S, OF_ALL)


def _silence(listed: list[GPU]) -> str:
    """Why there is nothing to read; empty: there is."""
    if not listed:
        return "no GPU is listed"
    first = together(listed)
    told = first.clients or first.used_bytes is not None
    return "" if told else "this GPU tells neither its memory nor whose work it does"


# Two ways to the same tree.


def by_tool() -> list[GPU]:
    """All GPUs with their children. Without -l it would give the children no properties."""
    from infertui.telemetry import libsystem

    output = libsystem.run("/usr/sbin/ioreg", "-a", "-l", "-r", "-c", "IOAccelerator")
    if output is None:
        raise OSError("ioreg failed")
    return gpus_of(output)


class Registry:
    """The tree by IOKit, for one thread.

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
            (self._iokit, "IORegistryEntryGetRegistryEntryID", status, [number, pointer]),
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
        # By entry ID, which is given once in a boot: who created a client never changes. None: it is no client.
        self._creators: dict[int, int | None] = {}

    def devices(self, only: frozenset[int] | None = None) -> list[GPU]:
        """All GPUs. With `only`, the GPU time of these processes alone is read; the others are listed without it."""
        matching = self._iokit.IOServiceMatching(b"IOAccelerator")
        services = self._ctypes.c_uint32()
        # The call consumes `matching`.
        if not matching or self._iokit.IOServiceGetMatchingServices(0, matching, self._ctypes.byref(services)):
            raise OSError("the I/O registry cannot be searched")
        met: dict[int, int | None] = {}
        gpus = self._each(services.value, lambda entry: self._device(entry, only, met))
        self._creators = met  # what was not met any more is forgotten
        return gpus

    def _device(self, entry: int, only: frozenset[int] | None, met: dict[int, int | None]) -> GPU:
        children = self._ctypes.c_uint32()
        if self._iokit.IORegistryEntryGetChildIterator(entry, SERVICES, self._ctypes.byref(children)):
            raise OSError("a GPU went away")

        def client(child: int) -> tuple[int, int | None] | None:
            pid = self._creator(child, met)
            if pid is None:
                return None
            return pid, time_of(self._property(child, "AppUsage")) if only is None or pid in only else None

        clients = self._each(children.value, client)
        used_bytes = used_of(self._property(entry, "PerformanceStatistics"))
        return GPU(by_pid(each for each in clients if each is not None), used_bytes)

    def _creator(self, entry: int, met: dict[int, int | None]) -> int | None:
        """Whose client this is; None: it is none, or its creator is not told, at least not yet."""
        told = self._ctypes.c_uint64()
        unknown = self._iokit.IORegistryEntryGetRegistryEntryID(entry, self._ctypes.byref(told))
        if not unknown and told.value in self._creators:
            met[told.value] = self._creators[told.value]
            return met[told.value]
        name = self._ctypes.create_string_buffer(128)
        if self._iokit.IOObjectGetClass(entry, name):
            return None
        is_client = name.value == CLIENT.encode()
        pid = creator_of(self._property(entry, "IOUserClientCreator")) if is_client else None
        if not unknown and (pid is not None or not is_client):
            met[told.value] = pid
        return pid

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
