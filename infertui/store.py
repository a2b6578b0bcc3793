"""The database: the only SQL of the project. Rows in, structs out.

One SQLite file in WAL mode. `Store` opens it, refuses what is not ours, migrates what is older, and reads. `Writer` is
the thread through which a run's calls go: each is committed as it ends, in batches of at most a tenth of a second.
sqlite-utils makes and changes the schema; it is imported only then, because it costs more to import than a run does.
The file is longer than others because no SQL stands anywhere else.
"""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import sqlite3
import sys
import threading
import time
import zlib
from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from infertui.errors import StoreError, UsageError
from infertui.metric import CallRecord, Start
from infertui.pid import alive
from infertui.sample import Sample, Values
from infertui.scenario.plan import Message
from infertui.text import plain

if TYPE_CHECKING:
    from sqlite_utils import Database

APPLICATION_ID = 0x494E4654  # "INFT"
BATCH_S = 0.1
BUSY_MS = 10_000


# The schema. A migration never changes once it has been released; a change is a new one at the end of the list.


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


MIGRATIONS: list[Callable[[Database], None]] = [_first, _second, _third]
SCHEMA = len(MIGRATIONS)


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


RUN_COLUMNS = (
    *("experiment_id", "server_id", "machine_id", "scenario", "model", "setup", "plan_hash", "label"),
    *("status", "pid", "pid_started", "started_at", "clock_ns", "unix_ns"),
)
CALL_COLUMNS = tuple(field.name for field in msgspec.structs.fields(CallRecord))
INSERT_CALL = f"INSERT INTO call (run_id, {', '.join(CALL_COLUMNS)}) VALUES (?, {', '.join('?' * len(CALL_COLUMNS))})"
SELECT_RUN = (
    "SELECT run.*, server.name AS server, server.url AS url, server.facts AS facts "
    "FROM run JOIN server ON server.id = run.server_id"
)
START_COLUMNS = tuple(field.name for field in msgspec.structs.fields(Start))


class Store:
    """An open database. `write=False` opens it to look only, also where nothing may be written."""

    def __init__(self, path: Path, write: bool = True) -> None:
        self.path = path
        self.connection, self.migrated_from = _open(path, write)

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self.connection.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            yield self.connection
            self.connection.execute("COMMIT")
        except BaseException as error:
            with contextlib.suppress(sqlite3.Error):
                self.connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise _clear(error, self.path) from None
            raise

    # What a run writes before and after its timed parts.

    def add_experiment(self, asked: bytes) -> tuple[int, str]:
        """A new experiment: its id, and the random name from which its nonces are derived."""
        uid = secrets.token_hex(8)
        with self._change() as db:
            row = db.execute(
                "INSERT INTO experiment (uid, asked_at, asked) VALUES (?, ?, ?)", (uid, now(), asked.decode())
            )
        return _id(row), uid

    def add_machine(self, hash: str, facts: bytes) -> int:
        with self._change() as db:
            db.execute("INSERT OR IGNORE INTO machine (hash, facts) VALUES (?, ?)", (hash, facts.decode()))
            found = db.execute("SELECT id FROM machine WHERE hash = ?", (hash,)).fetchone()
        return int(found[0])

    def add_server(self, hash: str, kind: str, name: str, url: str, facts: bytes) -> int:
        with self._change() as db:
            values = (hash, kind, name, url, facts.decode())
            db.execute("INSERT OR IGNORE INTO server (hash, kind, name, url, facts) VALUES (?, ?, ?, ?, ?)", values)
            found = db.execute("SELECT id FROM server WHERE hash = ?", (hash,)).fetchone()
        return int(found[0])

    def add_run(self, **columns: Any) -> int:
        columns = {"status": "running", "started_at": now(), **columns}
        names = [name for name in RUN_COLUMNS if name in columns]
        marks = ", ".join("?" * len(names))
        with self._change() as db:
            row = db.execute(
                f"INSERT INTO run ({', '.join(names)}) VALUES ({marks})",
                [columns[name] for name in names],
            )
        return _id(row)

    def set_server(self, run_id: int, server_id: int) -> None:
        with self._change() as db:
            db.execute("UPDATE run SET server_id = ? WHERE id = ?", (server_id, run_id))

    def set_telemetry(self, run_id: int, telemetry: bytes) -> None:
        """By what a run is observed, before its end says it all: a run that is cut off is judged by this."""
        with self._change() as db:
            db.execute("UPDATE run SET telemetry = ? WHERE id = ?", (telemetry.decode(), run_id))

    def set_model(self, run_id: int, model: str) -> None:
        with self._change() as db:
            db.execute("UPDATE run SET model = ? WHERE id = ?", (model, run_id))

    def add_start(
        self, run_id: int, at: str, url: str, pid: int, start: Start, log_file: str, message: str = ""
    ) -> int:
        """A server was started for this run, or could not be (`message`)."""
        columns = ("run_id", "started_at", "url", "pid", "log_file", "message", *START_COLUMNS)
        values = (run_id, at, url, pid, log_file, message, *(getattr(start, key) for key in START_COLUMNS))
        with self._change() as db:
            row = db.execute(
                f"INSERT INTO start ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})", values
            )
        return _id(row)

    def set_log(self, start_id: int, log: bytes) -> None:
        """What the server wrote, once it has ended."""
        with self._change() as db:
            db.execute("UPDATE start SET log = ? WHERE id = ?", (zlib.compress(log), start_id))

    def mark_interrupted(self, runs: Sequence[int]) -> None:
        with self._change() as db:
            db.executemany(
                "UPDATE run SET status = 'interrupted', message = 'its runner is gone' "
                "WHERE id = ? AND status = 'running'",
                [(run,) for run in runs],
            )

    # What a user says of runs.

    def add_tag(self, run_id: int, name: str) -> None:
        """A tag that the run has already is no error."""
        tag = tag_of(name)
        with self._change() as db:
            db.execute("INSERT OR IGNORE INTO tag (run_id, name) VALUES (?, ?)", (run_id, tag))

    def remove_tag(self, run_id: int, name: str) -> bool:
        """Whether the run had it."""
        with self._change() as db:
            return db.execute("DELETE FROM tag WHERE run_id = ? AND name = ?", (run_id, name.strip())).rowcount > 0

    def set_note(self, run_id: int, note: str) -> None:
        """A text of any length; an empty one clears it."""
        text = _storable("the note", note.strip())
        with self._change() as db:
            db.execute("UPDATE run SET note = ? WHERE id = ?", (text, run_id))

    def set_label(self, run_id: int, label: str) -> None:
        """A name to find the run by; an empty one clears it."""
        label = label.strip()
        if label.isdecimal() or label == "last":
            raise UsageError(f"the label {label!r} is how runs are numbered", "use a name with a letter in it")
        if label and not label.isprintable():
            raise UsageError("a label is one line of printable characters")
        with self._change() as db:
            db.execute("UPDATE run SET label = ? WHERE id = ?", (label, run_id))

    def delete_runs(self, runs: Collection[int]) -> None:
        """All of them or none, with everything that no other run needs. One that is still running is a StoreError."""
        gone = [(run,) for run in runs]
        with self._change() as db:
            for row in db.execute("SELECT id, pid, pid_started FROM run WHERE status = 'running'"):
                if row["id"] in runs and alive(int(row["pid"] or 0), float(row["pid_started"] or 0)):
                    raise StoreError(f"run {row['id']} is still running (pid {row['pid']})", "stop it first")
            db.execute("CREATE TEMP TABLE gone AS SELECT experiment_id, server_id, machine_id FROM run WHERE 0")
            db.execute("CREATE TEMP TABLE unused AS SELECT prompt_hash, reply_hash FROM call WHERE 0")
            db.executemany(
                "INSERT INTO temp.gone SELECT experiment_id, server_id, machine_id FROM run WHERE id = ?", gone
            )
            db.executemany("INSERT INTO temp.unused SELECT prompt_hash, reply_hash FROM call WHERE run_id = ?", gone)
            db.executemany("DELETE FROM reads WHERE call_id IN (SELECT id FROM call WHERE run_id = ?)", gone)
            for table in ("call", "sample", "start", "tag"):
                db.executemany(f"DELETE FROM {table} WHERE run_id = ?", gone)
            db.executemany("DELETE FROM run WHERE id = ?", gone)
            for table in ("experiment", "server", "machine"):
                key = f"{table}_id"
                db.execute(
                    f"DELETE FROM {table} WHERE id IN (SELECT {key} FROM temp.gone) "
                    f"AND id NOT IN (SELECT {key} FROM run)"
                )
            for table in ("prompt", "reply"):
                key = f"{table}_hash"
                db.execute(
                    f"DELETE FROM {table} WHERE hash IN (SELECT {key} FROM temp.unused) "
                    f"AND hash NOT IN (SELECT {key} FROM call WHERE {key} IS NOT NULL)"
                )
            db.execute("DROP TABLE temp.gone")
            db.execute("DROP TABLE temp.unused")

    # What is read.

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        try:
            return self.connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise _clear(error, self.path) from None

    def cut_off(self, alive: Callable[[int, float], bool]) -> list[int]:
        """Runs that say they are running, but whose runner is gone. Everything that had ended is there."""
        rows = self._rows("SELECT id, pid, pid_started FROM run WHERE status = 'running'")
        return [int(row["id"]) for row in rows if not alive(int(row["pid"] or 0), float(row["pid_started"] or 0))]

    def runs(
        self, limit: int | None = None, tag: str = "", server: str = "", scenario: str = "", label: str = ""
    ) -> list[RunRow]:
        """The newest first, of those that have it all: of a server's name a part will do."""
        wanted = {
            "EXISTS (SELECT 1 FROM tag WHERE tag.run_id = run.id AND tag.name = ?)": tag.strip(),
            "instr(lower(server.name), lower(?))": server,
            "run.scenario = ?": scenario,
            "run.label = ?": label,
        }
        chosen = {condition: value for condition, value in wanted.items() if value}
        where = f"WHERE {' AND '.join(chosen)}" if chosen else ""
        values = (*chosen.values(), -1 if limit is None else limit)
        return [_run(row) for row in self._rows(f"{SELECT_RUN} {where} ORDER BY run.id DESC LIMIT ?", values)]

    def run(self, name: str) -> RunRow:
        """A run by its number, by its label (the newest that has it), or the newest of all as `last`."""
        if name == "last":
            rows = self._rows(f"{SELECT_RUN} ORDER BY run.id DESC LIMIT 1")
        elif name.isdecimal():
            rows = self._rows(f"{SELECT_RUN} WHERE run.id = ?", (min(int(name), (1 << 63) - 1),))
        else:
            rows = self._rows(f"{SELECT_RUN} WHERE run.label = ? ORDER BY run.id DESC LIMIT 1", (name,))
        if not rows:
            count = self._rows("SELECT count(*) AS n FROM run")[0]["n"]
            hint = "`infertui list runs` shows them" if count else "there are no runs yet: `infertui run` makes one"
            raise UsageError(f"no run {name!r} in {self.path}", hint)
        return _run(rows[0])

    def calls(self, run_id: int) -> list[CallRecord]:
        rows = self._rows(f"SELECT {', '.join(CALL_COLUMNS)} FROM call WHERE run_id = ? ORDER BY id", (run_id,))
        return [msgspec.convert(dict(row), CallRecord, strict=False) for row in rows]

    def reads(self, run_id: int) -> dict[str, tuple[array[int], array[int], array[int]]]:
        """By a call's name, in µs from its sending: when tokens came, pieces a read, when the server sent each."""
        rows = self._rows(
            "SELECT call.name, reads.* FROM reads JOIN call ON call.id = reads.call_id WHERE call.run_id = ? "
            "ORDER BY call.id",
            (run_id,),
        )
        return {row["name"]: tuple(unpack(row[key]) for key in ("at_us", "pieces", "sent_us")) for row in rows}  # type: ignore[misc]

    def starts(self, run_id: int) -> list[Start]:
        """Of the servers that were started for a run and came to serve."""
        sql = f"SELECT {', '.join(START_COLUMNS)} FROM start WHERE run_id = ? AND message = '' AND pid > 0 ORDER BY id"
        return [msgspec.convert(dict(row), Start) for row in self._rows(sql, (run_id,))]

    def logs(self, run_id: int) -> list[tuple[str, str, bytes | None]]:
        """Of each server that was started for a run: when, in which file, and what it wrote, if it has ended."""
        rows = self._rows("SELECT started_at, log_file, log FROM start WHERE run_id = ? ORDER BY id", (run_id,))
        return [
            (row["started_at"], row["log_file"], None if row["log"] is None else zlib.decompress(row["log"]))
            for row in rows
        ]

    def samples(self, run_id: int) -> list[Sample]:
        """What was read while a run lasted. A reading that is missing was not to be had."""
        rows = self._rows(
            "SELECT source, at_ns, since_ns, took_ns, readings FROM sample WHERE run_id = ? ORDER BY id", (run_id,)
        )
        return [
            Sample(
                source=row["source"],
                at_ns=row["at_ns"],
                since_ns=row["since_ns"],
                took_ns=row["took_ns"],
                values=_readings.decode(row["readings"]),
            )
            for row in rows
        ]

    def reply(self, hash: str) -> tuple[str, str]:
        """What was answered, and what was thought before it."""
        rows = self._rows("SELECT text, thought FROM reply WHERE hash = ?", (hash,))
        return (rows[0]["text"], rows[0]["thought"]) if rows else ("", "")

    def replies(self, run_id: int) -> dict[str, tuple[str, str]]:
        """By a call's name, what was answered and thought. A call that got no reply is not in it."""
        rows = self._rows(
            "SELECT call.name, reply.text, reply.thought FROM call JOIN reply ON reply.hash = call.reply_hash "
            "WHERE call.run_id = ? ORDER BY call.id",
            (run_id,),
        )
        return {row["name"]: (row["text"], row["thought"]) for row in rows}

    def prompt(self, hash: str) -> tuple[Message, ...]:
        """What was asked, without the nonce before it."""
        rows = self._rows("SELECT messages FROM prompt WHERE hash = ?", (hash,))
        return msgspec.json.decode(rows[0]["messages"], type=tuple[Message, ...]) if rows else ()

    def uid(self, experiment_id: int) -> str:
        """What an experiment's nonces are derived from."""
        rows = self._rows("SELECT uid FROM experiment WHERE id = ?", (experiment_id,))
        return str(rows[0]["uid"]) if rows else ""

    def experiment(self, experiment_id: int) -> dict[str, Any]:
        """What was asked: servers, scenario, parameters."""
        rows = self._rows("SELECT asked FROM experiment WHERE id = ?", (experiment_id,))
        return msgspec.json.decode(rows[0]["asked"], type=dict[str, Any]) if rows else {}

    def machine(self, machine_id: int) -> dict[str, Any]:
        """Hardware and system."""
        rows = self._rows("SELECT facts FROM machine WHERE id = ?", (machine_id,))
        return msgspec.json.decode(rows[0]["facts"], type=dict[str, Any]) if rows else {}

    def address(self, run_id: int) -> str:
        """Where the server that was started last for a run served; empty if none was."""
        sql = "SELECT url FROM start WHERE run_id = ? AND url != '' ORDER BY id DESC LIMIT 1"
        rows = self._rows(sql, (run_id,))
        return str(rows[0]["url"]) if rows else ""

    def tags(self, run_id: int) -> list[str]:
        return [row["name"] for row in self._rows("SELECT name FROM tag WHERE run_id = ? ORDER BY name", (run_id,))]

    def all_tags(self) -> dict[int, list[str]]:
        """By a run's number; a run without tags is not in it."""
        found: dict[int, list[str]] = {}
        for row in self._rows("SELECT run_id, name FROM tag ORDER BY run_id, name"):
            found.setdefault(row["run_id"], []).append(row["name"])
        return found

    def call_count(self, runs: Collection[int]) -> int:
        """How many calls these runs hold."""
        return sum(self._rows("SELECT count(*) AS n FROM call WHERE run_id = ?", (run,))[0]["n"] for run in runs)


class _Job(msgspec.Struct):
    """Something to write, and what to do once it is committed (True) or cannot be for now (False)."""

    work: Callable[[sqlite3.Connection], None]
    then: Callable[[bool], None]


class Writer:
    """The one thread that writes while a run is timed. What cannot be written is kept and tried again."""

    def __init__(self, path: Path, on_trouble: Callable[[str], None] = lambda message: None) -> None:
        self.path = path
        self.trouble = ""
        self._on_trouble = on_trouble
        self._jobs: queue.SimpleQueue[_Job | threading.Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="writer", daemon=True)
        self._thread.start()

    def call(
        self,
        run_id: int,
        record: CallRecord,
        reads: tuple[array[int], array[int], array[int]],
        prompt: bytes,
        reply: tuple[str, str],
        then: Callable[[bool], None] = lambda stored: None,
    ) -> None:
        """Keep a call that has ended. `then` is called in the writer's thread."""

        def work(db: sqlite3.Connection) -> None:
            row = db.execute(INSERT_CALL, (run_id, *(getattr(record, name) for name in CALL_COLUMNS)))
            at_us, pieces, sent_us = reads
            if at_us:
                plain = pieces.count(1) == len(pieces)  # one piece a read, as nearly always: not worth a column
                packed = (pack(at_us), None if plain else pack(pieces), pack(sent_us) if sent_us else None)
                db.execute(
                    "INSERT INTO reads (call_id, at_us, pieces, sent_us) VALUES (?, ?, ?, ?)", (_id(row), *packed)
                )
            db.execute("INSERT OR IGNORE INTO prompt VALUES (?, ?)", (record.prompt_hash, prompt.decode()))
            if record.reply_hash:
                texts = [text.encode("utf-8", "replace").decode() for text in reply]
                db.execute("INSERT OR IGNORE INTO reply VALUES (?, ?, ?)", (record.reply_hash, *texts))

        self._jobs.put(_Job(work, then))

    def samples(self, run_id: int, samples: Sequence[Sample]) -> None:
        """Keep what was read; what could not be known is left out."""
        columns = "run_id, source, at_ns, since_ns, took_ns, readings"

        def work(db: sqlite3.Connection) -> None:
            rows = [
                (run_id, each.source, each.at_ns, each.since_ns, each.took_ns, _json(known))
                for each in samples
                if (known := {key: value for key, value in each.values.items() if value is not None})
            ]
            db.executemany(f"INSERT INTO sample ({columns}) VALUES (?, ?, ?, ?, ?, ?)", rows)

        if samples:
            self._jobs.put(_Job(work, lambda stored: None))

    def end_run(
        self,
        run_id: int,
        status: str,
        message: str,
        warnings: Sequence[str],
        generator: bytes,
        summary: bytes,
        telemetry: bytes,
    ) -> None:
        """The last of a run, after all of its calls."""
        told = (generator.decode(), summary.decode(), telemetry.decode())
        values = (status, message, now(), _json(list(warnings)), *told, run_id)
        columns = "status = ?, message = ?, ended_at = ?, warnings = ?, generator = ?, summary = ?, telemetry = ?"

        def work(db: sqlite3.Connection) -> None:
            db.execute(f"UPDATE run SET {columns} WHERE id = ?", values)

        self._jobs.put(_Job(work, lambda stored: None))

    def flush(self, timeout_s: float = 30.0) -> None:
        """Wait until everything is committed; a StoreError says why it cannot be."""
        done = threading.Event()
        self._jobs.put(done)
        until = time.monotonic() + timeout_s
        while not done.wait(0.5) and self._thread.is_alive() and time.monotonic() < until:
            pass
        if not done.is_set() or self.trouble:
            raise StoreError(self.trouble or f"{self.path} did not take the last calls within {timeout_s:g} s")

    def close(self) -> None:
        self._jobs.put(None)
        self._thread.join(timeout=30)

    def _write(self) -> None:
        connection: sqlite3.Connection | None = None
        kept: list[_Job] = []  # refused by the disk so far
        tried = 0.0
        open_ = True
        while open_:
            jobs, flushed, open_ = self._batch()
            wait = kept and not flushed and open_ and time.monotonic() - tried < 1.0
            if wait or not (kept or jobs):
                kept += jobs
            else:
                tried = time.monotonic()
                try:
                    if connection is None:
                        connection = _connect(self.path, write=True)
                    _commit(connection, kept + jobs)
                except sqlite3.Error as error:
                    if not self.trouble:
                        self.trouble = str(_clear(error, self.path))
                        self._on_trouble(self.trouble)
                    kept += jobs
                else:
                    kept, self.trouble = [], ""
            for job in jobs:
                job.then(not kept)
            for event in flushed:
                event.set()
        if connection is not None:
            connection.close()

    def _batch(self) -> tuple[list[_Job], list[threading.Event], bool]:
        """What is waiting, for at most a tenth of a second; who wants to know that it is written; whether to go on."""
        jobs: list[_Job] = []
        until = time.monotonic() + BATCH_S
        while True:
            try:
                item = self._jobs.get(block=not jobs)
            except queue.Empty:
                return jobs, [], True
            if item is None:
                return jobs, [], False
            if isinstance(item, threading.Event):
                return jobs, [item], True
            if not jobs:
                until = time.monotonic() + BATCH_S
            jobs.append(item)
            if time.monotonic() >= until:
                return jobs, [], True


def _commit(db: sqlite3.Connection, jobs: Sequence[_Job]) -> None:
    try:
        db.execute("BEGIN IMMEDIATE")
        for job in jobs:
            with contextlib.suppress(OverflowError, TypeError, ValueError):  # one that no column can hold costs itself
                job.work(db)
        db.execute("COMMIT")
    except sqlite3.Error:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise


# Opening.


def _connect(path: Path, write: bool) -> sqlite3.Connection:
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


def _open(path: Path, write: bool) -> tuple[sqlite3.Connection, int | None]:
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
        connection = _connect(path, write)
        _known(connection, path)
        before = _version(connection)
        if before < SCHEMA:
            if not write:
                _bring_up_to_date(path)
                connection.close()
                connection = _connect(path, write)
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
            raise _clear(error, path) from None
        raise
    return connection, None


def _bring_up_to_date(path: Path) -> None:
    """For who only wants to look."""
    try:
        with contextlib.closing(_connect(path, write=True)) as connection:
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


def _clear(error: sqlite3.Error, path: Path) -> StoreError:
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


# Small things.

TAG_LENGTH = 60


def tag_of(name: str) -> str:
    """A tag as it is kept; a UsageError says why it cannot be one."""
    tag = name.strip()
    if not tag or len(tag) > TAG_LENGTH or not tag.isprintable():
        raise UsageError(
            f"no tag: {plain(name, 40)!r}", f"a tag is a line of at most {TAG_LENGTH} printable characters"
        )
    return tag


def _storable(what: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{what} is not valid UTF-8", "check the encoding of your terminal") from None
    return text


_readings = msgspec.json.Decoder(Values)


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


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _id(row: sqlite3.Cursor) -> int:
    assert row.lastrowid is not None
    return row.lastrowid


def _run(row: sqlite3.Row) -> RunRow:
    return msgspec.convert({key: row[key] for key in row.keys() if row[key] is not None}, RunRow)  # noqa: SIM118
