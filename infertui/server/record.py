"""What we started: a small file a server, so that whoever comes later finds it, and ends it when nobody owns it."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

import msgspec

from infertui.pid import alive
from infertui.settings import state_folder

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
        """Whether somebody still answers for it."""
        return self.owner == 0 or alive(self.owner, self.owner_started)


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
