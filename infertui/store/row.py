"""Rows as structs, and what of them is packed."""

from __future__ import annotations

import sqlite3
import sys
from array import array
from datetime import UTC, datetime

import msgspec

from infertui.metric import CallRecord


class RunRow(msgspec.Struct, kw_only=True):
    """A run as the database has it. `summary` is its figures as JSON, empty until it has ended."""

    id: int
    experiment_id: int
    server_id: int
    machine_id: int
    scenario: str
    model: str
    setup: str = "{}"
    plan_hash: str = ""
    label: str = ""
    note: str = ""
    status: str = "running"
    message: str = ""
    pid: int = 0
    pid_started: float = 0.0
    started_at: str = ""
    ended_at: str | None = None
    clock_ns: int = 0
    unix_ns: int = 0
    warnings: str = "[]"
    generator: str = "{}"
    summary: str = ""
    telemetry: str = "{}"
    server: str = ""
    url: str = ""
    facts: str = "{}"  # of its server


CALL_COLUMNS = tuple(field.name for field in msgspec.structs.fields(CallRecord))


def pack(values: array[int]) -> bytes:
    """Little-endian 32-bit numbers: µs up to 71 minutes."""
    packed = array("I", values)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def unpack(data: bytes | None) -> array[int]:
    values = array("I")
    if data:
        values.frombytes(data)
        if sys.byteorder == "big":
            values.byteswap()
    return values


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def id_of(row: sqlite3.Cursor) -> int:
    assert row.lastrowid is not None
    return row.lastrowid
