"""The process that holds a server: it starts it, says what becomes of it, and ends it when its owner is gone.

    python -m infertui.server.supervisor        reads what to start as one JSON line on stdin

The owner holds the other end of stdin. When that closes, whatever ended the owner, or on the line `stop`, or on
SIGTERM, the server's whole process group gets SIGTERM and, when the grace is over, SIGKILL. An owner that goes and
wants a detached server to stay says `leave` first. On stdout goes a line when the server has been started and one when
it has ended. The server itself waits to be let go until its record is on the disk, so that there is no instant at
which one could be left behind unrecorded.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from typing import NoReturn

import msgspec

from infertui.pid import started
from infertui.server import record
from infertui.server.record import Record

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LINUX = sys.platform == "linux"
LAST_S = 1.0  # for the rest of a group whose leader has ended


class Spec(msgspec.Struct, frozen=True):
    """What to start. `detached`: the server outlives who asked for it, from when it is told `leave`."""

    record: Record
    command: list[bytes]  # in the bytes of the system: not everything there is UTF-8
    environment: list[tuple[bytes, bytes]]
    grace_s: float
    detached: bool


class Told(msgspec.Struct, omit_defaults=True):
    """A line to the owner: that the server was started, why it was not, or how it ended."""

    record: Record | None = None
    begun_ns: int = 0  # perf_counter_ns, the same for all processes, when the server was let go
    error: str = ""
    exit: int | None = None  # as subprocess has it: negative for a signal
    killed: bool = False  # it did not end on SIGTERM within the grace


def _prctl(option: int, value: int) -> None:
    if LINUX:
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _tell(told: Told) -> None:
    with contextlib.suppress(OSError):  # who started us is gone: EOF on stdin says so as well
        os.write(1, msgspec.json.encode(told) + b"\n")


def _fork(spec: Spec, log: int) -> tuple[int, int, int]:
    """The server's process, which waits: its pid, the pipe that lets it go, the pipe that says why it could not."""
    held, go = os.pipe()
    failed, fail = os.pipe()
    pid = os.fork()
    if pid:
        os.close(held)
        os.close(fail)
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        return pid, go, failed
    try:
        os.close(go)
        os.setpgid(0, 0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.read(held, 1):  # nothing: the supervisor died before it could record us
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(log, 1)
            os.dup2(log, 2)
            token = (record.TOKEN.encode(), spec.record.token.encode())
            os.execvpe(spec.command[0], spec.command, dict([*spec.environment, token]))
    except OSError as error:
        os.write(fail, (error.strerror or str(error)).encode())
    finally:
        os._exit(127)


class _Held:
    """The server while it lives."""

    def __init__(self, pid: int, wake: int) -> None:
        self.pid = pid
        self.wake = wake
        self.exit: int | None = None

    def ended(self) -> bool:
        """Take the ends of children; the server's own is kept."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    break
                if pid == self.pid:
                    self.exit = os.waitstatus_to_exitcode(status)
        return self.exit is not None

    def wait(self, until: float) -> bool:
        while not self.ended() and (left := until - time.monotonic()) > 0:
            if select.select([self.wake], [], [], min(left, 0.2))[0]:
                os.read(self.wake, 512)
        return self.ended()

    def signal_group(self, number: int) -> bool:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return False
        except PermissionError:  # a Mac says this of a group that holds only corpses
            return False
        return True

    def end(self, grace_s: float) -> bool:
        """SIGTERM, then SIGKILL; whether it took the second."""
        self.signal_group(signal.SIGTERM)
        killed = not self.wait(time.monotonic() + grace_s)
        if killed:
            self.signal_group(signal.SIGKILL)
            self.wait(time.monotonic() + 5)
        self.end_rest()
        return killed

    def end_rest(self) -> None:
        """What the server started and left: the rest of its group, and, where the system hands them to us, others."""
        until = time.monotonic() + LAST_S
        while (left := self.signal_group(0) or bool(_children())) and time.monotonic() < until:
            self.ended()
            time.sleep(0.01)
        if left:
            self.signal_group(signal.SIGKILL)
            for _ in range(100):  # a child that ends hands us its own
                for pid in _children():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                self.ended()
                if not _children():
                    break
                time.sleep(0.01)


def _hands_us_orphans() -> bool:
    return LINUX and os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def _children() -> list[int]:
    if not _hands_us_orphans():
        return []
    with contextlib.suppress(OSError), open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        return [int(pid) for pid in file.read().split()]
    return []


def supervise(spec: Spec) -> int:
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    wake, woken = os.pipe()
    for fd in (wake, woken):
        os.set_blocking(fd, False)
    signal.set_wakeup_fd(woken)
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    try:
        log = os.open(spec.record.log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    except OSError as error:
        _tell(Told(error=f"cannot write its log {spec.record.log}: {error.strerror}"))
        return 1
    pid, go, failed = _fork(spec, log)
    held = _Held(pid, wake)
    me = os.getpid()
    known = msgspec.structs.replace(
        spec.record,
        pid=pid,
        pid_started=started(pid) or time.time(),
        supervisor=me,
        supervisor_started=started(me) or time.time(),
    )
    try:
        record.write(known)
    except OSError as error:
        os.close(go)  # which ends it
        _tell(Told(error=f"cannot write {record.path_of(known.id)}: {error.strerror}"))
        return 1
    try:
        begun_ns = time.perf_counter_ns()
        os.write(go, b"g")
        os.close(go)
        if why := os.read(failed, 4096):
            held.wait(time.monotonic() + 5)
            _tell(Told(error=f"{os.fsdecode(spec.command[0])}: {why.decode(errors='replace')}"))
            return 1
        _tell(Told(record=known, begun_ns=begun_ns))
        killed = _hold(held, spec, asked)
        _tell(Told(exit=held.exit if held.exit is not None else -signal.SIGKILL, killed=killed))
    finally:
        if not _hands_us_orphans():  # then what put itself into a session of its own is known by its token alone
            record.end_all(known)
        record.remove(known.id)
    return 0


def _hold(held: _Held, spec: Spec, asked: list[int]) -> bool:
    """Until the server ends, or somebody wants it to, or nobody is left who could; whether it had to be killed."""
    owner = [0]
    while not held.ended() and not asked:
        ready = select.select([*owner, held.wake], [], [])[0]
        if held.wake in ready:
            os.read(held.wake, 512)
        if 0 in ready:
            said = os.read(0, 512)
            if not said or b"stop" in said:
                return held.end(spec.grace_s)
            if b"leave" in said and spec.detached:
                owner = []
    if held.exit is None:
        return held.end(spec.grace_s)
    held.end_rest()
    return False


def main() -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    line = b""
    while not line.endswith(b"\n"):  # unbuffered: what follows the line is for later
        byte = os.read(0, 1)
        if not byte:
            sys.exit(1)
        line += byte
    sys.exit(supervise(msgspec.json.decode(line, type=Spec)))


if __name__ == "__main__":
    main()
