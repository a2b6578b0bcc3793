"""Which process a recorded pid really is: pids are used again, so its start time belongs to it."""

from __future__ import annotations


def started(pid: int) -> float | None:
    """When the process with this pid started (seconds since the epoch); None when there is none, or only its corpse."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return None


def alive(pid: int, since: float) -> bool:
    """Whether the process that had this pid and start time is still there."""
    now = started(pid) if pid > 0 else None
    return now is not None and abs(now - since) < 1.5
