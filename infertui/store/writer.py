"""The thread that writes while a run is timed: each call is committed as it ends, in batches of a tenth of a second."""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from infertui.errors import StoreError
from infertui.metric import CallRecord
from infertui.sample import Sample
from infertui.store.row import CALL_COLUMNS, id_of, now, pack
from infertui.store.schema import clear, connect

BATCH_S = 0.1
INSERT_CALL = f"INSERT INTO call (run_id, {', '.join(CALL_COLUMNS)}) VALUES (?, {', '.join('?' * len(CALL_COLUMNS))})"


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
                    "INSERT INTO reads (call_id, at_us, pieces, sent_us) VALUES (?, ?, ?, ?)", (id_of(row), *packed)
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
                        connection = connect(self.path, write=True)
                    _commit(connection, kept + jobs)
                except sqlite3.Error as error:
                    if not self.trouble:
                        self.trouble = str(clear(error, self.path))
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


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
