"""The calls into macOS's libSystem: bytes and numbers as they come, None where the system does not tell."""

from __future__ import annotations

import os
import time
from typing import Any

RUSAGE_BYTES = {6: 464, 4: 296}  # by flavour
HOST_VM_INFO64 = 4
VM_INTS = 38  # up to total_uncompressed_pages_in_compressor; with more, some kernels write a complaint to their log
MIG_ARRAY_TOO_LARGE = -307
MONOTONIC_RAW, UPTIME_RAW = 4, 8  # Darwin's numbers; the first goes on while the machine sleeps
THERMAL = b"com.apple.system.thermalpressurelevel"
TOOL_S = 2.0


class System:
    """Any thread may call. `library` has the functions of libSystem."""

    def __init__(self, library: Any = None) -> None:
        import ctypes

        self._ctypes = ctypes
        # PyDLL keeps the interpreter's lock: to get it back would cost more than any of these calls.
        self._library = ctypes.PyDLL(None) if library is None else library
        self.arch = os.uname().machine  # x86_64 under Rosetta as well
        pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32
        for name, result, arguments in (
            ("proc_pid_rusage", ctypes.c_int, [ctypes.c_int, ctypes.c_int, pointer]),
            ("proc_listchildpids", ctypes.c_int, [ctypes.c_int, pointer, ctypes.c_int]),
            ("sysctlbyname", ctypes.c_int, [ctypes.c_char_p, pointer, pointer, pointer, size]),
            ("mach_timebase_info", ctypes.c_int, [pointer]),
            ("mach_host_self", number, []),
            ("host_statistics64", ctypes.c_int, [number, ctypes.c_int, pointer, pointer]),
            ("notify_register_check", number, [ctypes.c_char_p, pointer]),
            ("notify_get_state", number, [ctypes.c_int, pointer]),
        ):
            function = getattr(self._library, name)
            function.restype, function.argtypes = result, arguments
        self._host = self._library.mach_host_self()  # each call would add a reference to the port
        token = ctypes.c_int()
        registered = self._library.notify_register_check(THERMAL, ctypes.byref(token)) == 0
        self._token = token.value if registered else None

    def rusage(self, pid: int, flavour: int) -> bytes | None:
        """None: there is no such process, it is another user's, or the kernel does not know the flavour."""
        data = self._ctypes.create_string_buffer(1024)
        if self._library.proc_pid_rusage(pid, flavour, data) != 0:
            return None
        return data.raw[: RUSAGE_BYTES[flavour]]

    def children(self, pid: int) -> list[int]:
        most = 1024
        while True:
            pids = (self._ctypes.c_int * most)()
            count = self._library.proc_listchildpids(pid, pids, self._ctypes.sizeof(pids))
            if count < most:
                return [each for each in pids[: max(0, count)] if each > 0]
            most *= 4

    def timebase(self) -> tuple[int, int]:
        """Ticks of the kernel's clock × the first / the second are ns."""
        parts = (self._ctypes.c_uint32 * 2)()
        self._library.mach_timebase_info(parts)
        return parts[0], parts[1]

    def sysctl(self, name: str, size: int = 8) -> bytes | None:
        data, length = self._ctypes.create_string_buffer(size), self._ctypes.c_size_t(size)
        status = self._library.sysctlbyname(name.encode(), data, self._ctypes.byref(length), None, 0)
        return data.raw[: length.value] if status == 0 else None

    def number(self, name: str) -> int | None:
        """A sysctl of a whole number, of whichever width."""
        data = self.sysctl(name)
        return int.from_bytes(data, "little") if data and len(data) in (4, 8) else None

    def vm_statistics(self) -> bytes | None:
        """A struct vm_statistics64. The kernel gives a copy up to a second old to who asks too often."""
        ints = VM_INTS
        for _ in range(2):
            data, count = self._ctypes.create_string_buffer(4096), self._ctypes.c_uint32(ints)
            status = self._library.host_statistics64(self._host, HOST_VM_INFO64, data, self._ctypes.byref(count))
            if status == 0:
                return data.raw[: 4 * count.value]
            if status != MIG_ARRAY_TOO_LARGE:
                break
            ints = min(count.value, 1024)
        return None

    def thermal(self) -> int | None:
        if self._token is None:
            return None
        state = self._ctypes.c_uint64()
        known = self._library.notify_get_state(self._token, self._ctypes.byref(state)) == 0
        return int(state.value) if known else None

    def clocks(self) -> tuple[int, int]:
        """ns since boot without and with the time asleep, in this order: their difference is never negative."""
        return time.clock_gettime_ns(UPTIME_RAW), time.clock_gettime_ns(MONOTONIC_RAW)

    def cores(self) -> list[tuple[float, float, float, float]]:
        """User, nice, system and idle seconds of each core. Of all together the kernel may give an old copy."""
        import psutil

        return [(each.user, each.nice, each.system, each.idle) for each in psutil.cpu_times(percpu=True)]

    def battery(self) -> tuple[bool | None, float] | None:
        """Whether it is plugged in, and how full it is in percent; None where there is no battery."""
        import psutil

        try:
            told = psutil.sensors_battery()
        except Exception:  # of the C code below
            return None
        return None if told is None else (told.power_plugged, told.percent)

    def run(self, *command: str) -> bytes | None:
        return run(*command)


def run(*command: str) -> bytes | None:
    """What a tool prints; None if it fails or takes too long."""
    import subprocess

    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
            timeout=TOOL_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
