"""A server that we started: its supervisor from the owner's side, its log, its port, and what was left behind."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import msgspec

from infertui.errors import ServerError
from infertui.pid import started
from infertui.server import record
from infertui.server.record import Record
from infertui.server.supervisor import Spec, Told
from infertui.settings import home_folder, state_folder
from infertui.text import plain

LOOPBACK = "127.0.0.1"
LOGS_KEPT = 50
SPAWN_S = 20.0
PATIENCE_S = 3.0  # beyond a server's own grace, for its supervisor


class Ended(msgspec.Struct, frozen=True):
    """How a server ended. `exit` as subprocess has it; `killed`: not by SIGTERM within its grace."""

    exit: int
    killed: bool = False
    why: str = ""

    def __str__(self) -> str:
        if self.why:
            return self.why
        if self.exit >= 0:
            return f"exit code {self.exit}"
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-self.exit).name}"
        return f"killed by signal {-self.exit}"


class Process:
    """A server under its supervisor. Closing the pipe to it, by whatever end of ours, ends the server."""

    def __init__(self, known: Record, supervisor: subprocess.Popen[bytes], grace_s: float) -> None:
        self.record = known
        self.ended: Ended | None = None
        self.begun_ns = 0  # perf_counter_ns when it was let go
        self._supervisor = supervisor
        self._grace_s = grace_s
        self._heard = b""

    @classmethod
    def start(
        cls,
        known: Record,
        command: Sequence[str],
        environment: Mapping[str, str],
        grace_s: float,
        detached: bool = False,
    ) -> Process:
        """Start it. That it serves is another matter. A ServerError says why it could not even start."""
        if not detached:
            me = os.getpid()
            known = msgspec.structs.replace(known, owner=me, owner_started=started(me) or time.time())
        variables = [(os.fsencode(key), os.fsencode(value)) for key, value in environment.items()]
        spec = Spec(known, [os.fsencode(part) for part in command], variables, grace_s, detached)
        with _log(known.log) as log:
            supervisor = subprocess.Popen(
                [sys.executable, "-m", "infertui.server.supervisor"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **({"INFERTUI_HOME": str(home)} if (home := home_folder()) else {})},
                cwd="/",  # no folder of the user's is held, and none shadows a module
            )
        process = cls(known, supervisor, grace_s)
        try:
            assert supervisor.stdin is not None
            supervisor.stdin.write(msgspec.json.encode(spec) + b"\n")
            supervisor.stdin.flush()
            told = process._told(SPAWN_S)
        except BaseException as error:
            process._let_go()
            if isinstance(error, OSError):
                raise ServerError(f"{known.name}: its supervisor died at once: {last_words(known.log)}") from None
            raise
        if told is None or told.record is None:
            process._let_go()
            why = told.error if told is not None else f"its supervisor said nothing: {last_words(known.log)}"
            raise ServerError(f"{known.name} cannot be started: {plain(why)}")
        process.record, process.begun_ns = told.record, told.begun_ns
        return process

    def _let_go(self) -> None:
        for pipe in (self._supervisor.stdin, self._supervisor.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            self._supervisor.wait(timeout=self._grace_s + PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._supervisor.kill()
            self._supervisor.wait()
            record.end_all(self.record)

    def _told(self, within_s: float) -> Told | None:
        """The next line of the supervisor, if there is one within that time."""
        until = time.monotonic() + within_s
        pipe = self._supervisor.stdout
        assert pipe is not None
        while b"\n" not in self._heard:
            if pipe.closed or not select.select([pipe], [], [], max(0.0, until - time.monotonic()))[0]:
                return None
            if not (said := os.read(pipe.fileno(), 65536)):
                return None
            self._heard += said
        line, _, self._heard = self._heard.partition(b"\n")
        return msgspec.json.decode(line, type=Told)

    def poll(self) -> Ended | None:
        """How it ended, if it has. A server whose supervisor was killed is ended here."""
        if self.ended is None:
            told = self._told(0)
            if told is not None and told.exit is not None:
                self.ended = Ended(told.exit, told.killed)
                self._let_go()
            elif self._supervisor.poll() is not None:
                record.end_all(self.record)
                self.ended = Ended(-signal.SIGKILL, True, "its supervisor was killed, and it with it")
                self._let_go()
        return self.ended

    def stop(self) -> Ended:
        """SIGTERM to the whole group, SIGKILL after the grace. Returns when nothing of it is left."""
        if (ended := self.poll()) is not None:
            return ended
        self.ask_to_end()
        told = self._told(self._grace_s + PATIENCE_S)
        if told is not None and told.exit is not None:
            self.ended = Ended(told.exit, told.killed)
        else:
            self._supervisor.kill()
            record.end_all(self.record)
            self.ended = Ended(-signal.SIGKILL, True)
        self._let_go()
        return self.ended

    def end_now(self) -> None:
        """Without its grace. Who waits for its end still does so."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self.record.serves():
                os.killpg(self.record.pid, signal.SIGKILL)

    def ask_to_end(self) -> None:
        """Say that it shall end, and do not wait. From any thread."""
        with contextlib.suppress(OSError, ValueError):
            os.write(self._supervisor.stdin.fileno(), b"stop\n")  # type: ignore[union-attr]

    def leave(self) -> None:
        """Let a detached server live on without us. Until this is said, it ends with us like any other."""
        with contextlib.suppress(OSError, ValueError):
            os.write(self._supervisor.stdin.fileno(), b"leave\n")  # type: ignore[union-attr]
        for pipe in (self._supervisor.stdin, self._supervisor.stdout):
            if pipe is not None:
                pipe.close()
        self._supervisor.returncode = 0  # it is not ours to wait for any more


# What was recorded.


def stop(known: Record, grace_s: float = 10.0) -> None:
    """End a server that was recorded, by whoever it was started: through its supervisor where that still lives."""
    if known.supervised():
        with contextlib.suppress(ProcessLookupError):
            os.kill(known.supervisor, signal.SIGTERM)
        until = time.monotonic() + grace_s + PATIENCE_S
        while known.supervised() and time.monotonic() < until:
            time.sleep(0.02)
        if known.supervised():
            with contextlib.suppress(ProcessLookupError):
                os.kill(known.supervisor, signal.SIGKILL)
    record.end_all(known)


def tree(pid: int) -> list[int]:
    """A process and all that came of it."""
    import psutil

    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.Error:
        return []


def sweep(say: Callable[[str], None]) -> None:
    """End what an InferTUI that was killed has left behind, and forget what has ended by itself."""
    for known in record.all_of():
        if known.owned() and (known.serves() or known.supervised()):
            continue
        until = time.monotonic() + 15
        while known.supervised() and known.owner and time.monotonic() < until:  # it is ending the server now
            time.sleep(0.05)
        met = record.end_all(known)
        if known.supervised():  # one that was stopped in its tracks, and would start nothing any more
            with contextlib.suppress(ProcessLookupError):
                os.kill(known.supervisor, signal.SIGKILL)
        if met:
            say(f"ended {known.name} (pid {known.pid}), left behind by an InferTUI that was killed")


# Ports.


def free_port() -> int:
    with socket.socket() as one:
        one.bind((LOOPBACK, 0))
        return int(one.getsockname()[1])


def host_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or LOOPBACK, parts.port or (443 if parts.scheme == "https" else 80)


def listens(url: str, within_s: float = 0.5) -> bool:
    """Whether anything takes connections there."""
    with contextlib.suppress(OSError), socket.create_connection(host_port(url), timeout=within_s):
        return True
    return False


def held_by(url: str) -> str:
    """Who has an address, as far as this machine knows."""
    host, port = host_port(url)
    if host in ("localhost", "::1") or host.startswith("127."):
        return f"port {port} is in use by {holder(port)}"
    return f"{host}:{port} is in use by another program"


def holder(port: int) -> str:
    """Who listens on a port of this machine, as far as we may know."""
    return next((f"{plain(name, 40)} (pid {pid})" for pid, name in listeners(port)), "a program of another user")


def listeners(port: int) -> list[tuple[int, str]]:
    """The processes that hold a listening socket on a port, of those that we may look into: pid and name."""
    import psutil

    found = []
    for process in psutil.process_iter(["pid", "name"]):
        with contextlib.suppress(psutil.Error, OSError):
            sockets = process.net_connections(kind="tcp")
            if any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in sockets):
                found.append((process.info["pid"], process.info["name"]))
    return found


def stranger(port: int, known: Record) -> str:
    """Who holds the port of a server that we started, when it is somebody else; empty as long as nothing says so."""
    held = listeners(port)
    ours = {*tree(known.pid), *(member.pid for member in record.members(known))} if held else set()
    return "" if not held or any(pid in ours for pid, _ in held) else f"{plain(held[0][1], 40)} (pid {held[0][0]})"


# Logs.


def log_folder() -> Path:
    return state_folder() / "logs"


def new_log(name: str) -> Path:
    """Where a server that starts now writes what it says. The oldest logs make room."""
    place = log_folder()
    with contextlib.suppress(OSError):
        place.mkdir(parents=True, exist_ok=True)
        written = {known.log for known in record.all_of()}
        for old in sorted(place.glob("*.log"), key=lambda path: path.name)[: -(LOGS_KEPT - 1)]:
            if str(old) not in written:
                old.unlink()
    return place / f"{datetime.now():%Y%m%d-%H%M%S-%f}-{name}.log"


def newest_log(name: str) -> str:
    """The last log of a profile. Names of profiles can end in one another, so the whole of a file's name counts."""
    form = re.compile(rf"\d{{8}}-\d{{6}}-\d{{6}}-{re.escape(name)}\.log")
    with contextlib.suppress(OSError):
        return max((str(log_folder() / each) for each in os.listdir(log_folder()) if form.fullmatch(each)), default="")
    return ""


def _log(path: str) -> IO[bytes]:
    try:
        return open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), "ab")
    except OSError as error:
        raise ServerError(f"cannot write {path}: {error.strerror}", "INFERTUI_HOME names another folder") from None


def tail(path: str, lines: int = 20, most: int = 64 * 1024) -> list[str]:
    """The last lines of a log, made safe to show."""
    text = text_of(path, most).decode("utf-8", "replace")
    return [plain(line, 500) for line in text.splitlines() if line.strip()][-lines:]


def text_of(path: str, most: int) -> bytes:
    """The end of a log, as it is."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - most))
        return file.read()
    return b""


# What a server says about its end is often followed by how it cleans up.
_TROUBLE = re.compile(r"error|fail|invalid|cannot|unable|not found|no such|exception|denied|out of memory", re.I)


def last_words(path: str, lines: int = 3) -> str:
    """Of the end of a log the lines that tell of trouble, else the last ones."""
    end = tail(path, 12 * lines)
    told = [line for line in end if _TROUBLE.search(line)] or end
    return " ⏎ ".join(plain(line, 160) for line in told[-lines:]) or "it wrote nothing to its log"
