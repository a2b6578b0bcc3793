"""The database: the only SQL of the project. Rows in, structs out.

One SQLite file in WAL mode. `Store` opens it, refuses what is not ours, migrates what is older, and reads; `Writer` is
the thread through which a run's calls go.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import zlib
from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from infertui.errors import StoreError, UsageError
from infertui.metric import CallRecord, Start
from infertui.pid import alive
from infertui.sample import Sample, Values
from infertui.scenario.plan import Message
from infertui.store.row import CALL_COLUMNS, RunRow, id_of, now, pack, unpack
from infertui.store.schema import APPLICATION_ID, SCHEMA, clear, opened
from infertui.store.writer import Writer
from infertui.text import plain

__all__ = ["APPLICATION_ID", "CALL_COLUMNS", "SCHEMA", "RunRow", "Store", "Writer", "now", "pack", "tag_of", "unpack"]

TAG_LENGTH = 60
RUN_COLUMNS = (
    *("experiment_id", "server_id", "machine_id", "scenario", "model", "setup", "plan_hash", "label"),
    *("status", "pid", "pid_started", "started_at", "clock_ns", "unix_ns"),
)
SELECT_RUN = (
    "SELECT run.*, server.name AS server, server.url AS url, server.facts AS facts "
    "FROM run JOIN server ON server.id = run.server_id"
)
START_COLUMNS = tuple(field.name for field in msgspec.structs.fields(Start))


_readings = msgspec.json.Decoder(Values)


class Store:
    """An open database. `write=False` opens it to look only, also where nothing may be written."""

    def __init__(self, path: Path, write: bool = True) -> None:
        self.path = path
        self.connection, self.migrated_from = opened(path, write)

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
                raise clear(error, self.path) from None
            raise

    # What a run writes before and after its timed parts.

    def add_experiment(self, asked: bytes) -> tuple[int, str]:
        """A new experiment: its id, and the random name from which its nonces are derived."""
        uid = secrets.token_hex(8)
        with self._change() as db:
            row = db.execute(
                "INSERT INTO experiment (uid, asked_at, asked) VALUES (?, ?, ?)", (uid, now(), asked.decode())
            )
        return id_of(row), uid

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
        """Its number is one that no run has ever had."""
        columns = {"status": "running", "started_at": now(), **columns}
        names = [name for name in RUN_COLUMNS if name in columns]
        marks = ", ".join("?" * len(names))
        with self._change() as db:
            db.execute("UPDATE given SET run = max(run, (SELECT coalesce(max(id), 0) FROM run)) + 1")
            row = db.execute(
                f"INSERT INTO run (id, {', '.join(names)}) VALUES ((SELECT run FROM given), {marks})",
                [columns[name] for name in names],
            )
        return id_of(row)

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
        return id_of(row)

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
        if label == "last":
            raise UsageError("no label: `last` means the newest run", "use another name")
        if label.isdecimal():
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
            db.execute("UPDATE given SET run = max(run, (SELECT coalesce(max(id), 0) FROM run))")
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
            raise clear(error, self.path) from None

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


def _run(row: sqlite3.Row) -> RunRow:
    return msgspec.convert({key: row[key] for key in row.keys() if row[key] is not None}, RunRow)  # noqa: SIM118
