"""What we started: a small file a server, so that whoever comes later finds it, and ends it when nobody owns it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from infertui.pid import alive
from infertui.settings import state_folder

if TYPE_CHECKING:
    import psutil

TOKEN = "INFERTUI_SERVER"  # the variable that marks every process of a server, whatever group it puts itself into


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A server that one of our supervisors holds. `owner` 0: nobody's, it lives until `infertui server stop`."""

    id: str
    name: str
    kind: str
    model: str
    url: str
    log: str
    token: str
    profile: str  # digest of what it was started from
    version: str = ""
    command: tuple[str, ...] = ()
    owner: int = 0
    owner_started: float = 0.0
    pid: int = 0
    pid_started: float = 0.0
    supervisor: int = 0
    supervisor_started: float = 0.0
    ready: bool = False

    def serves(self) -> bool:
        return alive(self.pid, self.pid_started)

    def supervised(self) -> bool:
        return alive(self.supervisor, self.supervisor_started)

    def owned(self) -> bool:
        """Whether somebody still answers for it. One that is to stay is its supervisor's until it is ready."""
        if self.owner == 0:
            return self.ready or self.supervised()
        return alive(self.owner, self.owner_started)


def folder() -> Path:
    return state_folder() / "servers"


def new_id() -> str:
    return secrets.token_hex(6)


def path_of(id: str) -> Path:
    return folder() / f"{id}.json"


def write(record: Record) -> None:
    """Whole or not at all."""
    place = path_of(record.id)
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_suffix(f".{os.getpid()}")
    with open(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.encode(record))
    os.replace(draft, place)


@contextlib.contextmanager
def claimed(name: str, wanted: Callable[[], bool]) -> Iterator[None]:
    """One at a time, of all processes, as long as it is wanted: who comes second finds what the first has made."""
    folder().mkdir(parents=True, exist_ok=True)
    with open(folder() / f"{name}.lock", "w") as lock:
        while wanted():
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.1)
        yield


def remove(id: str) -> None:
    with contextlib.suppress(OSError):
        path_of(id).unlink()


def all_of() -> list[Record]:
    """Every record, the oldest first. One that cannot be read is left where it is."""
    found = []
    for place in folder().glob("*.json"):
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            found.append((place.stat().st_mtime_ns, msgspec.json.decode(place.read_bytes(), type=Record)))
    return [record for _, record in sorted(found, key=lambda each: each[0])]


def end_all(known: Record) -> bool:
    """SIGKILL to everything of a server that is still there, and forget it; whether there was anything."""
    met = False
    for _ in range(100):
        found = members(known)
        if not found:
            break
        met = True
        for process in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.02)
    remove(known.id)
    return met


def members(known: Record) -> list[psutil.Process]:
    """The processes of a server: those that carry its token, and the group of its first one while that lives."""
    import psutil

    found = []
    group = known.pid if known.serves() else -1
    me = os.getuid()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.uids().real != me or process.status() == psutil.STATUS_ZOMBIE:
                continue
            ours = os.getpgid(process.pid) == group or process.pid == group
            if ours or process.environ().get(TOKEN) == known.token:
                found.append(process)
    return found
