"""What the database holds, how it is opened, and how an older one is brought up to date.

sqlite-utils makes and changes the schema; it is imported only then, because it costs more to import than a run does.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from infertui.errors import StoreError, UsageError

if TYPE_CHECKING:
    from sqlite_utils import Database

APPLICATION_ID = 0x494E4654  # "INFT"
BUSY_MS = 10_000


# A migration never changes once it has been released; a change is a new one at the end of the list.


def _first(db: Database) -> None:
    text = {"id": int, "hash": str}
    db.table("experiment").create(
        {"id": int, "uid": str, "asked_at": str, "asked": str}, pk="id", not_null={"uid", "asked"}
    )
    db.table("machine").create({**text, "facts": str}, pk="id", not_null={"hash", "facts"})
    db.table("server").create(
        {**text, "kind": str, "name": str, "url": str, "facts": str}, pk="id", not_null={"hash", "name", "url"}
    )
    db.table("prompt").create({"hash": str, "messages": str}, pk="hash")
    db.table("reply").create({"hash": str, "text": str, "thought": str}, pk="hash")
    db.table("run").create(
        {
            "id": int,
            "experiment_id": int,
            "server_id": int,
            "machine_id": int,
            "scenario": str,
            "model": str,
            "setup": str,
            "plan_hash": str,
            "label": str,
            "note": str,
            "status": str,
            "message": str,
            "pid": int,
            "pid_started": float,
            "started_at": str,
            "ended_at": str,
            "clock_ns": int,
            "unix_ns": int,
            "warnings": str,
            "generator": str,
            "summary": str,
        },
        pk="id",
        not_null={"experiment_id", "server_id", "machine_id", "scenario", "model", "status", "started_at"},
        foreign_keys=[("experiment_id", "experiment"), ("server_id", "server"), ("machine_id", "machine")],
    )
    stamps = ("sched_ns", "send_ns", "headers_ns", "first_ns", "first_answer_ns", "last_ns", "end_ns")
    counts = ("connect_ns", "connect_wait_ns", "connection_use", "reopened", "n_prompt", "n_cached", "n_output")
    figures = ("ttft_ms", "ttfa_ms", "e2e_ms", "effective_tps", "decode_tps", "prefill_tps", "queue_ms", "headers_ms")
    more = ("connect_ms", "sched_ttft_ms", "sched_e2e_ms", "server_decode_tps", "n_first")
    told = ("server_prompt_n", "server_prompt_ms", "server_decode_n", "server_decode_ms", "server_queue_ms")
    db.table("call").create(
        {
            "id": int,
            "run_id": int,
            **dict.fromkeys(("name", "role", "kind", "prompt_id", "prompt_hash"), str),
            **dict.fromkeys(
                ("round", "lane", "max_tokens", *stamps, *counts, "n_reasoning", "n_hidden", "n_pieces", "status"), int
            ),
            **dict.fromkeys((*figures, *more, *told), float),
            **dict.fromkeys(("n_source", "queue_source", "outcome", "message", "finish", "note"), str),
            **dict.fromkeys(("reply_hash", "response_id"), str),
            "headers_mean_slot": int,
        },
        pk="id",
        not_null={"run_id", "name", "role", "outcome"},
        foreign_keys=[("run_id", "run")],
    )
    db.table("call").create_index(["run_id"])
    db.table("reads").create({"call_id": int, "at_us": bytes, "pieces": bytes, "sent_us": bytes}, pk="call_id")
    db.table("tag").create({"run_id": int, "name": str}, pk=("run_id", "name"))
    for table, column in (("machine", "hash"), ("server", "hash"), ("experiment", "uid")):
        db.table(table).create_index([column], unique=True)


def _second(db: Database) -> None:
    """Servers that runs started, and what these wrote to their logs."""
    db.table("start").create(
        {
            "id": int,
            "run_id": int,
            "started_at": str,
            "url": str,
            "pid": int,
            **dict.fromkeys(("accept_ms", "load_ms", "first_answer_ms"), float),
            "message": str,
            "log_file": str,
            "log": bytes,
        },
        pk="id",
        not_null={"run_id"},
        foreign_keys=[("run_id", "run")],
    )
    db.table("start").create_index(["run_id"])


def _third(db: Database) -> None:
    """What the machine and the server did meanwhile, and how long a server had been idle before a call."""
    db.table("sample").create(
        {"id": int, "run_id": int, "source": str, "at_ns": int, "since_ns": int, "took_ns": int, "readings": str},
        pk="id",
        not_null={"run_id", "source", "at_ns", "readings"},
        foreign_keys=[("run_id", "run")],
    )
    db.table("sample").create_index(["run_id"])
    db.table("run").add_column("telemetry", str)
    db.table("call").add_column("idle_ms", float)


def _fourth(db: Database) -> None:
    """The highest number that a run has had: none is given again when runs are deleted."""
    db.table("given").create({"id": int, "run": int}, pk="id", not_null={"run"})
    db.table("given").insert({"id": 1, "run": 0})


MIGRATIONS: list[Callable[[Database], None]] = [_first, _second, _third, _fourth]
SCHEMA = len(MIGRATIONS)


# Opening.


def connect(path: Path, write: bool) -> sqlite3.Connection:
    if write:
        connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_MS / 1000)
    else:
        # On a read-only disk there is no place for WAL's side files; nobody writes there, so it may be taken as it is.
        still = "" if os.access(path.parent, os.W_OK) or Path(f"{path}-wal").exists() else "&immutable=1"
        address = f"{path.resolve().as_uri()}?mode=ro{still}"
        connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=BUSY_MS / 1000)
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def opened(path: Path, write: bool) -> tuple[sqlite3.Connection, int | None]:
    """The database, brought up to date where it is of an older schema: of which one, if so."""
    new = not path.exists()
    if new and not write:
        raise UsageError(f"there is no database at {path}", "`infertui run` makes one; --db FILE names another")
    if path.is_dir():
        raise StoreError(f"{path} is a folder", "--db wants a file")
    try:
        if new:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise StoreError(f"cannot make {path}: {error.strerror}", "--db FILE names another place") from None
    connection: sqlite3.Connection | None = None
    try:
        connection = connect(path, write)
        _known(connection, path)
        before = _version(connection)
        if before < SCHEMA:
            if not write:
                _bring_up_to_date(path)
                connection.close()
                connection = connect(path, write)
            else:
                _migrate(connection, path)
            return connection, before or None
        if write:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, sqlite3.Error):
            raise clear(error, path) from None
        raise
    return connection, None


def _bring_up_to_date(path: Path) -> None:
    """For who only wants to look."""
    try:
        with contextlib.closing(connect(path, write=True)) as connection:
            _migrate(connection, path)
    except sqlite3.Error:
        raise StoreError(
            f"{path} is of an older InferTUI, and cannot be written", "copy it, and name the copy with --db"
        ) from None


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _known(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse what is not ours before a byte of it is changed."""
    application = int(connection.execute("PRAGMA application_id").fetchone()[0])
    tables = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    if application != APPLICATION_ID and (tables or application):
        raise StoreError(f"{path} is a database of another program", "--db FILE names one of ours, or a new one")
    if _version(connection) > SCHEMA:
        raise StoreError(
            f"{path} was written by a newer InferTUI (schema {_version(connection)}, this one knows {SCHEMA})",
            "update InferTUI, or name another file with --db",
        )


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """All that is missing in one transaction: a database is of one version or of the next, never between."""
    from sqlite_utils import Database

    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    try:
        _known(connection, path)
        db = Database(connection, execute_plugins=False)
        for migration in MIGRATIONS[_version(connection) :]:
            migration(db)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def clear(error: sqlite3.Error, path: Path) -> StoreError:
    """SQLite's words as one line that says what to do."""
    text = str(error)
    if "readonly" in text or "unable to open" in text:
        return StoreError(f"{path} cannot be written: it or its folder is read-only", "--db FILE names another place")
    if "not a database" in text or "malformed" in text:
        return StoreError(f"{path} is damaged or no SQLite database", "move it away, or name another with --db")
    if "locked" in text:
        return StoreError(f"{path} is locked by another program", "end that program, or name another file with --db")
    if "full" in text or "disk I/O" in text:
        return StoreError(f"{path} takes no more: {text}", "make room on its disk, or name another place with --db")
    return StoreError(f"{path}: {text}")
