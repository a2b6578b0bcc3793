"""What a user says of runs, which of them are found by it, and what is left when some are deleted."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest

from infertui.errors import StoreError, UsageError
from infertui.mock import Server
from infertui.pid import started
from infertui.sample import Sample
from infertui.scenario.plan import Message
from infertui.store import Store, Writer
from tests.conftest import Command
from tests.test_store import record

Serve = Callable[..., Server]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.db"


def a_run(db: Store, **columns: object) -> int:
    """A run of an experiment of its own, unless one is named."""
    if "experiment_id" not in columns:
        columns["experiment_id"] = db.add_experiment(b"{}")[0]
    if "machine_id" not in columns:
        columns["machine_id"] = db.add_machine("m", b"{}")
    if "server_id" not in columns:
        columns["server_id"] = db.add_server("s", "openai", "name", "url", b"{}")
    return db.add_run(**{"scenario": "single", "model": "m", **columns})


def add_call(path: Path, run: int, name: str, prompt: str, reply: str) -> None:
    writer = Writer(path)
    call = record(name, prompt_hash=prompt, reply_hash=reply)
    asked = b'[{"role": "user", "content": "Why?"}]'
    writer.call(run, call, (array("I", [5]), array("I", [1]), array("I")), asked, (f"said {reply}", f"thought {reply}"))
    writer.samples(run, [Sample(source="s", at_ns=1, since_ns=None, took_ns=0, values={"gpu_percent": 1.0})])
    writer.flush()
    writer.close()


def counts(db: Store) -> dict[str, int]:
    tables = ("experiment", "machine", "server", "run", "call", "reads", "sample", "prompt", "reply", "tag")
    return {table: db.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}


# Tags, notes, labels.


def test_tags_are_kept_in_order_and_once(path: Path) -> None:
    with Store(path) as db:
        run, other = a_run(db), a_run(db)
        for name in ("b", " a ", "b"):
            db.add_tag(run, name)
        db.add_tag(other, "c")
        assert db.tags(run) == ["a", "b"]
        assert db.all_tags() == {run: ["a", "b"], other: ["c"]}
        assert db.remove_tag(run, "b ")
        assert not db.remove_tag(run, "b")
        assert db.tags(run) == ["a"]


@pytest.mark.parametrize("name", ["", "  ", "x" * 61, "a\nb", "a\x1bb", "\ud800"])
def test_what_is_no_tag_is_said(path: Path, name: str) -> None:
    with Store(path) as db:
        run = a_run(db)
        with pytest.raises(UsageError, match="no tag"):
            db.add_tag(run, name)
        assert db.tags(run) == []


def test_a_note_and_a_label_can_be_set_and_cleared(path: Path) -> None:
    with Store(path) as db:
        run = a_run(db)
        db.set_note(run, " two\nlines ")
        db.set_label(run, " mine ")
        assert (db.run("mine").note, db.run("mine").id) == ("two\nlines", run)
        db.set_note(run, "")
        db.set_label(run, "")
        assert (db.run(str(run)).note, db.run(str(run)).label) == ("", "")
        for label in ("12", "last", "a\nb"):
            with pytest.raises(UsageError, match="label"):
                db.set_label(run, label)
        with pytest.raises(UsageError, match="not valid UTF-8"):
            db.set_note(run, "\ud800")
        db.set_note(run, "after an error it still takes one")


# What is found.


def test_runs_are_found_by_what_they_have(path: Path) -> None:
    with Store(path) as db:
        first, second = a_run(db, label="x"), a_run(db, scenario="concurrent")
        other = db.add_server("s2", "openai", "Other-Server", "url", b"{}")
        third = a_run(db, server_id=other)
        db.add_tag(first, "good")
        db.add_tag(third, "good")

        def found(**wanted: str) -> list[int]:
            return [row.id for row in db.runs(**wanted)]

        assert found() == [third, second, first]
        assert found(tag="good") == [third, first]
        assert found(server="other") == [third]
        assert found(scenario="concurrent") == [second]
        assert found(label="x") == [first]
        assert found(tag="good", server="name") == [first]
        assert found(tag="bad") == []
        assert [row.id for row in db.runs(1, tag="good")] == [third]


def test_what_an_export_needs_is_found(path: Path) -> None:
    with Store(path) as db:
        experiment, uid = db.add_experiment(b'{"scenario": "single"}')
        machine = db.add_machine("m2", b'{"cpu": "M4"}')
        run = a_run(db, experiment_id=experiment, machine_id=machine)
        add_call(path, run, "r1-001", "p", "r")
        assert db.prompt("p") == (Message("user", "Why?"),)
        assert db.prompt("none") == ()
        assert db.replies(run) == {"r1-001": ("said r", "thought r")}
        assert (db.uid(experiment), db.uid(99)) == (uid, "")
        assert (db.experiment(experiment), db.experiment(99)) == ({"scenario": "single"}, {})
        assert (db.machine(machine), db.machine(99)) == ({"cpu": "M4"}, {})
        assert db.address(run) == ""
        assert db.call_count([run, 99]) == 1


# What is deleted.


def test_a_deleted_run_takes_what_only_it_needs(path: Path) -> None:
    with Store(path) as db:
        kept = a_run(db, label="kept")
        before = counts(db)
        add_call(path, kept, "r1-001", "shared", "same")
        with_calls = counts(db)
        gone = a_run(
            db,
            server_id=db.add_server("s2", "openai", "b", "url", b"{}"),
            machine_id=db.add_machine("m2", b"{}"),
        )
        add_call(path, gone, "r1-001", "shared", "same")
        add_call(path, gone, "r1-002", "own", "own")
        db.add_tag(gone, "t")
        assert counts(db)["call"] == 3
        db.delete_runs([gone])
        assert counts(db) == with_calls
        assert db.replies(kept) == {"r1-001": ("said same", "thought same")}
        assert db.prompt("shared")
        db.delete_runs([kept])
        assert counts(db) == dict.fromkeys(before, 0)
        db.delete_runs([kept, 99])  # what is gone is gone


def test_all_or_none_are_deleted(path: Path) -> None:
    with Store(path) as db:
        done = a_run(db, status="done")
        running = a_run(db, pid=os.getpid(), pid_started=started(os.getpid()))
        with pytest.raises(StoreError, match=rf"run {running} is still running \(pid {os.getpid()}\)"):
            db.delete_runs([done, running])
        assert [row.id for row in db.runs()] == [running, done]
        db.delete_runs([done])  # and the database is as open as before
        assert [row.id for row in db.runs()] == [running]


def test_a_run_whose_runner_is_gone_can_be_deleted(path: Path) -> None:
    with Store(path) as db:
        run = a_run(db, pid=os.getpid(), pid_started=1.0)
        db.delete_runs([run])
        assert db.runs() == []


def test_an_experiment_stays_while_one_of_its_runs_does(path: Path) -> None:
    with Store(path) as db:
        experiment, _ = db.add_experiment(b"{}")
        one, two = a_run(db, experiment_id=experiment), a_run(db, experiment_id=experiment)
        db.delete_runs([one])
        assert db.uid(experiment)
        db.delete_runs([two])
        assert not db.uid(experiment)


# The commands.


def test_tags_notes_and_deletion(infertui: Command, served: Serve) -> None:
    url = served(tokens=4).address
    for label in ("one", "two"):
        infertui.run_json("--attach", url, "--model", "mock", "-n", "2", "--max-tokens", "4", "--label", label)
    ran = infertui("tag", "one", "good", "mac studio")
    assert (ran.returncode, ran.stdout) == (0, "run 1: good, mac studio\n")
    assert infertui("tag", "1", "good", "none", "--remove").stdout == "run 1: mac studio\n"
    assert infertui("note", "last", "with the [b]new[/b] driver").returncode == 0
    shown = infertui("show", "2", "--no-calls").stdout
    assert "with the [b]new[/b] driver" in shown
    assert "mac studio" in infertui("show", "1", "--no-calls").stdout
    assert infertui.json("show", "1")["runs"][0]["tags"] == ["mac studio"]
    listed = infertui("list", "runs").stdout
    assert "tags" in listed
    assert "mac" in listed
    told = {run["id"]: (run["tags"], run["note"]) for run in infertui.json("list", "runs")["runs"]}
    assert told == {1: (["mac studio"], ""), 2: ([], "with the [b]new[/b] driver")}
    assert [run["id"] for run in infertui.json("list", "runs", "--tag", "mac studio")["runs"]] == [1]
    assert [run["id"] for run in infertui.json("list", "runs", "--label", "two", "--server", "127.0")["runs"]] == [2]
    none = infertui("list", "runs", "--scenario", "concurrent")
    assert (none.returncode, none.stdout, none.stderr) == (0, "", "no run has that (--scenario)\n")
    assert infertui("note", "2", "").stdout == "run 2: it has no note now\n"
    missing = infertui("delete", "77")
    assert (missing.returncode, "no run '77'" in missing.stderr) == (2, True)
    asked = infertui("delete", "1")
    assert asked.returncode == 2
    assert "--yes deletes without asking" in asked.stderr
    gone = infertui("delete", "1", "one", "--yes")
    assert (gone.returncode, gone.stdout) == (0, "deleted 1 run with 3 calls\n")
    assert "run 1  " in gone.stderr
    assert "mac studio" in gone.stderr
    assert [run["id"] for run in infertui.json("list", "runs")["runs"]] == [2]


def test_deleting_asks_who_is_there(infertui: Command, served: Serve) -> None:
    import pty

    infertui.run_json("--attach", served(tokens=4).address, "--model", "mock", "-n", "1", "--max-tokens", "4")
    for answer, left in ((b"n\n", 1), (b"y\n", 0)):
        ours, theirs = pty.openpty()
        try:
            with infertui.start("delete", "1", stdin=theirs) as child:
                os.write(ours, answer)
                out, err = child.communicate(timeout=60)
        finally:
            os.close(ours)
            os.close(theirs)
        assert child.returncode == 0, err
        assert "delete 1 run with 2 calls?" in err
        assert ("nothing was deleted" in err) is (left == 1)
        assert out == ("" if left else "deleted 1 run with 2 calls\n")
        assert len(infertui.json("list", "runs")["runs"]) == left


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("tag", "1", "x"), "there is no database at"),
        (("note", "1", "x"), "there is no database at"),
        (("delete", "1", "--yes"), "there is no database at"),
        (("tag", "1", "a\nb"), "no tag: 'a b'"),
        (("tag", "1"), "Missing argument"),
        (("list", "profiles", "--tag", "x"), "--tag is of runs"),
    ],
)
def test_what_cannot_be_is_one_line_and_makes_no_database(infertui: Command, flags: tuple[str, ...], said: str) -> None:
    ran = infertui(*flags)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert said in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert not infertui.db.exists()


def test_a_run_that_is_not_there_is_said(infertui: Command, served: Serve) -> None:
    infertui.run_json("--attach", served(tokens=4).address, "--model", "mock", "-n", "1", "--max-tokens", "4")
    for flags in (
        ("tag", "9", "x"),
        ("note", "9", "x"),
        ("delete", "1", "9", "--yes"),
        ("export", "9", "--format", "md"),
    ):
        ran = infertui(*flags)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert "no run '9'" in ran.stderr
    assert len(infertui.json("list", "runs")["runs"]) == 1


@pytest.mark.parametrize("command", ["compare", "export", "tag", "note", "delete", "list", "show"])
def test_every_command_has_help_with_an_example(infertui: Command, command: str) -> None:
    ran = infertui(command, "--help")
    assert ran.returncode == 0
    assert f"\n  infertui {command} " in ran.stdout
