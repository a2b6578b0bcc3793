"""The database: what is kept, what is refused, and what survives."""

from __future__ import annotations

import ctypes
import os
import sqlite3
import stat
import subprocess
import sys
from array import array
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from infertui import store
from infertui.errors import StoreError, UsageError
from infertui.metric import CallRecord
from infertui.result import stored
from infertui.sample import Sample
from infertui.store import SCHEMA, Store, Writer, pack, schema, unpack
from infertui.store import writer as writing


def record(name: str = "r1-001", **fields: object) -> CallRecord:
    asked = {"role": "measured", "round": 1, "lane": 0, "kind": "router", "prompt_id": "p", "prompt_hash": "h"}
    return CallRecord(**{"name": name, **asked, "max_tokens": 8, "sched_ns": 10, **fields})  # type: ignore[arg-type]


def a_run(db: Store, **columns: object) -> int:
    experiment, _ = db.add_experiment(b"{}")
    ids = {"machine_id": db.add_machine("m", b"{}"), "server_id": db.add_server("s", "openai", "name", "url", b"{}")}
    return db.add_run(experiment_id=experiment, **ids, **{"scenario": "single", "model": "m", **columns})


def write(path: Path, run: int, *records: CallRecord) -> None:
    writer = Writer(path)
    for each in records:
        reads = (array("I", [5, 9]), array("I", [1, 1]), array("I"))
        writer.call(run, each, reads, b"[]", ("said", "thought"))
    writer.flush()
    writer.close()


def test_a_call_comes_back_as_it_went_in(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    whole = record(
        send_ns=20, first_ns=30, ttft_ms=0.00001, n_output=7, n_first=1.5, reply_hash="r", headers_mean_slot=True
    )
    with Store(path) as db:
        run = a_run(db)
        write(path, run, whole, record("r1-002", outcome="reset", message="broke"))
        first, second = db.calls(run)
        assert first == whole
        assert (second.outcome, second.message, second.ttft_ms) == ("reset", "broke", None)
        assert db.reads(run)["r1-001"] == (array("I", [5, 9]), array("I"), array("I"))
        assert db.reply("r") == ("said", "thought")


def test_pieces_are_kept_only_where_a_read_brought_several(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    with Store(path) as db:
        run = a_run(db)
        writer = Writer(path)
        writer.call(run, record(), (array("I", [1, 2]), array("I", [3, 1]), array("I", [0, 0, 0, 1])), b"[]", ("", ""))
        writer.flush()
        writer.close()
        assert db.reads(run)["r1-001"] == (array("I", [1, 2]), array("I", [3, 1]), array("I", [0, 0, 0, 1]))


def test_offsets_are_packed_as_little_endian_microseconds() -> None:
    assert pack(array("I", [1, 258])) == b"\x01\0\0\0\x02\x01\0\0"
    assert unpack(b"\x01\0\0\0\x02\x01\0\0") == array("I", [1, 258])
    assert unpack(None) == array("I")


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.db"
    Store(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_is_a_wal_database_of_ours(tmp_path: Path) -> None:
    with Store(tmp_path / "results.db") as db:
        ask = db.connection.execute
        assert ask("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert ask("PRAGMA application_id").fetchone()[0] == store.APPLICATION_ID
        assert ask("PRAGMA user_version").fetchone()[0] == SCHEMA
        assert ask("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_a_second_start_needs_no_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(tmp_path / "results.db").close()
    monkeypatch.setattr(schema, "_migrate", lambda *_: pytest.fail("there was nothing to change"))
    Store(tmp_path / "results.db").close()


def test_an_older_schema_is_brought_up_to_date_with_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.db"
    with Store(path) as db:
        run = a_run(db, label="kept")
    added: Callable[..., None] = lambda db: db.table("run").add_column("colour", str)  # noqa: E731
    monkeypatch.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, added])
    monkeypatch.setattr(schema, "SCHEMA", SCHEMA + 1)
    with Store(path, write=False) as db:  # also for who only looks
        assert db.migrated_from == SCHEMA
        assert db.run("kept").id == run
    with Store(path) as db:
        assert db.migrated_from is None
        assert db.run("kept").id == run
        assert db.connection.execute("SELECT colour FROM run").fetchone()[0] is None
        assert db.connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA + 1


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.db"
    Store(path).close()

    def broken(db: object) -> None:
        db.table("run").add_column("colour", str)  # type: ignore[attr-defined]
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, broken])
        patch.setattr(schema, "SCHEMA", SCHEMA + 1)
        with pytest.raises(StoreError, match="takes no more"):
            Store(path)
    with Store(path) as db:
        columns = [row[1] for row in db.connection.execute("PRAGMA table_info(run)")]
        assert "colour" not in columns


def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    with Store(path) as db:
        db.connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    before = path.read_bytes()
    for write in (True, False):
        with pytest.raises(StoreError, match=f"newer InferTUI .schema {SCHEMA + 1}, this one knows {SCHEMA}"):
            Store(path, write)
    assert path.read_bytes() == before


def test_a_database_of_another_program_is_never_touched(tmp_path: Path) -> None:
    path = tmp_path / "places.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE bookmarks (url TEXT)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        Store(path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["places.sqlite"]


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but a long enough text to be looked at\n" * 50)
    with pytest.raises(StoreError, match="no SQLite database"):
        Store(path)
    assert path.read_text().startswith("not a database")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a folder"):
        Store(tmp_path)


def test_looking_makes_no_database(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no database"):
        Store(tmp_path / "results.db", write=False)
    assert not list(tmp_path.iterdir())


def without_override() -> None:
    """Take from a root process the right to write where permissions forbid it."""
    if os.geteuid() == 0 and sys.platform == "linux":
        libc = ctypes.CDLL(None)
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


@pytest.mark.skipif(os.geteuid() == 0 and sys.platform != "linux", reason="root may write anywhere here")
def test_a_read_only_database_can_be_looked_at_and_is_not_written(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    path = folder / "results.db"
    with Store(path) as db:
        a_run(db, label="old")
    path.chmod(0o400)
    folder.chmod(0o500)
    try:
        for flags, code, said in (
            (["list", "runs"], 0, "old"),
            (["run", "--attach", "http://127.0.0.1:1", "--model", "m"], 2, "cannot be written"),
        ):
            ran = subprocess.run(
                [sys.executable, "-m", "infertui", *flags, "--db", str(path)],
                capture_output=True,
                text=True,
                preexec_fn=without_override,
                env={**os.environ, "COLUMNS": "80"},
                check=False,
            )
            assert (ran.returncode, said in ran.stdout + ran.stderr) == (code, True), ran.stderr
            assert "Traceback" not in ran.stderr
    finally:
        folder.chmod(0o700)


def test_what_a_full_disk_refuses_is_kept_and_written_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.db"
    with Store(path) as db:
        run = a_run(db)
        commit = writing._commit
        full = True

        def refusing(connection: sqlite3.Connection, jobs: object) -> None:
            if full:
                raise sqlite3.OperationalError("database or disk is full")
            commit(connection, jobs)  # type: ignore[arg-type]

        monkeypatch.setattr(writing, "_commit", refusing)
        told: list[str] = []
        announced: list[bool] = []
        writer = Writer(path, told.append)
        for number in range(3):
            reads = (array("I"), array("I"), array("I"))
            writer.call(run, record(f"r1-{number}"), reads, b"[]", ("", ""), announced.append)
        with pytest.raises(StoreError, match="takes no more: database or disk is full"):
            writer.flush()
        assert len(told) == 1
        assert announced == [False] * 3
        assert db.calls(run) == []
        full = False
        writer.flush()
        writer.close()
        assert [call.name for call in db.calls(run)] == ["r1-0", "r1-1", "r1-2"]


def test_a_call_that_no_column_can_hold_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    with Store(path) as db:
        run = a_run(db)
        write(path, run, record("good"), record("bad", n_output=1 << 70), record("fine"))
        assert [call.name for call in db.calls(run)] == ["good", "fine"]


def test_two_writers_at_once_wait_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    with Store(path) as db:
        one, two = a_run(db), a_run(db)
        writers = [Writer(path), Writer(path)]
        for number in range(50):
            for writer, run in zip(writers, (one, two), strict=True):
                writer.call(run, record(f"c{number}"), (array("I", [1]), array("I", [1]), array("I")), b"[]", ("", ""))
        for writer in writers:
            writer.flush()
            writer.close()
        assert [len(db.calls(run)) for run in (one, two)] == [50, 50]


def test_a_run_is_found_by_number_label_and_last(tmp_path: Path) -> None:
    with Store(tmp_path / "results.db") as db:
        with pytest.raises(UsageError, match=r"no run 'last' .*there are no runs yet"):
            db.run("last")
        runs = [a_run(db, label=label) for label in ("mine", "other", "mine", "")]
        assert db.run("2").id == runs[1]
        assert db.run("mine").id == runs[2]
        assert db.run("last").id == runs[3]
        assert [row.id for row in db.runs(2)] == [runs[3], runs[2]]
        with pytest.raises(UsageError, match="no run 'none'"):
            db.run("none")


def test_runs_whose_runner_is_gone_are_marked_as_interrupted(tmp_path: Path) -> None:
    with Store(tmp_path / "results.db") as db:
        dead, living = a_run(db, pid=1, pid_started=0.0), a_run(db, pid=2, pid_started=5.0)
        cut = db.cut_off(lambda pid, since: (pid, since) == (2, 5.0))
        assert cut == [dead]
        db.mark_interrupted([*cut, a_run(db, status="done")])
        assert db.run("last").status == "done"  # one that ended meanwhile stays as it is
        assert (db.run(str(dead)).status, db.run(str(living)).status) == ("interrupted", "running")


def test_samples_come_back_as_they_went_in_without_what_was_not_known(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    told = [
        Sample(source="a", at_ns=2**53 - 1, since_ns=None, took_ns=5, values={"gpu_percent": 0.1, "swapouts": 3}),
        Sample(source="a", at_ns=9, since_ns=7, took_ns=0, values={"gpu_percent": None, "swapouts": 4.0}),
        Sample(source="b", at_ns=10, since_ns=9, values={"gpu_percent": None}),  # nothing in it
    ]
    with Store(path) as db:
        run = a_run(db)
        writer = Writer(path)
        writer.samples(run, told)
        writer.samples(run, [])
        writer.flush()
        writer.close()
        first, second = db.samples(run)
        assert first == told[0]
        assert second == msgspec.structs.replace(told[1], values={"swapouts": 4.0})
        assert db.samples(run + 1) == []


def test_a_database_from_before_samples_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.db"
    columns = [name for name in store.CALL_COLUMNS if name != "idle_ms"]
    insert = f"INSERT INTO call (run_id, {', '.join(columns)}) VALUES (?, {', '.join('?' * len(columns))})"
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:2])
        patch.setattr(schema, "SCHEMA", 2)
        patch.setattr(writing, "CALL_COLUMNS", columns)
        patch.setattr(writing, "INSERT_CALL", insert)
        with Store(path) as db:
            run = 1
            server = db.add_server("s", "openai", "n", "u", b"{}")
            ids = (db.add_experiment(b"{}")[0], db.add_machine("m", b"{}"), server)
            db.connection.execute(
                "INSERT INTO run (experiment_id, machine_id, server_id, scenario, model, label, status, started_at) "
                "VALUES (?, ?, ?, 'single', 'm', 'old', 'running', '2026')",
                ids,
            )
            write(path, run, record(send_ns=20, end_ns=40))
    with Store(path) as db:
        assert db.connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA
        (call,) = db.calls(run)
        assert (call.send_ns, call.idle_ms) == (20, None)
        assert db.samples(run) == []
        assert db.run("old").telemetry == "{}"
        report = stored(db, "old")
    assert report.summary.limits is None
    assert report.telemetry.sources == []


def test_a_number_is_never_given_to_a_second_run(tmp_path: Path) -> None:
    with Store(tmp_path / "results.db") as db:
        first, second = a_run(db, status="done"), a_run(db, status="done")
        db.delete_runs([second])
        third = a_run(db, status="done")
        assert (first, second, third) == (1, 2, 3)
        db.delete_runs([first, third])
        assert [row.id for row in db.runs()] == []
        assert a_run(db) == 4
