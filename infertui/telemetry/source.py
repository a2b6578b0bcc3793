"""What every source of readings is asked for, and what they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import msgspec

from infertui.sample import Absent, Values

__all__ = ["Absent", "Gone", "Handle", "Platform", "Rates", "Source", "Used", "Values"]


class Gone(Exception):
    """A source tells no more; the message is why, in a line."""


class Source(ABC):
    """Something that is read at its own pace, in a thread of its own: one that hangs holds up no other."""

    name: str  # as it names itself: "NVML 580.65.06", "macmon 0.8.2"
    period_s: float
    counted: bool = True  # its rates come from counters: they cover gaps as well
    streams: bool = False  # it says something by itself: reading waits for that

    @property
    def missing(self) -> Mapping[str, str]:
        """Series that it would have and cannot tell here, so far as is known by now, each with the reason."""
        return {}

    @abstractmethod
    def read(self, at_ns: int) -> Values:
        """What there is to read now. Gone: there will be nothing any more. Any other exception costs this reading."""

    def cpu_s(self) -> float | None:
        """What a program that it reads from has cost. None: there is none, or it is not known."""
        return None

    def close(self) -> None:  # noqa: B027
        """Let go of what it holds, if anything. Another thread may be reading."""


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """What one process has used and holds. None: the system does not tell."""

    cpu_ns: int
    reaped_ns: int = 0  # of its children that have ended and that it has waited for
    private_bytes: int | None = None
    mapped_bytes: int | None = None
    resident_bytes: int | None = None
    swapped_bytes: int | None = None
    peak_bytes: int | None = None  # since its start
    pageins: int | None = None
    energy_nj: int | None = None  # of the CPU


class Handle(Protocol):
    """One process, held so that another one that gets its pid is never taken for it."""

    pid: int

    def read(self) -> Used | None:
        """None: it is gone, also for its parent, or may not be looked into. One that only has ended holds nothing."""

    def close(self) -> None: ...


class Platform(Protocol):
    """What an operating system tells without a tool of its own, and without root."""

    name: str  # as it names itself: "/proc", "libproc, IOKit"

    def cpu(self) -> tuple[int, int]:
        """Busy and all CPU time of the machine since boot, all cores together, in ns."""

    def fast(self, at_ns: int) -> Values:
        """Five times a second: what changes quickly and costs microseconds."""

    def slow(self, at_ns: int) -> Values:
        """Once a second: RAM, swap, pressure, limits, battery."""

    def look(self) -> dict[str, Any]:
        """Before and after a block: conditions by the keys of `condition.Conditions`. It may start programs."""

    def descendants(self, roots: Iterable[int]) -> set[int]:
        """All processes that came of these and are alive, the roots themselves not among them."""

    def handle(self, pid: int) -> Handle | None:
        """None: there is no such process, or it may not be looked into."""

    def absent(self) -> list[Absent]:
        """What this machine cannot tell, and why."""

    def close(self) -> None: ...


class Rates:
    """Counters turned into what they grow by in a second. A counter that falls starts anew."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[int, float]] = {}

    def of(self, key: str, value: float | None, at_ns: int) -> float | None:
        """Growth per second since the last reading of this key; None for the first, for a fall, for the unknown."""
        if value is None:
            self._before.pop(key, None)
            return None
        before = self._before.get(key)
        self._before[key] = (at_ns, value)
        if before is None or value < before[1] or at_ns <= before[0]:
            return None
        return (value - before[1]) * 1e9 / (at_ns - before[0])
