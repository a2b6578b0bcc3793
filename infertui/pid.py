"""Which process a recorded pid really is: pids are used again, so its start time belongs to it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from infertui.settings import state_folder

APP = "INFERTUI_APP"  # the variable by which the app tells the run that it starts who it is


def started(pid: int) -> float | None:
    """What tells a process from others that had or will have its pid; None when there is none, or only its corpse.

    On Linux the tick at which it started, with the boot: the time of day that psutil makes of it moves with each
    correction of the clock. Elsewhere the system keeps that time itself.
    """
    if sys.platform == "linux":
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()  # a name may hold blanks and brackets
            with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
                boot = int(file.read(4), 16)
        except (OSError, ValueError):
            return None
        return None if fields[0] in (b"Z", b"X") else float(boot * 100_000_000_000 + int(fields[19]))
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return None


def alive(pid: int, since: float) -> bool:
    """Whether the process that had this pid and start is still there."""
    now = started(pid) if pid > 0 else None
    return now is not None and abs(now - since) < (0.5 if sys.platform == "linux" else 1.5)


def app() -> int | None:
    """The app that has started this process, if one has: what it takes of the machine is ours."""
    named = os.environ.get(APP, "")
    return os.getppid() if named == str(os.getppid()) else None


# Runs that measure on this machine now, of whichever InferTUI: each has a file that is named after its pid.


def _folder() -> Path:
    return state_folder() / "measuring"


def measuring() -> list[int]:
    """The processes that measure here now. What was left by one that was killed is cleared away."""
    found = []
    for place in _folder().glob("*"):
        with contextlib.suppress(OSError, ValueError):
            if alive(pid := int(place.name), float(place.read_text())):
                found.append(pid)
            else:
                place.unlink()
    return sorted(found)


@contextlib.contextmanager
def measured() -> Iterator[None]:
    """This process measures: others can know."""
    place = _folder() / str(os.getpid())
    with contextlib.suppress(OSError):  # without a place for it, nobody knows, and nothing else is lost
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(str(started(os.getpid())))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            place.unlink()
