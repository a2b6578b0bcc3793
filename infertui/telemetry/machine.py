"""What machine this is: the part of a result's set-up that no server can tell."""

from __future__ import annotations

import os
import sys
from typing import Any


def facts() -> dict[str, Any]:
    """Hardware and system, without anything that names its user."""
    system = os.uname()
    return {
        "system": system.sysname,
        "release": system.release,
        "arch": system.machine,
        "cpu": _cpu() or system.machine,
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "python": ".".join(map(str, sys.version_info[:3])),
    }


def _cpu() -> str:
    if sys.platform == "darwin":
        import ctypes

        libc, size = ctypes.CDLL(None), ctypes.c_size_t(128)
        name = ctypes.create_string_buffer(size.value)
        found = libc.sysctlbyname(b"machdep.cpu.brand_string", name, ctypes.byref(size), None, 0)
        return name.value.decode("utf-8", "replace") if found == 0 else ""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        return ""
