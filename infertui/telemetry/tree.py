"""A server as the processes that make it up: their CPU time without losing what ended, their memory in honest lines."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import msgspec

from infertui.sample import Values
from infertui.telemetry.source import Handle, Platform, Used


class _Member(msgspec.Struct):
    handle: Handle
    used: Used


class Tree:
    """Roots and all that came of them. `adopters` are no part of it, but whose parent died becomes their child.

    CPU time only ever grows: a child that has ended keeps its share. Where its parent has waited for it, the parent's
    own account has the last of it, and all of the children that lived between two readings.
    """

    def __init__(self, platform: Platform, with_reaped: bool = True) -> None:
        self._platform = platform
        self._with_reaped = with_reaped
        self._lock = threading.Lock()
        self.watched = 0  # how often it was told whom to watch: counts of two watches are not to be compared
        self._roots: frozenset[int] = frozenset()
        self._adopters: frozenset[int] = frozenset()
        self._without: frozenset[int] = frozenset()
        self._members: dict[int, _Member] = {}
        self._cpu_ns = 0
        self._owed = 0  # what has ended and was counted, and stands in no account yet

    def watch(self, roots: Iterable[int], adopters: Iterable[int] = (), without: Iterable[int] = ()) -> None:
        """Other roots, and a count that begins at their start."""
        with self._lock:
            for member in self._members.values():
                member.handle.close()
            self.watched += 1
            self._members, self._owed, self._cpu_ns = {}, 0, 0
            self._roots, self._adopters = frozenset(roots), frozenset(adopters)
            self._without = frozenset(without)
            self._find()

    @property
    def pids(self) -> frozenset[int]:
        with self._lock:
            return frozenset(self._members)

    def leave_out(self, pids: Iterable[int]) -> None:
        """Processes that are somebody else's, though they came of the roots."""
        with self._lock:
            self._without = frozenset(pids)
            for pid in self._without & self._members.keys():
                self._members.pop(pid).handle.close()

    def cpu_ns(self) -> int | None:
        """CPU time of all, with what has ended. None: there is nothing to look into."""
        with self._lock:
            return self._read() if self._members or self._cpu_ns else None

    def read(self) -> Values:
        """CPU time and memory now."""
        with self._lock:
            if not self._members and not self._cpu_ns:
                return {}
            cpu_ns = self._read()
            used = [member.used for member in self._members.values()]
            return {
                "server_cpu_ns": cpu_ns,
                "server_processes": len(used),
                "server_private_bytes": _sum([each.private_bytes for each in used]),
                "server_mapped_bytes": _most([each.mapped_bytes for each in used]),
                "server_resident_bytes": _sum([each.resident_bytes for each in used]),
                "server_swapped_bytes": _sum([each.swapped_bytes for each in used]),
                "server_peak_bytes": _sum([each.peak_bytes for each in used]),
                "server_pageins": _sum([each.pageins for each in used]),
                "server_cpu_energy_nj": _sum([each.energy_nj for each in used]),
            }

    def _read(self) -> int:
        self._find()
        found = {pid: member.handle.read() for pid, member in self._members.items()}
        ended = 0
        for pid in [pid for pid, used in found.items() if used is None]:
            gone = self._members.pop(pid)
            gone.handle.close()
            self._roots -= {pid}  # another process may get its pid
            ended += gone.used.cpu_ns + gone.used.reaped_ns
        grown = 0
        for pid, member in self._members.items():
            now = found[pid]
            assert now is not None
            self._cpu_ns += max(0, now.cpu_ns - member.used.cpu_ns)
            grown += max(0, now.reaped_ns - member.used.reaped_ns)
            member.used = now
        if self._with_reaped:
            # What has ended was counted already. Who waited for it has it in its own account now, or, if that was
            # read a moment too early, at the next reading; if nobody waited, never.
            known = min(grown, self._owed + ended)
            self._cpu_ns += grown - known
            self._owed = min(ended, self._owed + ended - known)
        return self._cpu_ns

    def _find(self) -> None:
        """A child's time counts from its start: what lived shortly before it was seen is not lost."""
        came = self._platform.descendants(self._roots | self._adopters | self._members.keys())
        if self._without & (self._roots | came):
            came -= self._platform.descendants(self._without)
        for pid in (self._roots | came) - self._adopters - self._without - self._members.keys():
            handle = self._platform.handle(pid)
            used = handle.read() if handle is not None else None
            if handle is not None and used is not None:
                self._members[pid] = _Member(handle, used)
                self._cpu_ns += used.cpu_ns + (used.reaped_ns if self._with_reaped else 0)


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _most(values: Sequence[int | None]) -> int | None:
    """Several processes map the same weights: the one that maps most says how much there is of them."""
    return max((value for value in values if value is not None), default=None)
