"""This process while a block is timed: nothing in it but the load."""

from __future__ import annotations

import contextlib
import gc
import resource
import sys
from collections.abc import Iterator

FILES = 10_240


def many_files() -> None:
    """As many open files as we may have: a Mac starts with 256, too few for 256 calls at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, FILES)), hard))


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No collection inside a timed block, and the loop's thread gets the interpreter back in half a millisecond."""
    interval = sys.getswitchinterval()
    gc.collect()
    gc.freeze()
    gc.disable()
    sys.setswitchinterval(0.0005)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.enable()
        gc.unfreeze()
